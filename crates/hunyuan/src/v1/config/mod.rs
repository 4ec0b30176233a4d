//! The configuration of a checkpoint: `model_index.json` and the configuration file of each component.
//!
//! The rule: everything comes from these files. A key that is absent has the value that the reference gives it (both
//! libraries leave defaults out when they save); a value that this crate cannot honour is refused by name, never ignored.

mod text;
mod video;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

pub use self::text::{ClipActivation, ClipConfig, LlamaConfig};
pub use self::video::{SchedulerConfig, TransformerConfig, VaeConfig};
pub(crate) use self::video::{check_axes, check_compression};
use crate::runtime::error::{Error, Result};
use crate::runtime::json::read_json;
use crate::runtime::request::Geometry;

/// The reference's values for what neither a request nor a file specifies.
pub mod defaults {
    use crate::runtime::request::Defaults;

    /// Of a request.
    pub(crate) const REQUEST: Defaults =
        Defaults { width: 1280, height: 720, frames: 129, fps: 24, steps: 50, guidance: 6.0, true_cfg_scale: 1.0 };
    /// Shift of the schedule for a checkpoint that brings no scheduler configuration.
    pub(crate) const FLOW_SHIFT: f64 = 7.0;
}

/// Every configuration of a model folder.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The folder, which holds one folder for each component.
    pub dir: PathBuf,
    /// The denoising transformer.
    pub transformer: TransformerConfig,
    /// The video decoder.
    pub vae: VaeConfig,
    /// The language model that embeds prompts.
    pub text_encoder: LlamaConfig,
    /// The CLIP text model that pools prompts.
    pub text_encoder_2: ClipConfig,
    /// The flow-match schedule.
    pub scheduler: SchedulerConfig,
}

impl ModelConfig {
    /// Reads and checks all configuration files of a folder of this family.
    ///
    /// # Errors
    /// When a file is absent or unreadable, or says something that this crate cannot do.
    pub fn read(model_dir: &Path) -> Result<Self> {
        let config = Self {
            dir: model_dir.to_owned(),
            transformer: read_checked(&model_dir.join("transformer/config.json"), TransformerConfig::check)?,
            vae: read_checked(&model_dir.join("vae/config.json"), VaeConfig::check)?,
            text_encoder: read_text(&model_dir.join("text_encoder/config.json"), LlamaConfig::check)?,
            text_encoder_2: read_text(&model_dir.join("text_encoder_2/config.json"), ClipConfig::check)?,
            scheduler: SchedulerConfig::read(&model_dir.join("scheduler/scheduler_config.json"))?,
        };
        config.check_joints()?;
        Ok(config)
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

    /// Widths that components share must agree.
    fn check_joints(&self) -> Result<()> {
        let transformer = &self.transformer;
        let joints = [
            (
                "text_embed_dim",
                transformer.text_embed_dim,
                "the language model's hidden_size",
                self.text_encoder.hidden_size,
            ),
            (
                "pooled_projection_dim",
                transformer.pooled_projection_dim,
                "CLIP's hidden_size",
                self.text_encoder_2.hidden_size,
            ),
            ("in_channels", transformer.in_channels, "the VAE's latent_channels", self.vae.latent_channels),
            ("out_channels", transformer.out_channels(), "the VAE's latent_channels", self.vae.latent_channels),
        ];
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

/// Reads a JSON file and checks it by the rules of its type, which return the reason for a refusal.
pub(crate) fn read_checked<T: DeserializeOwned>(
    path: &Path,
    check: impl Fn(&T) -> std::result::Result<(), String>,
) -> Result<T> {
    let config = read_json(path)?;
    check(&config).map_err(|reason| Error::Config { path: path.to_owned(), reason })?;
    Ok(config)
}

/// The same for a text model, which may be part of a larger one: LLaVA and the whole of CLIP describe it in `text_config`, and the
/// numbers around that belong to other parts.
fn read_text<T: DeserializeOwned>(path: &Path, check: impl Fn(&T) -> std::result::Result<(), String>) -> Result<T> {
    let wrong = |reason: String| Error::Config { path: path.to_owned(), reason };
    let mut value: serde_json::Value = read_json(path)?;
    if let Some(nested) = value.get_mut("text_config").filter(|nested| nested.is_object()) {
        value = nested.take();
    }
    let config = serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?;
    check(&config).map_err(wrong)?;
    Ok(config)
}

/// Largest accepted width, vocabulary or length: far above any network, and small enough that no product
/// of sizes exceeds 64 bits.
pub(crate) const SIZE_MAX: i64 = 1 << 24;
/// Most layers, blocks or heads of a kind, and largest patch or compression.
const COUNT_MAX: i64 = 1 << 10;

/// Refuses sizes that no network can have.
pub(crate) fn sizes(fields: &[(&str, i64)]) -> std::result::Result<(), String> {
    within(1, SIZE_MAX, fields)
}

/// Refuses numbers of layers that no network can have; there may be none.
pub(crate) fn layers(fields: &[(&str, i64)]) -> std::result::Result<(), String> {
    within(0, COUNT_MAX, fields)
}

/// Refuses heads, patches and compressions that no network can have.
pub(crate) fn counts(fields: &[(&str, i64)]) -> std::result::Result<(), String> {
    within(1, COUNT_MAX, fields)
}

fn within(min: i64, max: i64, fields: &[(&str, i64)]) -> std::result::Result<(), String> {
    match fields.iter().find(|(_, value)| !(min..=max).contains(value)) {
        Some((name, value)) => Err(format!("`{name}` is {value}; it must be {min} to {max}")),
        None => Ok(()),
    }
}
