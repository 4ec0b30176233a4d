//! The model folders that the fleet serves.

use std::path::PathBuf;

use serde::Deserialize;

/// `[models]` of `configuration/base.toml`, which explains every key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelsSettings {
    /// Model folders.
    pub dirs: Vec<PathBuf>,
    /// The model of requests that name none.
    pub default: String,
    /// Further names of that model under `/v1`.
    pub aliases: Vec<String>,
}
