//! What a 1.5 checkpoint says about itself: each component's own configuration file.
//!
//! The rules are those of [`crate::v1::config`]: an absent key has the reference's default, and a value that this crate cannot
//! honour is refused by name.

mod image;
mod text;
mod video;

use std::path::{Path, PathBuf};

pub use self::image::{ExtractorConfig, SiglipConfig};
pub use self::text::{QwenConfig, T5Config};
pub use self::video::{GuiderConfig, TransformerConfig, VaeConfig};
use crate::runtime::error::{Error, Result};
use crate::runtime::request::Geometry;
pub use crate::v1::config::SchedulerConfig;
use crate::v1::config::read_checked;

/// The reference's values for what neither a request nor a file specifies.
pub mod defaults {
    use crate::runtime::request::Defaults;

    /// Of a request. The scale of guidance is the checkpoint's own; this is the one of the released base models.
    pub(crate) const REQUEST: Defaults =
        Defaults { width: 848, height: 480, frames: 121, fps: 24, steps: 50, guidance: 6.0, true_cfg_scale: 6.0 };
}

/// Every configuration of a model folder.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The folder, which holds one folder for each component.
    pub dir: PathBuf,
    /// The denoising transformer.
    pub transformer: TransformerConfig,
    /// The video decoder, and the encoder of a first frame.
    pub vae: VaeConfig,
    /// The language model that embeds prompts.
    pub text_encoder: QwenConfig,
    /// The encoder of quoted text.
    pub text_encoder_2: T5Config,
    /// The flow-match schedule.
    pub scheduler: SchedulerConfig,
    /// The scale of classifier-free guidance.
    pub guider: GuiderConfig,
    /// What reads the first frame of image-to-video; none in a text-to-video folder.
    pub image: Option<ImageConfig>,
}

/// The two configurations that image-to-video has beside those of text-to-video.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageConfig {
    /// The image encoder.
    pub encoder: SiglipConfig,
    /// What it is shown.
    pub extractor: ExtractorConfig,
}

impl ModelConfig {
    /// Reads and checks all configuration files of a folder of this family; `with_image` those of image-to-video, too.
    ///
    /// # Errors
    /// When a file is absent or unreadable, or says something that this crate cannot do.
    pub fn read(model_dir: &Path, with_image: bool) -> Result<Self> {
        let scheduler = model_dir.join("scheduler/scheduler_config.json");
        let config = Self {
            dir: model_dir.to_owned(),
            transformer: read_checked(&model_dir.join("transformer/config.json"), TransformerConfig::check)?,
            vae: read_checked(&model_dir.join("vae/config.json"), VaeConfig::check)?,
            text_encoder: read_checked(&model_dir.join("text_encoder/config.json"), QwenConfig::check)?,
            text_encoder_2: read_checked(&model_dir.join("text_encoder_2/config.json"), T5Config::check)?,
            // Neither of these two has a default: the released variants differ in exactly these numbers.
            scheduler: read_checked(&scheduler, SchedulerConfig::check)?,
            guider: read_checked(&model_dir.join("guider/guider_config.json"), GuiderConfig::check)?,
            image: if with_image { Some(ImageConfig::read(model_dir)?) } else { None },
        };
        config.check_task()?;
        config.check_joints()?;
        Ok(config)
    }

    /// The scale of guidance of a folder: all that a request's defaults take from it.
    ///
    /// # Errors
    /// When its file is absent or unreadable, or says something that this crate cannot do.
    pub(crate) fn guidance_scale(model_dir: &Path) -> Result<f64> {
        let guider = read_checked(&model_dir.join("guider/guider_config.json"), GuiderConfig::check)?;
        Ok(guider.scale())
    }

    /// A component's folder.
    #[must_use]
    pub(crate) fn component_dir(&self, component: &str) -> PathBuf {
        self.dir.join(component)
    }

    /// How pixels become latents and tokens.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        Geometry {
            channels: self.vae.latent_channels,
            spatial: self.vae.spatial_compression_ratio,
            temporal: self.vae.temporal_compression_ratio,
            patch: self.transformer.patch_size,
            patch_t: self.transformer.patch_size_t,
        }
    }

    /// What only one of both tasks can have.
    fn check_task(&self) -> Result<()> {
        let (file, checked) = if self.image.is_some() {
            ("vae/config.json", self.vae.check_encoder())
        } else {
            ("transformer/config.json", self.transformer.check_without_image())
        };
        checked.map_err(|reason| Error::Config { path: self.dir.join(file), reason })
    }

    /// Widths that components share must agree.
    fn check_joints(&self) -> Result<()> {
        let (transformer, latent) = (&self.transformer, self.vae.latent_channels);
        let mut joints = vec![
            (
                "text_embed_dim",
                transformer.text_embed_dim,
                "the language model's hidden_size",
                self.text_encoder.hidden_size,
            ),
            (
                "text_embed_2_dim",
                transformer.text_embed_2_dim,
                "the glyph encoder's d_model",
                self.text_encoder_2.d_model,
            ),
            ("in_channels", transformer.in_channels, "twice the VAE's latent_channels and one", 2 * latent + 1),
            ("out_channels", transformer.out_channels, "the VAE's latent_channels", latent),
        ];
        if let Some(image) = &self.image {
            let there = image.encoder.hidden_size;
            joints.push(("image_embed_dim", transformer.image_embed_dim, "the image encoder's hidden_size", there));
        }
        for (field, here, meaning, there) in joints {
            if here != there {
                return Err(Error::Config {
                    path: self.dir.join("transformer/config.json"),
                    reason: format!(
                        "`{field}` is {here}, but {meaning} is {there}: the folder mixes components of two models"
                    ),
                });
            }
        }
        Ok(())
    }
}

impl ImageConfig {
    fn read(model_dir: &Path) -> Result<Self> {
        let path = model_dir.join("feature_extractor/preprocessor_config.json");
        let encoder = read_checked(&model_dir.join("image_encoder/config.json"), SiglipConfig::check)?;
        let extractor = read_checked(&path, ExtractorConfig::check)?;
        extractor.check_side(encoder.image_size).map_err(|reason| Error::Config { path, reason })?;
        Ok(Self { encoder, extractor })
    }
}
