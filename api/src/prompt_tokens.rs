//! Counts the tokens of prompts as the models' text encoders do, to show what they do not read.
//!
//! The tokenizers are those of this machine's model folders, or those that a worker has put into the object store: the API may run
//! without model files. Until they are there, prompts are not counted, and nothing waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use anyhow::Context;
use artifacts::{Artifacts, keys};
use domain::{ModelFamily, ModelManifest, VideoRequest};
use prompts::{Bundle, Family, Files, PromptReader, Reading};
use settings::ModelsSettings;

use crate::dto::prompt::{PromptField, PromptTokensView};

/// Largest object that is accepted as tokenizers. Those of the released models have 10 to 20 MB.
const BUNDLE_BYTES_MAX: u64 = 128 << 20;
/// Texts whose readings are kept, twice: pages read the same jobs again and again.
const KEPT: usize = 2_000;

/// The tokenizers of all models, by the fingerprint of their text encoders.
#[derive(Debug, Default)]
pub struct PromptReaders {
    readers: RwLock<HashMap<String, Arc<PromptReader>>>,
    kept: Mutex<Kept>,
}

/// Readings of recent texts. When the younger half is full, it becomes the older one, which is dropped.
#[derive(Debug, Default)]
struct Kept {
    younger: HashMap<Key, Arc<[Reading]>>,
    older: HashMap<Key, Arc<[Reading]>>,
}

/// blake3 of the encoders' fingerprint and the text.
type Key = [u8; 32];

impl Kept {
    fn find(&mut self, key: &Key) -> Option<Arc<[Reading]>> {
        if let Some(found) = self.younger.get(key) {
            return Some(Arc::clone(found));
        }
        let found = self.older.remove(key)?;
        self.keep(*key, Arc::clone(&found));
        Some(found)
    }

    fn keep(&mut self, key: Key, readings: Arc<[Reading]>) {
        if self.younger.len() >= KEPT {
            self.older = std::mem::take(&mut self.younger);
        }
        self.younger.insert(key, readings);
    }
}

impl PromptReaders {
    /// The tokenizers of this machine's model folders; a folder without them is passed over.
    #[must_use]
    pub(crate) fn of_folders(models: &ModelsSettings, manifests: &[ModelManifest]) -> Self {
        let found = Self::default();
        for (folder, manifest) in models.dirs.iter().zip(manifests) {
            if !folder.join("tokenizer").exists() {
                continue;
            }
            match PromptReader::load(family(manifest), &Files::of_folder(folder)) {
                Ok(reader) => found.add(manifest, reader),
                Err(error) => {
                    tracing::warn!(model = %manifest.id, %error, "the tokens of this model's prompts are not counted");
                }
            }
        }
        found
    }

    fn add(&self, manifest: &ModelManifest, reader: PromptReader) {
        let mut readers = self.readers.write().unwrap_or_else(PoisonError::into_inner);
        readers.insert(manifest.fingerprint.encoders.clone(), Arc::new(reader));
    }

    fn of(&self, manifest: &ModelManifest) -> Option<Arc<PromptReader>> {
        self.readers.read().unwrap_or_else(PoisonError::into_inner).get(&manifest.fingerprint.encoders).cloned()
    }

    /// Looks in the object store for tokenizers that are missing here.
    ///
    /// # Errors
    /// Objects that exist and cannot be used.
    pub async fn fetch(&self, artifacts: &Artifacts, manifest: &ModelManifest) -> anyhow::Result<()> {
        if self.of(manifest).is_some() {
            return Ok(());
        }
        let key = keys::tokenizers(&manifest.fingerprint.encoders);
        let size = match artifacts.size(&key).await {
            Err(error) if error.is_missing() => return Ok(()),
            size => size?,
        };
        anyhow::ensure!(size <= BUNDLE_BYTES_MAX, "{key} is too large to contain tokenizers");
        let bytes = artifacts.get(&key).await?;
        let family = family(manifest);
        let load = move || PromptReader::load(family, &Bundle::from_json(&bytes)?.into_files());
        let reader = tokio::task::spawn_blocking(load).await.context("load the tokenizers")?.context(key)?;
        self.add(manifest, reader);
        Ok(())
    }

    /// What the encoders of a model read of a text; `None` while its tokenizers are unknown.
    fn read(&self, manifest: &ModelManifest, text: &str) -> Option<Arc<[Reading]>> {
        let reader = self.of(manifest)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(manifest.fingerprint.encoders.as_bytes()).update(&[0]).update(text.as_bytes());
        let key = hasher.finalize().into();
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept().find(&key) {
            return Some(found);
        }
        match reader.read(text) {
            Ok(readings) => {
                let readings: Arc<[Reading]> = readings.into();
                kept().keep(key, Arc::clone(&readings));
                Some(readings)
            }
            Err(error) => {
                tracing::warn!(model = %manifest.id, %error, "the tokens of a prompt could not be counted");
                None
            }
        }
    }

    /// What the encoders of a model read of a request's texts; `None` while its tokenizers are unknown.
    #[must_use]
    pub fn view(&self, manifest: &ModelManifest, request: &VideoRequest) -> Option<Vec<PromptTokensView>> {
        let negative = request.negative_prompt.as_deref().map(|text| (PromptField::NegativePrompt, text));
        let mut views = Vec::new();
        for (field, text) in std::iter::once((PromptField::Prompt, request.prompt.as_str())).chain(negative) {
            views.extend(self.read(manifest, text)?.iter().map(|reading| PromptTokensView::new(field, reading)));
        }
        Some(views)
    }
}

fn family(manifest: &ModelManifest) -> Family {
    match manifest.family {
        ModelFamily::V1 => Family::V1,
        ModelFamily::V1_5 => Family::V1_5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_are_kept_within_bounds() {
        let mut kept = Kept::default();
        let key = |number: usize| *blake3::hash(&number.to_le_bytes()).as_bytes();
        for number in 0..10 * KEPT {
            kept.keep(key(number), Arc::from([]));
            // A text that is read again and again stays.
            assert!(kept.find(&key(0)).is_some(), "{number}");
        }
        assert!(kept.younger.len() + kept.older.len() <= 2 * KEPT);
        assert!(kept.find(&key(1)).is_none());
    }
}
