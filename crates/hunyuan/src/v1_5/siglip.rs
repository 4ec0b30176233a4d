//! SigLIP's vision model, which embeds the first frame: its states after the last norm, one a patch.
//!
//! Upstream: `SiglipVisionModel` in
//! <https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/siglip/modeling_siglip.py>.

use tch::Tensor;

use super::config::SiglipConfig;
use crate::runtime::control::Control;
use crate::runtime::error::Result;
use crate::runtime::weights::{Loader, Weights};
use crate::v1::transformer::layers::{Activation, Linear, Mlp, Norm};

/// Where the keys may begin: as transformers 4 saves the model, and as 5 does.
const PREFIXES: [&str; 2] = ["vision_model.", ""];

/// See the module.
#[derive(Debug)]
pub(crate) struct SiglipEncoder {
    /// `[width, 3 * patch * patch]`
    patch_embedding: Linear,
    /// `[tokens, width]`
    position_embedding: Tensor,
    layers: Vec<Layer>,
    post_layernorm: Norm,
    patch: i64,
}

#[derive(Debug)]
struct Layer {
    layer_norm1: Norm,
    /// Queries, keys and values one after another.
    qkv: Linear,
    out_proj: Linear,
    layer_norm2: Norm,
    mlp: Mlp,
    heads: i64,
}

/// The prefix of the keys in these files.
pub(crate) fn prefix(files: &Weights) -> &'static str {
    files.prefix_of(&PREFIXES, "post_layernorm.weight")
}

impl SiglipEncoder {
    /// Reads all but the pooling head, whose result the video model does not use.
    pub(crate) fn load(root: &Loader, prefix: &str, config: &SiglipConfig) -> Result<Self> {
        let loader = root.at(prefix);
        loader.ignore("head");
        // Of a whole SigLIP.
        for unused in ["text_model", "logit_scale", "logit_bias"] {
            root.at("").ignore(unused);
        }
        let embeddings = loader.pp("embeddings");
        embeddings.ignore("position_ids");
        let (width, patch) = (config.hidden_size, config.patch_size);
        let layers = loader.pp("encoder").pp("layers");
        Ok(Self {
            patch_embedding: Linear::load_flattened(
                &embeddings.pp("patch_embedding"),
                &[width, config.num_channels, patch, patch],
            )?,
            position_embedding: embeddings.tensor("position_embedding.weight", &[config.side().pow(2), width])?,
            layers: (0..config.num_hidden_layers)
                .map(|index| Layer::load(&layers.pp(index), config))
                .collect::<Result<_>>()?,
            post_layernorm: Norm::load(&loader.pp("post_layernorm"), width, config.layer_norm_eps)?,
            patch,
        })
    }

    /// A picture `[1, 3, side, side]` to states `[1, tokens, width]`.
    pub(crate) fn forward(&self, picture: &Tensor, control: &Control) -> Result<Tensor> {
        let (batch, channels, height, width) = picture.size4()?;
        let (patch, rows, columns) = (self.patch, height / self.patch, width / self.patch);
        // A convolution whose stride is its kernel; pixels beyond the last whole patch are not seen.
        let whole = picture.f_narrow(2, 0, rows * patch)?.f_narrow(3, 0, columns * patch)?;
        let cut = whole.f_reshape([batch, channels, rows, patch, columns, patch])?;
        let patches = cut.f_permute([0, 2, 4, 1, 3, 5])?.f_reshape([batch, rows * columns, -1])?;
        let mut states = self.patch_embedding.forward(&patches)?.f_add(&self.position_embedding)?;
        for layer in &self.layers {
            control.check_at(states.device())?;
            states = layer.forward(&states)?;
        }
        self.post_layernorm.forward(&states)
    }
}

impl Layer {
    fn load(loader: &Loader, config: &SiglipConfig) -> Result<Self> {
        let (width, inner, eps) = (config.hidden_size, config.intermediate_size, config.layer_norm_eps);
        let attention = loader.pp("self_attn");
        Ok(Self {
            layer_norm1: Norm::load(&loader.pp("layer_norm1"), width, eps)?,
            qkv: Linear::load_fused(&attention, &["q_proj", "k_proj", "v_proj"], width, &[width; 3])?,
            out_proj: Linear::load(&attention.pp("out_proj"), width, width)?,
            layer_norm2: Norm::load(&loader.pp("layer_norm2"), width, eps)?,
            mlp: Mlp::load(&loader.pp("mlp"), ["fc1", "fc2"], [width, inner, width], Activation::GeluTanh)?,
            heads: config.num_attention_heads,
        })
    }

    fn forward(&self, states: &Tensor) -> Result<Tensor> {
        let states = states.f_add(&self.attention(&self.layer_norm1.forward(states)?)?)?;
        Ok(states.f_add(&self.mlp.forward(&self.layer_norm2.forward(&states)?)?)?)
    }

    fn attention(&self, states: &Tensor) -> Result<Tensor> {
        let (batch, tokens, width) = states.size3()?;
        let joined = self.qkv.forward(states)?.f_view([batch, tokens, 3, self.heads, width / self.heads])?;
        let part = |index: i64| -> Result<Tensor> { Ok(joined.f_select(2, index)?.f_transpose(1, 2)?) }; // [b, h, t, d]
        let (query, key, value) = (part(0)?, part(1)?, part(2)?);
        let out =
            Tensor::f_scaled_dot_product_attention::<&Tensor>(&query, &key, &value, None, 0.0, false, None, false)?;
        self.out_proj.forward(&out.f_transpose(1, 2)?.f_reshape([batch, tokens, width])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::weights::key_table;

    #[test]
    fn the_released_encoder_has_its_published_size_and_both_spellings_are_read() {
        let config = SiglipConfig {
            hidden_size: 1152,
            intermediate_size: 4304,
            num_hidden_layers: 27,
            num_attention_heads: 16,
            image_size: 384,
            patch_size: 14,
            ..SiglipConfig::default()
        };
        assert_eq!(config.side().pow(2), 729);
        for prefix in PREFIXES {
            let table = key_table(|loader| SiglipEncoder::load(loader, prefix, &config)).unwrap();
            // The published 428,225,600 less the pooling head's 15,238,352.
            assert_eq!(table.parameters(), 428_225_600 - 15_238_352, "{prefix}");
            assert!(table.uses(&format!("{prefix}encoder.layers.26.self_attn.out_proj.bias")));
            assert!(table.ignores(&format!("{prefix}head.probe")));
        }
    }
}
