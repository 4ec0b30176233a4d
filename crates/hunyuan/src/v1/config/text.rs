//! Configurations of the two text encoders.
//!
//! Field names are those of the files, and both ways in which transformers has named them are read (`torch_dtype` and
//! `rope_theta` until version 4, `dtype` and `rope_parameters` since 5). Absent keys have that library's defaults.

use serde::Deserialize;

use super::{counts, layers, sizes};

/// `text_encoder/config.json`: the LLaMA of the language model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct LlamaConfig {
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
    /// Key and value heads; absent means one for each query head.
    pub num_key_value_heads: Option<i64>,
    /// Width of a head; absent means hidden width over heads.
    pub head_dim: Option<i64>,
    /// Positions that the model was trained for.
    pub max_position_embeddings: i64,
    /// Added to the mean square in every norm.
    pub rms_norm_eps: f64,
    /// Whether the attention's projections have biases.
    pub attention_bias: bool,
    /// Whether queries, keys and values have biases where the attention's output has none: Qwen's, which no file of this class names.
    #[serde(skip)]
    pub qkv_bias: bool,
    /// Whether the MLP's projections have biases.
    pub mlp_bias: bool,
    /// Activation of the MLP; only `silu` exists.
    pub hidden_act: String,
    pub(crate) rope_theta: Option<f64>,
    pub(crate) rope_scaling: Option<RopeParameters>,
    pub(crate) rope_parameters: Option<RopeParameters>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RopeParameters {
    rope_theta: Option<f64>,
    #[serde(alias = "type")]
    rope_type: Option<String>,
}

impl Default for LlamaConfig {
    fn default() -> Self {
        Self {
            vocab_size: 32_000,
            hidden_size: 4096,
            intermediate_size: 11_008,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: None,
            head_dim: None,
            max_position_embeddings: 2048,
            rms_norm_eps: 1e-6,
            attention_bias: false,
            qkv_bias: false,
            mlp_bias: false,
            hidden_act: "silu".to_owned(),
            rope_theta: None,
            rope_scaling: None,
            rope_parameters: None,
        }
    }
}

/// Hidden states that the reference skips, counted from the last: it reads the third from the end.
const SKIPPED_LAYERS: i64 = 2;

impl LlamaConfig {
    /// Base of the rotary frequencies.
    #[must_use]
    pub(crate) fn rope_theta(&self) -> f64 {
        let nested = self.rope_parameters.as_ref().and_then(|parameters| parameters.rope_theta);
        nested.or(self.rope_theta).unwrap_or(10_000.0)
    }

    /// Width of a head.
    #[must_use]
    pub(crate) fn head_dim(&self) -> i64 {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    /// Heads of keys and values.
    #[must_use]
    pub(crate) fn key_value_heads(&self) -> i64 {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// Layers whose output is used: all but the last two.
    #[must_use]
    pub(crate) fn used_layers(&self) -> i64 {
        self.num_hidden_layers - SKIPPED_LAYERS
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        sizes(&[
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("head_dim", self.head_dim()),
        ])?;
        counts(&[("num_attention_heads", self.num_attention_heads), ("num_key_value_heads", self.key_value_heads())])?;
        layers(&[("num_hidden_layers", self.num_hidden_layers)])?;
        if self.used_layers() < 0 {
            let layers = self.num_hidden_layers;
            return Err(format!(
                "`num_hidden_layers` is {layers}; the third hidden state from the end needs at least 2"
            ));
        }
        if self.num_attention_heads % self.key_value_heads() != 0 {
            let (queries, keys) = (self.num_attention_heads, self.key_value_heads());
            return Err(format!("{queries} query heads cannot share {keys} key heads evenly"));
        }
        if self.head_dim() % 2 != 0 {
            return Err(format!("heads are {} wide; rotary positions need an even width", self.head_dim()));
        }
        if self.hidden_act != "silu" {
            return Err(format!("`hidden_act` is `{}`; only `silu` is known", self.hidden_act));
        }
        for parameters in [&self.rope_scaling, &self.rope_parameters].into_iter().flatten() {
            if let Some(kind) = parameters.rope_type.as_deref().filter(|kind| *kind != "default") {
                return Err(format!("rotary positions are scaled by `{kind}`; only unscaled ones are known"));
            }
        }
        Ok(())
    }
}

/// `text_encoder_2/config.json`: CLIP's text model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct ClipConfig {
    /// Rows of the token table.
    pub vocab_size: i64,
    /// Width of a state, and of the pooled one.
    pub hidden_size: i64,
    /// Width inside the MLP.
    pub intermediate_size: i64,
    /// Layers.
    pub num_hidden_layers: i64,
    /// Attention heads.
    pub num_attention_heads: i64,
    /// Rows of the position table.
    pub max_position_embeddings: i64,
    /// Activation of the MLP.
    pub hidden_act: ClipActivation,
    /// Added to the variance in every norm.
    pub layer_norm_eps: f64,
    /// Token whose state is the pooled one.
    pub eos_token_id: i64,
}

/// Activations that CLIP text models are published with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClipActivation {
    /// `x · sigmoid(1.702 x)`.
    QuickGelu,
    /// The exact Gaussian one.
    Gelu,
}

impl Default for ClipConfig {
    fn default() -> Self {
        Self {
            vocab_size: 49_408,
            hidden_size: 512,
            intermediate_size: 2048,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: ClipActivation::QuickGelu,
            layer_norm_eps: 1e-5,
            eos_token_id: 49_407,
        }
    }
}

impl ClipConfig {
    pub(super) fn check(&self) -> Result<(), String> {
        sizes(&[
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
        ])?;
        counts(&[("num_attention_heads", self.num_attention_heads)])?;
        layers(&[("num_hidden_layers", self.num_hidden_layers)])?;
        if self.hidden_size % self.num_attention_heads != 0 {
            let (width, heads) = (self.hidden_size, self.num_attention_heads);
            return Err(format!("`hidden_size` {width} cannot be shared by {heads} heads"));
        }
        Ok(())
    }
}
