//! The encoder of ByT5, which embeds quoted text byte by byte.
//!
//! Positions enter as a learned bias of the attention scores alone, one table for all layers; scores are not divided by the square
//! root of the head's width. One text is encoded at a time, so nothing is padded.
//!
//! Upstream: `T5EncoderModel` in
//! <https://github.com/huggingface/transformers/blob/v5.23.0/src/transformers/models/t5/modeling_t5.py>.

use tch::{Device, Kind, Tensor};

use super::config::T5Config;
use crate::runtime::control::Control;
use crate::runtime::error::Result;
use crate::runtime::weights::Loader;
use crate::v1::llama::{Dense, RmsNorm};

/// See the module.
#[derive(Debug)]
pub(crate) struct T5Encoder {
    shared: Tensor,
    relative_attention_bias: Tensor,
    block: Vec<Block>,
    final_layer_norm: RmsNorm,
    buckets: i64,
    max_distance: i64,
}

#[derive(Debug)]
struct Block {
    attention_norm: RmsNorm,
    /// Queries, keys and values one after another.
    qkv: Dense,
    o: Dense,
    mlp_norm: RmsNorm,
    /// The gate and what it lets through, one after another.
    wi: Dense,
    wo: Dense,
    heads: i64,
    head: i64,
}

impl T5Encoder {
    /// Reads `shared` and `encoder.*`.
    pub(crate) fn load(loader: &Loader, config: &T5Config) -> Result<Self> {
        let encoder = loader.pp("encoder");
        // A second copy of the table, in files that keep both.
        encoder.ignore("embed_tokens");
        loader.ignore("decoder");
        loader.ignore("lm_head");
        let blocks = encoder.pp("block");
        let bias = blocks.pp("0.layer.0.SelfAttention.relative_attention_bias");
        Ok(Self {
            shared: loader.tensor("shared.weight", &[config.vocab_size, config.d_model])?,
            relative_attention_bias: bias
                .tensor("weight", &[config.relative_attention_num_buckets, config.num_heads])?,
            block: (0..config.num_layers)
                .map(|index| Block::load(&blocks.pp(index).pp("layer"), config))
                .collect::<Result<_>>()?,
            final_layer_norm: norm(&encoder.pp("final_layer_norm"), config)?,
            buckets: config.relative_attention_num_buckets,
            max_distance: config.relative_attention_max_distance,
        })
    }

    /// Token ids `[1, tokens]` to states `[1, tokens, width]`.
    pub(crate) fn forward(&self, ids: &Tensor, control: &Control) -> Result<Tensor> {
        let mut states = Tensor::f_embedding(&self.shared, ids, -1, false, false)?;
        let buckets = buckets(ids.size()[1], self.buckets, self.max_distance, states.device())?;
        let bias = self.relative_attention_bias.f_index_select(0, &buckets.f_view([-1])?)?;
        let tokens = ids.size()[1];
        let bias = bias.f_view([1, tokens, tokens, -1])?.f_permute([0, 3, 1, 2])?.f_contiguous()?; // [1, heads, t, t]
        for block in &self.block {
            control.check_at(states.device())?;
            states = block.forward(&states, &bias)?;
        }
        self.final_layer_norm.forward(&states)
    }
}

impl Block {
    fn load(loader: &Loader, config: &T5Config) -> Result<Self> {
        let (width, inner) = (config.d_model, config.num_heads * config.d_kv);
        let attention = loader.pp("0.SelfAttention");
        let mlp = loader.pp("1.DenseReluDense");
        Ok(Self {
            attention_norm: norm(&loader.pp("0.layer_norm"), config)?,
            qkv: Dense::load_fused(&attention, &["q", "k", "v"], width, &[inner; 3], false)?,
            o: Dense::load(&attention.pp("o"), inner, width, false)?,
            mlp_norm: norm(&loader.pp("1.layer_norm"), config)?,
            wi: Dense::load_fused(&mlp, &["wi_0", "wi_1"], width, &[config.d_ff; 2], false)?,
            wo: Dense::load(&mlp.pp("wo"), config.d_ff, width, false)?,
            heads: config.num_heads,
            head: config.d_kv,
        })
    }

    fn forward(&self, states: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let (batch, tokens, _) = states.size3()?;
        let joined = self.qkv.forward(&self.attention_norm.forward(states)?)?;
        let joined = joined.f_view([batch, tokens, 3, self.heads, self.head])?;
        let part = |index: i64| -> Result<Tensor> { Ok(joined.f_select(2, index)?.f_transpose(1, 2)?) }; // [b, h, t, d]
        let (query, key, value) = (part(0)?, part(1)?, part(2)?);
        let out =
            Tensor::f_scaled_dot_product_attention(&query, &key, &value, Some(bias), 0.0, false, Some(1.0), false)?;
        let out = out.f_transpose(1, 2)?.f_reshape([batch, tokens, self.heads * self.head])?;
        let states = states.f_add(&self.o.forward(&out)?)?;
        let gated = self.wi.forward(&self.mlp_norm.forward(&states)?)?.f_chunk(2, -1)?;
        let hidden = gated[0].f_gelu("tanh")?.f_mul(&gated[1])?;
        Ok(states.f_add(&self.wo.forward(&hidden)?)?)
    }
}

fn norm(loader: &Loader, config: &T5Config) -> Result<RmsNorm> {
    RmsNorm::load(loader, config.d_model, config.layer_norm_epsilon)
}

/// The kind of distance from each token (rows) to each (columns): near ones apart, far ones in bands that widen, later ones after
/// earlier ones. `[tokens, tokens]`.
fn buckets(tokens: i64, count: i64, max_distance: i64, device: Device) -> Result<Tensor> {
    let positions = Tensor::f_arange(tokens, (Kind::Int64, device))?;
    let relative = positions.f_unsqueeze(0)?.f_sub(&positions.f_unsqueeze(1)?)?;
    let half = count / 2;
    let exact = half / 2;
    let later = relative.f_gt(0)?.f_to_kind(Kind::Int64)?.f_mul_scalar(half)?;
    let distance = relative.f_abs()?;
    // The reference's operations in its order: a band's first distance is a whole number only up to rounding.
    let scaled = distance.f_to_kind(Kind::Float)?.f_div_scalar(exact)?.f_log()?;
    let scaled = scaled.f_div_scalar((max_distance as f64 / exact as f64).ln())?.f_mul_scalar(half - exact)?;
    // Distance 0 has no logarithm; it is among the exact ones, and any number will do here.
    let banded = scaled.f_clamp_min(0.0)?.f_to_kind(Kind::Int64)?.f_add_scalar(exact)?.f_clamp_max(half - 1)?;
    Ok(later.f_add(&distance.f_where_self(&distance.f_lt(exact)?, &banded)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_fall_into_the_references_bands() {
        // T5Attention._relative_position_bucket(torch.tensor([...]), True, 32, 128)
        let row = buckets(200, 32, 128, Device::Cpu).unwrap().select(0, 100);
        let of = |relative: i64| row.int64_value(&[100 + relative]);
        for (relative, bucket) in [
            (0, 0),
            (-1, 1),
            (-7, 7),
            (-8, 8),
            (-11, 8),
            (-12, 9),
            (-16, 10),
            (-64, 14),
            (-100, 15),
            (1, 17),
            (8, 24),
            (90, 30),
            (99, 31),
        ] {
            assert_eq!(of(relative), bucket, "{relative}");
        }
    }
}
