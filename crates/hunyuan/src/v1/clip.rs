//! CLIP's text model, of which the video model uses one vector: the normed state at the end-of-text token.
//!
//! It is causal as well, so a batch is padded on the right without a mask.
//!
//! Upstream: `CLIPTextModel` in
//! <https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/clip/modeling_clip.py>.

use tch::{Kind, Tensor};

use crate::runtime::control::Control;
use crate::runtime::error::Result;
use crate::runtime::weights::Loader;
use crate::v1::config::{ClipActivation, ClipConfig};
use crate::v1::transformer::layers::Linear;

/// End-of-text id in configurations saved before the field was used: with it, the largest id marks the end.
const LEGACY_EOS: i64 = 2;

/// See the module.
#[derive(Debug)]
pub(crate) struct Clip {
    token_embedding: Tensor,
    position_embedding: Tensor,
    layers: Vec<Layer>,
    final_layer_norm: Norm,
    eos_token_id: i64,
}

#[derive(Debug)]
struct Layer {
    layer_norm1: Norm,
    /// Queries, keys and values one after another.
    qkv: Linear,
    out_proj: Linear,
    layer_norm2: Norm,
    fc1: Linear,
    fc2: Linear,
    heads: i64,
    activation: ClipActivation,
}

/// Layer norm with weights.
#[derive(Debug)]
struct Norm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl Clip {
    /// Reads `text_model.*`.
    pub(crate) fn load(root: &Loader, prefix: &str, config: &ClipConfig) -> Result<Self> {
        let loader = root.at(prefix);
        root.at("").ignore("text_projection");
        root.at("").ignore("logit_scale");
        root.at("").ignore("vision_model");
        root.at("").ignore("visual_projection");
        let embeddings = loader.pp("embeddings");
        embeddings.ignore("position_ids");
        let width = config.hidden_size;
        let layers = loader.pp("encoder").pp("layers");
        Ok(Self {
            token_embedding: embeddings.tensor("token_embedding.weight", &[config.vocab_size, width])?,
            position_embedding: embeddings
                .tensor("position_embedding.weight", &[config.max_position_embeddings, width])?,
            layers: (0..config.num_hidden_layers)
                .map(|index| Layer::load(&layers.pp(index), config))
                .collect::<Result<_>>()?,
            final_layer_norm: Norm::load(&loader.pp("final_layer_norm"), config)?,
            eos_token_id: config.eos_token_id,
        })
    }

    /// Token ids `[batch, tokens]` to pooled states `[batch, hidden]`.
    pub(crate) fn forward(&self, ids: &Tensor, control: &Control) -> Result<Tensor> {
        let tokens = ids.size()[1];
        let positions = self.position_embedding.f_narrow(0, 0, tokens)?;
        let mut states = Tensor::f_embedding(&self.token_embedding, ids, -1, false, false)?.f_add(&positions)?;
        for layer in &self.layers {
            control.check_at(ids.device())?;
            states = layer.forward(&states)?;
        }
        let states = self.final_layer_norm.forward(&states)?;
        let end = self.end_of_text(ids)?; // [batch]
        let rows = Tensor::f_arange(ids.size()[0], (Kind::Int64, ids.device()))?;
        Ok(states.f_index(&[Some(rows), Some(end)])?)
    }

    /// Position of the first end-of-text token of each prompt.
    fn end_of_text(&self, ids: &Tensor) -> Result<Tensor> {
        if self.eos_token_id == LEGACY_EOS {
            return Ok(ids.f_argmax(-1, false)?);
        }
        Ok(ids.f_eq(self.eos_token_id)?.f_to_kind(Kind::Int)?.f_argmax(-1, false)?)
    }
}

impl Layer {
    fn load(loader: &Loader, config: &ClipConfig) -> Result<Self> {
        let width = config.hidden_size;
        let attention = loader.pp("self_attn");
        Ok(Self {
            layer_norm1: Norm::load(&loader.pp("layer_norm1"), config)?,
            qkv: Linear::load_fused(&attention, &["q_proj", "k_proj", "v_proj"], width, &[width; 3])?,
            out_proj: Linear::load(&attention.pp("out_proj"), width, width)?,
            layer_norm2: Norm::load(&loader.pp("layer_norm2"), config)?,
            fc1: Linear::load(&loader.pp("mlp").pp("fc1"), width, config.intermediate_size)?,
            fc2: Linear::load(&loader.pp("mlp").pp("fc2"), config.intermediate_size, width)?,
            heads: config.num_attention_heads,
            activation: config.hidden_act,
        })
    }

    fn forward(&self, states: &Tensor) -> Result<Tensor> {
        let states = states.f_add(&self.attention(&self.layer_norm1.forward(states)?)?)?;
        let hidden = self.fc1.forward(&self.layer_norm2.forward(&states)?)?;
        let hidden = match self.activation {
            ClipActivation::QuickGelu => hidden.f_mul(&hidden.f_mul_scalar(1.702)?.f_sigmoid()?)?,
            ClipActivation::Gelu => hidden.f_gelu("none")?,
        };
        Ok(states.f_add(&self.fc2.forward(&hidden)?)?)
    }

    fn attention(&self, states: &Tensor) -> Result<Tensor> {
        let (batch, tokens, width) = states.size3()?;
        let joined = self.qkv.forward(states)?.f_view([batch, tokens, 3, self.heads, width / self.heads])?;
        let part = |index: i64| -> Result<Tensor> { Ok(joined.f_select(2, index)?.f_transpose(1, 2)?) }; // [b, h, t, d]
        let (query, key, value) = (part(0)?, part(1)?, part(2)?);
        let out =
            Tensor::f_scaled_dot_product_attention::<&Tensor>(&query, &key, &value, None, 0.0, true, None, false)?;
        self.out_proj.forward(&out.f_transpose(1, 2)?.f_reshape([batch, tokens, width])?)
    }
}

impl Norm {
    fn load(loader: &Loader, config: &ClipConfig) -> Result<Self> {
        let width = [config.hidden_size];
        Ok(Self {
            weight: loader.tensor("weight", &width)?,
            bias: loader.tensor("bias", &width)?,
            eps: config.layer_norm_eps,
        })
    }

    fn forward(&self, states: &Tensor) -> Result<Tensor> {
        Ok(states.f_layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), self.eps, true)?)
    }
}
