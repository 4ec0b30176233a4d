//! Where tokenizer files come from: a model folder, or a bundle of what it holds, for machines without the folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The files of a model folder from which tokens are made, relative to it. Which of them exist depends on the model.
const NAMES: [&str; 8] = [
    "tokenizer/tokenizer.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer_2/tokenizer.json",
    "tokenizer_2/tokenizer_config.json",
    "tokenizer_2/added_tokens.json",
    "tokenizer_2/vocab.json",
    "tokenizer_2/merges.txt",
    "text_encoder_2/config.json",
];

/// A folder of files, on disk or in memory. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Files {
    folder: PathBuf,
    /// The contents by path; the disk is read without it.
    contents: Option<Arc<BTreeMap<String, String>>>,
}

/// All tokenizer files of a model, as one document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// Contents by path in the model folder.
    files: BTreeMap<String, String>,
}

impl Files {
    /// A folder on disk.
    #[must_use]
    pub fn of_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), contents: None }
    }

    /// A folder in this one.
    #[must_use]
    pub fn at(&self, name: &str) -> Self {
        Self { folder: self.folder.join(name), contents: self.contents.clone() }
    }

    /// Path of a file, for messages.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Whether there is a file of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let path = self.path(name);
        self.contents.as_ref().map_or_else(|| path.exists(), |files| files.contains_key(&*path.to_string_lossy()))
    }

    /// Text of a file.
    pub(crate) fn text(&self, name: &str) -> Result<String> {
        let path = self.path(name);
        let Some(contents) = &self.contents else {
            return std::fs::read_to_string(&path).map_err(|source| Error::Read { path, source });
        };
        let found = contents.get(&*path.to_string_lossy()).cloned();
        found.ok_or_else(|| Error::Read { path, source: std::io::ErrorKind::NotFound.into() })
    }

    /// A JSON file.
    pub(crate) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let text = self.text(name)?;
        serde_json::from_str(&text).map_err(|error| Error::Config { path: self.path(name), reason: error.to_string() })
    }
}

impl Bundle {
    /// Everything in a model folder that its prompts' tokens depend on.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn of_folder(folder: &Path) -> Result<Self> {
        let on_disk = Files::of_folder(folder);
        let present = NAMES.into_iter().filter(|name| on_disk.has(name));
        let files = present.map(|name| Ok((name.to_owned(), on_disk.text(name)?))).collect::<Result<_>>()?;
        Ok(Self { files })
    }

    /// The bundle as JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts by name have a JSON form")
    }

    /// Reads [`Bundle::to_json`].
    ///
    /// # Errors
    /// Bytes that are no bundle.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        let wrong = |error: serde_json::Error| Error::Config { path: "bundle".into(), reason: error.to_string() };
        serde_json::from_slice(bytes).map_err(wrong)
    }

    /// Its files.
    #[must_use]
    pub fn into_files(self) -> Files {
        Files { folder: PathBuf::new(), contents: Some(Arc::new(self.files)) }
    }
}
