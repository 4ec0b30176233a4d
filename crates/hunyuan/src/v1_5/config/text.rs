//! Configurations of the two text encoders of 1.5.

use serde::Deserialize;

use crate::v1::config::{LlamaConfig, counts, layers, sizes};

/// `text_encoder/config.json`: the language model of Qwen2.5-VL.
///
/// Positions of text are the same in all three sections of its rotary embedding, so it is an ordinary one here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct QwenConfig {
    /// Rows of the embedding table.
    pub vocab_size: i64,
    /// Width of a state.
    pub hidden_size: i64,
    /// Width inside the MLP.
    pub intermediate_size: i64,
    /// Decoder layers in the checkpoint; the last ones are never used.
    pub num_hidden_layers: i64,
    /// Query heads.
    pub num_attention_heads: i64,
    /// Key and value heads.
    pub num_key_value_heads: Option<i64>,
    /// Added to the mean square in every norm.
    pub rms_norm_eps: f64,
    /// Activation of the MLP; only `silu` exists.
    pub hidden_act: String,
    /// Whether attention reaches back only a fixed number of tokens; never in the released model.
    pub use_sliding_window: bool,
    rope_theta: Option<f64>,
    rope_scaling: Option<Rope>,
    rope_parameters: Option<Rope>,
}

/// Both names of the kind of positions occur in one file, so neither is an alias of the other.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
struct Rope {
    rope_theta: Option<f64>,
    rope_type: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl Default for QwenConfig {
    fn default() -> Self {
        Self {
            vocab_size: 152_064,
            hidden_size: 8192,
            intermediate_size: 29_568,
            num_hidden_layers: 80,
            num_attention_heads: 64,
            num_key_value_heads: Some(8),
            rms_norm_eps: 1e-5,
            hidden_act: "silu".to_owned(),
            use_sliding_window: false,
            rope_theta: None,
            rope_scaling: None,
            rope_parameters: None,
        }
    }
}

impl QwenConfig {
    /// The same as a LLaMA with biases on queries, keys and values alone.
    pub(crate) fn llama(&self) -> LlamaConfig {
        let nested = [&self.rope_parameters, &self.rope_scaling].into_iter().flatten().find_map(|rope| rope.rope_theta);
        LlamaConfig {
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            num_key_value_heads: self.num_key_value_heads,
            rms_norm_eps: self.rms_norm_eps,
            hidden_act: self.hidden_act.clone(),
            qkv_bias: true,
            rope_theta: Some(nested.or(self.rope_theta).unwrap_or(1_000_000.0)),
            ..LlamaConfig::default()
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.use_sliding_window {
            return Err("`use_sliding_window` is set; only attention to all earlier tokens is known".to_owned());
        }
        for rope in [&self.rope_scaling, &self.rope_parameters].into_iter().flatten() {
            for kind in [&rope.rope_type, &rope.kind].into_iter().flatten() {
                // `mrope` is what older files call the sections, which text does not need.
                if kind != "default" && kind != "mrope" {
                    return Err(format!("rotary positions are scaled by `{kind}`; only unscaled ones are known"));
                }
            }
        }
        self.llama().check()
    }
}

/// `text_encoder_2/config.json`: the encoder of a ByT5.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct T5Config {
    /// Rows of the token table: 384 for bytes and special tokens, then those that the checkpoint adds.
    pub vocab_size: i64,
    /// Width of a state.
    pub d_model: i64,
    /// Width of a head; heads together need not be as wide as a state.
    pub d_kv: i64,
    /// Width inside the MLP.
    pub d_ff: i64,
    /// Layers of the encoder.
    pub num_layers: i64,
    /// Attention heads.
    pub num_heads: i64,
    /// Kinds of distances between tokens.
    pub relative_attention_num_buckets: i64,
    /// Distance from which all count as one kind.
    pub relative_attention_max_distance: i64,
    /// Added to the mean square in every norm.
    pub layer_norm_epsilon: f64,
    /// Kind of the MLP; only `gated-gelu` is known.
    pub feed_forward_proj: String,
}

impl Default for T5Config {
    fn default() -> Self {
        Self {
            vocab_size: 32_128,
            d_model: 512,
            d_kv: 64,
            d_ff: 2048,
            num_layers: 6,
            num_heads: 8,
            relative_attention_num_buckets: 32,
            relative_attention_max_distance: 128,
            layer_norm_epsilon: 1e-6,
            feed_forward_proj: "relu".to_owned(),
        }
    }
}

impl T5Config {
    pub(super) fn check(&self) -> Result<(), String> {
        sizes(&[
            ("vocab_size", self.vocab_size),
            ("d_model", self.d_model),
            ("d_kv", self.d_kv),
            ("d_ff", self.d_ff),
            ("relative_attention_max_distance", self.relative_attention_max_distance),
        ])?;
        counts(&[
            ("num_heads", self.num_heads),
            ("relative_attention_num_buckets", self.relative_attention_num_buckets),
        ])?;
        layers(&[("num_layers", self.num_layers)])?;
        let (buckets, distance) = (self.relative_attention_num_buckets, self.relative_attention_max_distance);
        if buckets < 4 || buckets % 4 != 0 || distance <= buckets / 4 {
            return Err(format!(
                "`relative_attention_num_buckets` {buckets} must be a multiple of 4, and a quarter of it below \
                 `relative_attention_max_distance` {distance}"
            ));
        }
        if self.feed_forward_proj != "gated-gelu" {
            return Err(format!("`feed_forward_proj` is `{}`; only `gated-gelu` is known", self.feed_forward_proj));
        }
        Ok(())
    }
}
