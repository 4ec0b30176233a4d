//! Configurations of the image encoder of 1.5's image-to-video and of what it is shown.

use serde::Deserialize;

use crate::v1::config::{counts, layers, sizes};

/// `image_encoder/config.json`: the vision model of SigLIP.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct SiglipConfig {
    /// Width of a state.
    pub hidden_size: i64,
    /// Width inside the MLP.
    pub intermediate_size: i64,
    /// Layers.
    pub num_hidden_layers: i64,
    /// Attention heads.
    pub num_attention_heads: i64,
    /// Channels of a picture.
    pub num_channels: i64,
    /// Pixels of a picture's side.
    pub image_size: i64,
    /// Pixels of a patch's side.
    pub patch_size: i64,
    /// Activation of the MLP; only `gelu_pytorch_tanh` is known.
    pub hidden_act: String,
    /// Added to the variance in every norm.
    pub layer_norm_eps: f64,
}

impl Default for SiglipConfig {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: 224,
            patch_size: 16,
            hidden_act: "gelu_pytorch_tanh".to_owned(),
            layer_norm_eps: 1e-6,
        }
    }
}

impl SiglipConfig {
    /// Patches along one side of a picture.
    pub(crate) fn side(&self) -> i64 {
        self.image_size / self.patch_size
    }

    pub(super) fn check(&self) -> Result<(), String> {
        sizes(&[
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("image_size", self.image_size),
            ("patch_size", self.patch_size),
        ])?;
        counts(&[("num_attention_heads", self.num_attention_heads)])?;
        layers(&[("num_hidden_layers", self.num_hidden_layers)])?;
        let (width, heads) = (self.hidden_size, self.num_attention_heads);
        if width % heads != 0 {
            return Err(format!("`hidden_size` {width} cannot be shared by {heads} heads"));
        }
        if self.num_channels != 3 {
            return Err(format!("`num_channels` is {}; pictures have 3", self.num_channels));
        }
        if self.patch_size > self.image_size {
            return Err(format!("`patch_size` {} is above `image_size` {}", self.patch_size, self.image_size));
        }
        if self.hidden_act != "gelu_pytorch_tanh" {
            return Err(format!("`hidden_act` is `{}`; only `gelu_pytorch_tanh` is known", self.hidden_act));
        }
        Ok(())
    }
}

/// `feature_extractor/preprocessor_config.json`: what a picture becomes before the image encoder sees it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct ExtractorConfig {
    size: Option<Side>,
    /// Pillow's number of a filter; 3 is bicubic.
    resample: i64,
    rescale_factor: f64,
    /// Subtracted from each channel, in 0..1.
    pub image_mean: [f64; 3],
    /// Then divided by.
    pub image_std: [f64; 3],
    do_resize: bool,
    do_rescale: bool,
    do_normalize: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
struct Side {
    height: i64,
    width: i64,
}

/// Pillow's number of the bicubic filter.
const BICUBIC: i64 = 3;

impl Default for ExtractorConfig {
    fn default() -> Self {
        Self {
            size: None,
            resample: BICUBIC,
            rescale_factor: 1.0 / 255.0,
            image_mean: [0.5; 3],
            image_std: [0.5; 3],
            do_resize: true,
            do_rescale: true,
            do_normalize: true,
        }
    }
}

impl ExtractorConfig {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.resample != BICUBIC {
            return Err(format!("`resample` is {}; only {BICUBIC}, bicubic, is known", self.resample));
        }
        if (self.rescale_factor - 1.0 / 255.0).abs() > 1e-9 {
            return Err(format!("`rescale_factor` is {}; only 1/255 is known", self.rescale_factor));
        }
        for (name, set) in
            [("do_resize", self.do_resize), ("do_rescale", self.do_rescale), ("do_normalize", self.do_normalize)]
        {
            if !set {
                return Err(format!("`{name}` is false; only true is known"));
            }
        }
        if let Some(std) = self.image_std.iter().find(|std| !(std.is_finite() && **std > 0.0)) {
            return Err(format!("`image_std` has {std}; it must be above 0"));
        }
        Ok(())
    }

    /// Refuses pictures of another size than the encoder's.
    pub(super) fn check_side(&self, wanted: i64) -> Result<(), String> {
        // The class's own default, where a file names none.
        let size = self.size.unwrap_or(Side { height: 224, width: 224 });
        if (size.height, size.width) != (wanted, wanted) {
            let Side { height, width } = size;
            return Err(format!("`size` is {width}x{height}, but the image encoder reads {wanted}x{wanted}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_show_the_encoder_something_else_is_refused_by_name() {
        let refused = |text: &str| serde_json::from_str::<ExtractorConfig>(text).unwrap().check().unwrap_err();
        assert!(refused(r#"{"resample": 1}"#).contains("`resample` is 1"));
        assert!(refused(r#"{"do_normalize": false}"#).contains("do_normalize"));
        assert!(refused(r#"{"image_std": [0.5, 0.0, 0.5]}"#).contains("image_std"));
        let small: ExtractorConfig = serde_json::from_str(r#"{"size": {"height": 42, "width": 42}}"#).unwrap();
        assert!(small.check_side(384).unwrap_err().contains("384x384"));
        small.check_side(42).unwrap();
        let odd = SiglipConfig { hidden_act: "relu".to_owned(), ..SiglipConfig::default() };
        assert!(odd.check().unwrap_err().contains("relu"));
    }
}
