//! Configuration files.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::error::{Error, Result};

/// Reads a JSON file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    serde_json::from_str(&text).map_err(|error| Error::Config { path: path.to_owned(), reason: error.to_string() })
}
