//! Reading the `fleet.toml` of the model folders on this machine.

use std::path::{Path, PathBuf};

use domain::ModelManifest;
use domain::model::ManifestError;

use crate::sections::models::ModelsSettings;

/// A model folder that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelFolderError {
    /// Its manifest cannot be read.
    #[error("cannot read {path}: {source}; models.dirs must name existing model folders, each with a fleet.toml")]
    Read {
        /// The manifest.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its manifest cannot be used.
    #[error("{path}: {source}")]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// Why.
        source: ManifestError,
    },
}

/// Reads the manifest of a model folder.
///
/// # Errors
/// [`ModelFolderError`] with the path.
pub fn read_manifest(folder: &Path) -> Result<ModelManifest, ModelFolderError> {
    let path = folder.join("fleet.toml");
    let text =
        std::fs::read_to_string(&path).map_err(|source| ModelFolderError::Read { path: path.clone(), source })?;
    ModelManifest::parse(&text).map_err(|source| ModelFolderError::Manifest { path, source })
}

impl ModelsSettings {
    /// The manifests of all configured folders.
    ///
    /// # Errors
    /// [`ModelFolderError`] of the first folder that cannot be used.
    pub fn manifests(&self) -> Result<Vec<ModelManifest>, ModelFolderError> {
        self.dirs.iter().map(|folder| read_manifest(folder)).collect()
    }
}
