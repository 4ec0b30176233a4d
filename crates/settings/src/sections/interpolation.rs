//! Frames between those of the model.

use std::path::PathBuf;

use serde::Deserialize;

/// `[interpolation]` of `configuration/base.toml`, which explains every key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterpolationSettings {
    /// Whether requests may ask for it, and every worker must be able to do it.
    pub enabled: bool,
    /// Folder of the weights.
    pub weights_dir: PathBuf,
    /// Most frames of an interpolated video.
    pub frames_max: u32,
}
