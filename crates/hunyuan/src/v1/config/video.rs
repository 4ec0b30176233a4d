//! Configurations of the three components that make the video: transformer, VAE, schedule.
//!
//! Field names are those of the files; defaults are those of the reference's constructors.

use std::path::Path;

use serde::Deserialize;

use super::{SIZE_MAX, counts, defaults, layers, read_checked, sizes};
use crate::runtime::error::Result;

/// `transformer/config.json`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct TransformerConfig {
    /// Channels of the latents that go in.
    pub in_channels: i64,
    /// Channels of the prediction; absent means as many as go in.
    pub out_channels: Option<i64>,
    /// Attention heads.
    pub num_attention_heads: i64,
    /// Width of one head.
    pub attention_head_dim: i64,
    /// Double-stream blocks.
    pub num_layers: i64,
    /// Single-stream blocks.
    pub num_single_layers: i64,
    /// Blocks of the token refiner.
    pub num_refiner_layers: i64,
    /// Width of the MLP over the hidden width.
    pub mlp_ratio: f64,
    /// Latent pixels a token covers, in height and in width.
    pub patch_size: i64,
    /// Latent frames a token covers.
    pub patch_size_t: i64,
    /// Norm of queries and keys; only `rms_norm` exists.
    pub qk_norm: String,
    /// Whether the guidance scale is an input.
    pub guidance_embeds: bool,
    /// Width of the language model's states.
    pub text_embed_dim: i64,
    /// Width of CLIP's pooled state.
    pub pooled_projection_dim: i64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Channels of a head that rotate with time, height and width.
    pub rope_axes_dim: Vec<i64>,
    /// How an image conditions the video; absent for text-to-video.
    pub image_condition_type: Option<String>,
}

impl Default for TransformerConfig {
    fn default() -> Self {
        Self {
            in_channels: 16,
            out_channels: Some(16),
            num_attention_heads: 24,
            attention_head_dim: 128,
            num_layers: 20,
            num_single_layers: 40,
            num_refiner_layers: 2,
            mlp_ratio: 4.0,
            patch_size: 2,
            patch_size_t: 1,
            qk_norm: "rms_norm".to_owned(),
            guidance_embeds: true,
            text_embed_dim: 4096,
            pooled_projection_dim: 768,
            rope_theta: 256.0,
            rope_axes_dim: vec![16, 56, 56],
            image_condition_type: None,
        }
    }
}

impl TransformerConfig {
    /// Number and width of the attention heads.
    #[must_use]
    pub fn heads(&self) -> [i64; 2] {
        [self.num_attention_heads, self.attention_head_dim]
    }

    /// Width of a token: heads times their width.
    #[must_use]
    pub fn hidden_size(&self) -> i64 {
        self.num_attention_heads * self.attention_head_dim
    }

    /// Width inside the blocks' MLP.
    #[must_use]
    pub fn mlp_size(&self) -> i64 {
        // Rounded down, as the reference's integer conversion does.
        (self.hidden_size() as f64 * self.mlp_ratio) as i64
    }

    /// Channels of the prediction.
    #[must_use]
    pub(crate) fn out_channels(&self) -> i64 {
        self.out_channels.unwrap_or(self.in_channels)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        sizes(&[
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels()),
            ("attention_head_dim", self.attention_head_dim),
            ("text_embed_dim", self.text_embed_dim),
            ("pooled_projection_dim", self.pooled_projection_dim),
        ])?;
        counts(&[
            ("num_attention_heads", self.num_attention_heads),
            ("patch_size", self.patch_size),
            ("patch_size_t", self.patch_size_t),
        ])?;
        layers(&[
            ("num_layers", self.num_layers),
            ("num_single_layers", self.num_single_layers),
            ("num_refiner_layers", self.num_refiner_layers),
        ])?;
        if !(1.0..=SIZE_MAX as f64).contains(&(self.mlp_ratio * self.hidden_size() as f64)) {
            let (ratio, width) = (self.mlp_ratio, self.hidden_size());
            return Err(format!("`mlp_ratio` is {ratio}; times {width} it must give the MLP 1 to {SIZE_MAX} channels"));
        }
        if self.qk_norm != "rms_norm" {
            return Err(format!("`qk_norm` is `{}`; only `rms_norm` is known", self.qk_norm));
        }
        if let Some(kind) = &self.image_condition_type {
            return Err(format!(
                "`image_condition_type` is `{kind}`: an image-to-video checkpoint; a text-to-video one is needed"
            ));
        }
        check_axes(&self.rope_axes_dim, self.attention_head_dim)
    }
}

/// Refuses rotary axes that do not fill a head.
pub(crate) fn check_axes(axes: &[i64], head_dim: i64) -> Result<(), String> {
    if axes.len() != 3 || axes.iter().any(|axis| !(1..=SIZE_MAX).contains(axis) || axis % 2 != 0) {
        return Err(format!("`rope_axes_dim` is {axes:?}; it must be three positive even numbers"));
    }
    if axes.iter().sum::<i64>() != head_dim {
        return Err(format!("`rope_axes_dim` {axes:?} must add up to `attention_head_dim` {head_dim}"));
    }
    Ok(())
}

/// `vae/config.json`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct VaeConfig {
    /// Channels of a frame that goes in.
    pub in_channels: i64,
    /// Channels of a frame that comes out.
    pub out_channels: i64,
    /// Channels of the latents.
    pub latent_channels: i64,
    /// Kinds of the decoder's blocks, one for each entry of `block_out_channels`.
    pub up_block_types: Vec<String>,
    /// Channels of each level, finest first.
    pub block_out_channels: Vec<i64>,
    /// Residual blocks of an encoder level; the decoder has one more.
    pub layers_per_block: i64,
    /// Activation; only `silu` exists.
    pub act_fn: String,
    /// Groups of the group norms.
    pub norm_num_groups: i64,
    /// Latents are divided by this before they are decoded.
    pub scaling_factor: f64,
    /// Pixels of a latent pixel, each way: a power of two.
    pub spatial_compression_ratio: i64,
    /// Frames of a latent frame after the first: a power of two.
    pub temporal_compression_ratio: i64,
    /// Whether the middle block attends.
    pub mid_block_add_attention: bool,
}

impl Default for VaeConfig {
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            latent_channels: 16,
            up_block_types: vec!["HunyuanVideoUpBlock3D".to_owned(); 4],
            block_out_channels: vec![128, 256, 512, 512],
            layers_per_block: 2,
            act_fn: "silu".to_owned(),
            norm_num_groups: 32,
            scaling_factor: 0.476_986,
            spatial_compression_ratio: 8,
            temporal_compression_ratio: 4,
            mid_block_add_attention: true,
        }
    }
}

impl VaeConfig {
    pub(super) fn check(&self) -> Result<(), String> {
        sizes(&[("latent_channels", self.latent_channels), ("norm_num_groups", self.norm_num_groups)])?;
        counts(&[
            ("layers_per_block", self.layers_per_block),
            ("spatial_compression_ratio", self.spatial_compression_ratio),
            ("temporal_compression_ratio", self.temporal_compression_ratio),
        ])?;
        if self.act_fn != "silu" {
            return Err(format!("`act_fn` is `{}`; only `silu` is known", self.act_fn));
        }
        if let Some(other) = self.up_block_types.iter().find(|kind| *kind != "HunyuanVideoUpBlock3D") {
            return Err(format!("`up_block_types` has `{other}`; only `HunyuanVideoUpBlock3D` is known"));
        }
        if self.block_out_channels.is_empty() || self.block_out_channels.len() != self.up_block_types.len() {
            return Err("`block_out_channels` and `up_block_types` must have the same number of entries".to_owned());
        }
        let unfit = |c: &&i64| !(1..=SIZE_MAX).contains(*c) || **c % self.norm_num_groups != 0;
        if let Some(channels) = self.block_out_channels.iter().find(unfit) {
            return Err(format!("{channels} channels cannot be normed in {} groups", self.norm_num_groups));
        }
        check_compression(self.out_channels, self.spatial_compression_ratio, self.temporal_compression_ratio)?;
        if !(self.scaling_factor.is_finite() && self.scaling_factor != 0.0) {
            return Err(format!("`scaling_factor` is {}", self.scaling_factor));
        }
        Ok(())
    }
}

/// Refuses frames that are not in colour, and compression that is not a power of two.
pub(crate) fn check_compression(out_channels: i64, spatial: i64, temporal: i64) -> Result<(), String> {
    if out_channels != 3 {
        return Err(format!("`out_channels` is {out_channels}; frames have 3"));
    }
    for (name, ratio) in [("spatial_compression_ratio", spatial), ("temporal_compression_ratio", temporal)] {
        if ratio & (ratio - 1) != 0 {
            return Err(format!("`{name}` is {ratio}; it must be a power of two"));
        }
    }
    Ok(())
}

/// `scheduler/scheduler_config.json`: the flow-match Euler schedule.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct SchedulerConfig {
    /// Class of the schedule; only the flow-match Euler one exists.
    #[serde(rename = "_class_name")]
    pub class_name: String,
    /// How much the steps are shifted towards the noisy end; 1 means evenly spaced.
    pub shift: f64,
    /// The factor between a sigma and the transformer's timestep.
    pub num_train_timesteps: i64,
    invert_sigmas: bool,
    use_dynamic_shifting: bool,
    shift_terminal: Option<f64>,
    use_karras_sigmas: Option<bool>,
    use_exponential_sigmas: Option<bool>,
    use_beta_sigmas: Option<bool>,
    stochastic_sampling: bool,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            class_name: SCHEDULER_CLASS.to_owned(),
            // What the class takes for a file that does not name it; a folder without the file gets `FLOW_SHIFT`.
            shift: 1.0,
            num_train_timesteps: 1000,
            invert_sigmas: false,
            use_dynamic_shifting: false,
            shift_terminal: None,
            use_karras_sigmas: None,
            use_exponential_sigmas: None,
            use_beta_sigmas: None,
            stochastic_sampling: false,
        }
    }
}

const SCHEDULER_CLASS: &str = "FlowMatchEulerDiscreteScheduler";

impl SchedulerConfig {
    pub(super) fn read(path: &Path) -> Result<Self> {
        if path.exists() {
            return read_checked(path, Self::check);
        }
        Ok(Self { shift: defaults::FLOW_SHIFT, ..Self::default() })
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        if self.class_name != SCHEDULER_CLASS {
            return Err(format!("is a `{}`; only `{SCHEDULER_CLASS}` is known", self.class_name));
        }
        if !(self.shift.is_finite() && self.shift > 0.0) {
            return Err(format!("`shift` is {}; it must be above 0", self.shift));
        }
        sizes(&[("num_train_timesteps", self.num_train_timesteps)])?;
        for (name, set) in [
            // From data to noise: a request says that with `flow_reverse = false`, a checkpoint cannot.
            ("invert_sigmas", self.invert_sigmas),
            ("use_dynamic_shifting", self.use_dynamic_shifting),
            ("shift_terminal", self.shift_terminal.is_some_and(|value| value != 0.0)),
            ("use_karras_sigmas", self.use_karras_sigmas == Some(true)),
            ("use_exponential_sigmas", self.use_exponential_sigmas == Some(true)),
            ("use_beta_sigmas", self.use_beta_sigmas == Some(true)),
            ("stochastic_sampling", self.stochastic_sampling),
        ] {
            if set {
                return Err(format!("`{name}` is set; HunyuanVideo's schedule has only `shift`, so unset it"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_that_this_crate_does_not_have_is_refused_by_name() {
        for name in ["invert_sigmas", "use_dynamic_shifting", "use_karras_sigmas", "stochastic_sampling"] {
            let config: SchedulerConfig = serde_json::from_str(&format!("{{\"{name}\": true}}")).unwrap();
            assert!(config.check().unwrap_err().contains(name), "{name}");
        }
        SchedulerConfig::default().check().unwrap();
    }
}
