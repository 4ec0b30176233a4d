//! Configurations of 1.5's transformer, VAE and guider. Field names are those of the files; defaults are the reference's.

use serde::Deserialize;

use crate::v1::config::{SIZE_MAX, check_axes, check_compression, counts, layers, sizes};

/// `transformer/config.json`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct TransformerConfig {
    /// Channels that go in: latents, the latents of an image, and one for its mask.
    pub in_channels: i64,
    /// Channels of the prediction.
    pub out_channels: i64,
    /// Attention heads.
    pub num_attention_heads: i64,
    /// Width of one head.
    pub attention_head_dim: i64,
    /// Double-stream blocks; there are no others.
    pub num_layers: i64,
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
    /// Width of the language model's states.
    pub text_embed_dim: i64,
    /// Width of the glyph encoder's states.
    pub text_embed_2_dim: i64,
    /// Width of the image encoder's states.
    pub image_embed_dim: i64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Channels of a head that rotate with time, height and width.
    pub rope_axes_dim: Vec<i64>,
    /// Whether the time of the next step is an input as well.
    pub use_meanflow: bool,
    /// Side of a square video at the model's scale, pixels.
    pub target_size: i64,
}

impl Default for TransformerConfig {
    fn default() -> Self {
        Self {
            in_channels: 65,
            out_channels: 32,
            num_attention_heads: 16,
            attention_head_dim: 128,
            num_layers: 54,
            num_refiner_layers: 2,
            mlp_ratio: 4.0,
            patch_size: 1,
            patch_size_t: 1,
            qk_norm: "rms_norm".to_owned(),
            text_embed_dim: 3584,
            text_embed_2_dim: 1472,
            image_embed_dim: 1152,
            rope_theta: 256.0,
            rope_axes_dim: vec![16, 56, 56],
            use_meanflow: false,
            target_size: 640,
        }
    }
}

impl TransformerConfig {
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

    /// Latent frames, rows and columns of a token.
    pub(crate) fn patch(&self) -> [i64; 3] {
        [self.patch_size_t, self.patch_size, self.patch_size]
    }

    pub(super) fn check(&self) -> Result<(), String> {
        sizes(&[
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("attention_head_dim", self.attention_head_dim),
            ("text_embed_dim", self.text_embed_dim),
            ("text_embed_2_dim", self.text_embed_2_dim),
            ("image_embed_dim", self.image_embed_dim),
            ("target_size", self.target_size),
        ])?;
        counts(&[
            ("num_attention_heads", self.num_attention_heads),
            ("patch_size", self.patch_size),
            ("patch_size_t", self.patch_size_t),
        ])?;
        layers(&[("num_layers", self.num_layers), ("num_refiner_layers", self.num_refiner_layers)])?;
        if !(1.0..=SIZE_MAX as f64).contains(&(self.mlp_ratio * self.hidden_size() as f64)) {
            let (ratio, width) = (self.mlp_ratio, self.hidden_size());
            return Err(format!("`mlp_ratio` is {ratio}; times {width} it must give the MLP 1 to {SIZE_MAX} channels"));
        }
        if self.qk_norm != "rms_norm" {
            return Err(format!("`qk_norm` is `{}`; only `rms_norm` is known", self.qk_norm));
        }
        check_axes(&self.rope_axes_dim, self.attention_head_dim)
    }

    /// Refuses what the text-to-video pipeline does not have.
    pub(super) fn check_without_image(&self) -> Result<(), String> {
        if self.use_meanflow {
            return Err("`use_meanflow` is set, but the text-to-video pipeline gives the transformer no second time; \
                        a checkpoint without it is needed"
                .to_owned());
        }
        Ok(())
    }
}

/// `vae/config.json`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct VaeConfig {
    /// Channels of a frame that comes out.
    pub out_channels: i64,
    /// Channels of the latents.
    pub latent_channels: i64,
    /// Channels of each level, finest first.
    pub block_out_channels: Vec<i64>,
    /// Residual blocks of an encoder level; the decoder has one more.
    pub layers_per_block: i64,
    /// Pixels of a latent pixel, each way: a power of two.
    pub spatial_compression_ratio: i64,
    /// Frames of a latent frame after the first: a power of two.
    pub temporal_compression_ratio: i64,
    /// Whether a reduction already has the channels of the next level.
    pub downsample_match_channel: bool,
    /// Whether an enlargement already has the channels of the next level.
    pub upsample_match_channel: bool,
    /// Latents are divided by this before they are decoded.
    pub scaling_factor: f64,
}

impl Default for VaeConfig {
    fn default() -> Self {
        Self {
            out_channels: 3,
            latent_channels: 32,
            block_out_channels: vec![128, 256, 512, 1024, 1024],
            layers_per_block: 2,
            spatial_compression_ratio: 16,
            temporal_compression_ratio: 4,
            downsample_match_channel: true,
            upsample_match_channel: true,
            scaling_factor: 1.03682,
        }
    }
}

/// One level of the decoder or the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    /// Channels that come in and those of its residual blocks.
    pub(crate) channels: [i64; 2],
    /// Factor of frames (1 or 2) of the enlargement or reduction after it, and the channels then; none where the size stays.
    pub(crate) resize: Option<(i64, i64)>,
}

impl VaeConfig {
    /// The decoder's levels, coarsest first.
    pub(crate) fn levels(&self) -> Vec<Level> {
        let widths: Vec<i64> = self.block_out_channels.iter().rev().copied().collect();
        let doublings = |ratio: i64| ratio.trailing_zeros() as usize;
        let (space, time) = (doublings(self.spatial_compression_ratio), doublings(self.temporal_compression_ratio));
        let mut input = widths.first().copied().unwrap_or_default();
        let mut levels = Vec::with_capacity(widths.len());
        for (index, &width) in widths.iter().enumerate() {
            let after =
                if self.upsample_match_channel { widths.get(index + 1).copied().unwrap_or(width) } else { width };
            let resize = (index < space).then_some((if index < time { 2 } else { 1 }, after));
            levels.push(Level { channels: [input, width], resize });
            input = if resize.is_some() { after } else { width };
        }
        levels
    }

    /// The encoder's levels, finest first.
    pub(crate) fn encoder_levels(&self) -> Vec<Level> {
        let widths = &self.block_out_channels;
        let doublings = |ratio: i64| ratio.trailing_zeros() as usize;
        let (space, time) = (doublings(self.spatial_compression_ratio), doublings(self.temporal_compression_ratio));
        let mut input = widths.first().copied().unwrap_or_default();
        let mut levels = Vec::with_capacity(widths.len());
        for (index, &width) in widths.iter().enumerate() {
            let next = widths.get(index + 1).copied().unwrap_or(width);
            let after = if self.downsample_match_channel { next } else { width };
            // Frames are reduced last.
            let resize = (index < space).then_some((if index + time >= space { 2 } else { 1 }, after));
            levels.push(Level { channels: [input, width], resize });
            input = if resize.is_some() { after } else { width };
        }
        levels
    }

    /// Refuses channels that the encoder cannot divide.
    pub(super) fn check_encoder(&self) -> Result<(), String> {
        let (coarsest, moments) =
            (self.block_out_channels.last().copied().unwrap_or_default(), 2 * self.latent_channels);
        if coarsest % moments != 0 {
            return Err(format!("{coarsest} channels are not a multiple of twice `latent_channels`, {moments}"));
        }
        for level in self.encoder_levels() {
            let Some((factor, after)) = level.resize else { continue };
            let (width, positions) = (level.channels[1], 4 * factor);
            if after % positions != 0 || (4 * width) % after != 0 {
                return Err(format!("{width} channels cannot be reduced to {after} with {positions} positions each"));
            }
        }
        Ok(())
    }

    pub(super) fn check(&self) -> Result<(), String> {
        sizes(&[("latent_channels", self.latent_channels)])?;
        counts(&[
            ("layers_per_block", self.layers_per_block),
            ("spatial_compression_ratio", self.spatial_compression_ratio),
            ("temporal_compression_ratio", self.temporal_compression_ratio),
        ])?;
        check_compression(self.out_channels, self.spatial_compression_ratio, self.temporal_compression_ratio)?;
        let (space, time) = (self.spatial_compression_ratio, self.temporal_compression_ratio);
        if time > space {
            return Err(format!(
                "`temporal_compression_ratio` {time} must not be above `spatial_compression_ratio` {space}"
            ));
        }
        let levels = self.block_out_channels.len();
        if levels <= space.trailing_zeros() as usize {
            return Err(format!("`block_out_channels` has {levels} levels; a compression of {space} needs more"));
        }
        if let Some(width) = self.block_out_channels.iter().find(|width| !(1..=SIZE_MAX).contains(*width)) {
            return Err(format!("`block_out_channels` has {width}; it must be 1 to {SIZE_MAX}"));
        }
        let coarsest = self.block_out_channels[levels - 1];
        if coarsest % self.latent_channels != 0 {
            return Err(format!(
                "{coarsest} channels are not a multiple of `latent_channels` {}",
                self.latent_channels
            ));
        }
        for level in self.levels() {
            let Some((factor, after)) = level.resize else { continue };
            let (width, positions) = (level.channels[1], 4 * factor);
            if width % positions != 0 || positions * after % width != 0 {
                return Err(format!("{width} channels cannot be enlarged to {after} with {positions} positions each"));
            }
        }
        if !(self.scaling_factor.is_finite() && self.scaling_factor != 0.0) {
            return Err(format!("`scaling_factor` is {}", self.scaling_factor));
        }
        Ok(())
    }
}

/// `guider/guider_config.json`: classifier-free guidance.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct GuiderConfig {
    /// Class of the guider; only plain classifier-free guidance is known.
    #[serde(rename = "_class_name")]
    pub class_name: String,
    /// Scale of guidance; 1 is none, as a guidance-distilled checkpoint needs.
    pub guidance_scale: f64,
    enabled: bool,
    guidance_rescale: f64,
    start: f64,
    stop: f64,
    use_original_formulation: bool,
}

impl Default for GuiderConfig {
    fn default() -> Self {
        Self {
            class_name: GUIDER_CLASS.to_owned(),
            guidance_scale: 7.5,
            enabled: true,
            guidance_rescale: 0.0,
            start: 0.0,
            stop: 1.0,
            use_original_formulation: false,
        }
    }
}

const GUIDER_CLASS: &str = "ClassifierFreeGuidance";

impl GuiderConfig {
    /// Scale of guidance; 1 where the checkpoint turns it off.
    pub(crate) fn scale(&self) -> f64 {
        if self.enabled { self.guidance_scale } else { 1.0 }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.class_name != GUIDER_CLASS {
            return Err(format!("is a `{}`; only `{GUIDER_CLASS}` is known", self.class_name));
        }
        if !(self.guidance_scale.is_finite() && self.guidance_scale >= 1.0) {
            return Err(format!("`guidance_scale` is {}; it must be 1 (none) or more", self.guidance_scale));
        }
        for (name, value, plain) in
            [("guidance_rescale", self.guidance_rescale, 0.0), ("start", self.start, 0.0), ("stop", self.stop, 1.0)]
        {
            if value != plain {
                return Err(format!("`{name}` is {value}; only {plain} is known"));
            }
        }
        if self.use_original_formulation {
            return Err("`use_original_formulation` is set; only the formula without it is known".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_released_decoder_enlarges_space_four_times_and_time_twice() {
        let enlarge: Vec<_> = VaeConfig::default().levels().iter().map(|level| level.resize).collect();
        assert_eq!(enlarge, [Some((2, 1024)), Some((2, 512)), Some((1, 256)), Some((1, 128)), None]);
        let unmatched = VaeConfig { upsample_match_channel: false, ..VaeConfig::default() };
        assert_eq!(unmatched.levels()[2], Level { channels: [1024, 512], resize: Some((1, 512)) });
    }

    #[test]
    fn the_released_encoder_reduces_space_four_times_and_then_time_twice() {
        let reduce: Vec<_> = VaeConfig::default().encoder_levels().iter().map(|level| level.resize).collect();
        assert_eq!(reduce, [Some((1, 256)), Some((1, 512)), Some((2, 1024)), Some((2, 1024)), None]);
        VaeConfig::default().check_encoder().unwrap();
        let wide = VaeConfig { latent_channels: 1024, ..VaeConfig::default() };
        assert!(wide.check_encoder().unwrap_err().contains("2048"));
    }

    #[test]
    fn what_the_reference_does_and_this_crate_does_not_is_refused_by_name() {
        let refused = |text: &str| serde_json::from_str::<GuiderConfig>(text).unwrap().check().unwrap_err();
        assert!(refused(r#"{"stop": 0.5}"#).contains("`stop` is 0.5"));
        assert!(refused(r#"{"_class_name": "AutoGuidance"}"#).contains("AutoGuidance"));
        assert!(refused(r#"{"use_original_formulation": true}"#).contains("use_original_formulation"));
        let off: GuiderConfig = serde_json::from_str(r#"{"enabled": false, "guidance_scale": 6.0}"#).unwrap();
        assert_eq!(off.scale(), 1.0);
        let meanflow = TransformerConfig { use_meanflow: true, ..TransformerConfig::default() };
        meanflow.check().unwrap();
        assert!(meanflow.check_without_image().unwrap_err().contains("use_meanflow"));
        let narrow = VaeConfig { latent_channels: 6, ..VaeConfig::default() };
        assert!(narrow.check().unwrap_err().contains("latent_channels"));
    }
}
