//! The language model of the prompt: the decoder layers of a LLaMA, up to the one whose states the reference reads.
//!
//! That is the third hidden state from the end, so the last two layers, the final norm and the head are never loaded. The
//! model is causal, so a batch is padded on the right without a mask: no real token ever sees the padding.
//!
//! Upstream: `LlamaModel` in
//! <https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/llama/modeling_llama.py>.

use tch::{Device, Kind, Tensor};

use crate::runtime::control::Control;
use crate::runtime::error::Result;
use crate::runtime::weights::Loader;
use crate::v1::config::LlamaConfig;

/// See the module.
#[derive(Debug)]
pub(crate) struct Llama {
    embed_tokens: Tensor,
    layers: Vec<Layer>,
    rope: Rope,
}

/// One decoder layer.
#[derive(Debug)]
struct Layer {
    input_layernorm: RmsNorm,
    self_attn: Attention,
    post_attention_layernorm: RmsNorm,
    mlp: Mlp,
}

/// Attention of which several query heads may share a key head.
#[derive(Debug)]
struct Attention {
    /// Queries, keys and values one after another, `[(heads + 2 * kv_heads) * dim, hidden]`.
    qkv: Dense,
    o_proj: Dense,
    heads: i64,
    kv_heads: i64,
    dim: i64,
}

/// `down(silu(gate(x)) * up(x))`.
#[derive(Debug)]
struct Mlp {
    /// Gate and up one after another, `[2 * intermediate, hidden]`.
    gate_up: Dense,
    down_proj: Dense,
    intermediate: i64,
}

/// A dense layer whose bias the configuration may leave out.
#[derive(Debug)]
pub(crate) struct Dense {
    weight: Tensor,
    bias: Option<Tensor>,
}

/// Root-mean-square norm, computed in fp32.
#[derive(Debug)]
pub(crate) struct RmsNorm {
    weight: Tensor,
    eps: f64,
}

impl Llama {
    /// Reads the layers that are used. `prefix` is `model.` or empty, as the checkpoint was saved.
    pub(crate) fn load(root: &Loader, prefix: &str, config: &LlamaConfig) -> Result<Self> {
        let loader = root.at(prefix);
        // Of LLaVA, whose language model is the encoder: what sees pictures, under the names of transformers 4 and 5.
        for unused in [
            "lm_head",
            "language_model.lm_head",
            "vision_tower",
            "multi_modal_projector",
            "model.vision_tower",
            "model.multi_modal_projector",
        ] {
            root.at("").ignore(unused);
        }
        for name in ["norm", "rotary_emb"] {
            loader.ignore(name);
        }
        let layers = loader.pp("layers");
        for unused in config.used_layers()..config.num_hidden_layers {
            layers.ignore(&unused.to_string());
        }
        let embed_tokens = loader.tensor("embed_tokens.weight", &[config.vocab_size, config.hidden_size])?;
        let layers =
            (0..config.used_layers()).map(|index| Layer::load(&layers.pp(index), config)).collect::<Result<_>>()?;
        Ok(Self { embed_tokens, layers, rope: Rope { theta: config.rope_theta(), dim: config.head_dim() } })
    }

    /// Token ids `[batch, tokens]` to states `[batch, tokens, hidden]`.
    pub(crate) fn forward(&self, ids: &Tensor, control: &Control) -> Result<Tensor> {
        let mut states = Tensor::f_embedding(&self.embed_tokens, ids, -1, false, false)?;
        let (cos, sin) = self.rope.tables(ids.size()[1], states.device(), states.kind())?;
        for layer in &self.layers {
            control.check_at(states.device())?;
            states = layer.forward(&states, &cos, &sin)?;
        }
        Ok(states)
    }
}

impl Layer {
    fn load(loader: &Loader, config: &LlamaConfig) -> Result<Self> {
        loader.pp("self_attn").ignore("rotary_emb");
        let norm = |name: &str| RmsNorm::load(&loader.pp(name), config.hidden_size, config.rms_norm_eps);
        Ok(Self {
            input_layernorm: norm("input_layernorm")?,
            self_attn: Attention::load(&loader.pp("self_attn"), config)?,
            post_attention_layernorm: norm("post_attention_layernorm")?,
            mlp: Mlp::load(&loader.pp("mlp"), config)?,
        })
    }

    fn forward(&self, states: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
        let attended = self.self_attn.forward(&self.input_layernorm.forward(states)?, cos, sin)?;
        let states = states.f_add(&attended)?;
        let mixed = self.mlp.forward(&self.post_attention_layernorm.forward(&states)?)?;
        Ok(states.f_add(&mixed)?)
    }
}

impl Attention {
    fn load(loader: &Loader, config: &LlamaConfig) -> Result<Self> {
        let (heads, kv_heads, dim) = (config.num_attention_heads, config.key_value_heads(), config.head_dim());
        let outputs = [heads * dim, kv_heads * dim, kv_heads * dim];
        let names = ["q_proj", "k_proj", "v_proj"];
        let bias = config.attention_bias;
        let qkv_bias = bias || config.qkv_bias;
        Ok(Self {
            qkv: Dense::load_fused(loader, &names, config.hidden_size, &outputs, qkv_bias)?,
            o_proj: Dense::load(&loader.pp("o_proj"), heads * dim, config.hidden_size, bias)?,
            heads,
            kv_heads,
            dim,
        })
    }

    fn forward(&self, states: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
        let (batch, tokens, _) = states.size3()?;
        let (heads, kv_heads, dim) = (self.heads, self.kv_heads, self.dim);
        // 1. Projections, one matrix product.
        let joined = self.qkv.forward(states)?; // [b, t, (h + 2 kv) d]
        let parts = joined.f_split_with_sizes([heads * dim, kv_heads * dim, kv_heads * dim], -1)?;
        let split = |part: &Tensor, count: i64| -> Result<Tensor> {
            Ok(part.f_view([batch, tokens, count, dim])?.f_transpose(1, 2)?) // [b, h, t, d]
        };
        // 2. Rotary positions.
        let query = rotate(&split(&parts[0].f_contiguous()?, heads)?, cos, sin)?;
        let key = rotate(&split(&parts[1].f_contiguous()?, kv_heads)?, cos, sin)?;
        let value = split(&parts[2].f_contiguous()?, kv_heads)?;
        // 3. Causal attention; shared key heads are repeated for their query heads.
        let repeats = heads / kv_heads;
        let spread = |part: &Tensor| -> Result<Tensor> {
            if repeats == 1 {
                Ok(part.shallow_clone())
            } else {
                Ok(part.f_repeat_interleave_self_int(repeats, 1, None)?)
            }
        };
        let (key, value) = (spread(&key)?, spread(&value)?);
        let out =
            Tensor::f_scaled_dot_product_attention::<&Tensor>(&query, &key, &value, None, 0.0, true, None, false)?;
        // 4. Back to one state a token.
        self.o_proj.forward(&out.f_transpose(1, 2)?.f_reshape([batch, tokens, heads * dim])?)
    }
}

impl Mlp {
    fn load(loader: &Loader, config: &LlamaConfig) -> Result<Self> {
        let (hidden, intermediate, bias) = (config.hidden_size, config.intermediate_size, config.mlp_bias);
        let names = ["gate_proj", "up_proj"];
        Ok(Self {
            gate_up: Dense::load_fused(loader, &names, hidden, &[intermediate, intermediate], bias)?,
            down_proj: Dense::load(&loader.pp("down_proj"), intermediate, hidden, bias)?,
            intermediate,
        })
    }

    fn forward(&self, states: &Tensor) -> Result<Tensor> {
        let joined = self.gate_up.forward(states)?;
        let gate = joined.f_narrow(-1, 0, self.intermediate)?;
        let up = joined.f_narrow(-1, self.intermediate, self.intermediate)?;
        self.down_proj.forward(&gate.f_silu()?.f_mul(&up)?)
    }
}

impl Dense {
    pub(crate) fn load(loader: &Loader, input: i64, output: i64, bias: bool) -> Result<Self> {
        let weight = loader.tensor("weight", &[output, input])?;
        let bias = if bias { Some(loader.tensor("bias", &[output])?) } else { None };
        Ok(Self { weight, bias })
    }

    pub(crate) fn load_fused(loader: &Loader, names: &[&str], input: i64, outputs: &[i64], bias: bool) -> Result<Self> {
        let weights: Vec<[i64; 2]> = outputs.iter().map(|&output| [output, input]).collect();
        let weights: Vec<&[i64]> = weights.iter().map(<[i64; 2]>::as_slice).collect();
        let biases: Vec<&[i64]> = outputs.iter().map(std::slice::from_ref).collect();
        let weight = loader.fused(names, "weight", &weights)?;
        let bias = if bias { Some(loader.fused(names, "bias", &biases)?) } else { None };
        Ok(Self { weight, bias })
    }

    pub(crate) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        Ok(input.f_linear(&self.weight, self.bias.as_ref())?)
    }
}

impl RmsNorm {
    pub(crate) fn load(loader: &Loader, width: i64, eps: f64) -> Result<Self> {
        Ok(Self { weight: loader.tensor("weight", &[width])?, eps })
    }

    pub(crate) fn forward(&self, states: &Tensor) -> Result<Tensor> {
        let full = states.f_to_kind(Kind::Float)?;
        let mean_square = full.f_square()?.f_mean_dim([-1i64].as_slice(), true, Kind::Float)?;
        let normed = full.f_mul(&mean_square.f_add_scalar(self.eps)?.f_rsqrt()?)?;
        Ok(normed.f_to_kind(states.kind())?.f_mul(&self.weight)?)
    }
}

/// Rotary positions in LLaMA's layout: the first half of a head pairs with its second half.
#[derive(Debug)]
struct Rope {
    theta: f64,
    dim: i64,
}

impl Rope {
    /// Cosines and sines `[tokens, dim]`, computed in fp32.
    fn tables(&self, tokens: i64, device: Device, kind: Kind) -> Result<(Tensor, Tensor)> {
        let options = (Kind::Float, device);
        let exponents = Tensor::f_arange_start_step(0, self.dim, 2, options)?.f_div_scalar(self.dim as f64)?;
        let base = Tensor::f_full([1], self.theta, options)?;
        let frequencies = base.f_pow(&exponents)?.f_reciprocal()?; // [dim / 2]
        let positions = Tensor::f_arange(tokens, options)?;
        let angles = positions.f_outer(&frequencies)?; // [tokens, dim / 2]
        let angles = Tensor::f_cat(&[&angles, &angles], -1)?;
        Ok((angles.f_cos()?.f_to_kind(kind)?, angles.f_sin()?.f_to_kind(kind)?))
    }
}

/// Rotates `[b, h, t, d]` by its positions.
fn rotate(heads: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let half = heads.size()[3] / 2;
    let first = heads.f_narrow(-1, 0, half)?;
    let second = heads.f_narrow(-1, half, half)?;
    let turned = Tensor::f_cat(&[&second.f_neg()?, &first], -1)?;
    Ok(heads.f_mul(cos)?.f_add(&turned.f_mul(sin)?)?)
}
