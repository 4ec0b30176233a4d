//! What the text encoders read of prompts, for the keys of jobs that can be rendered together.
//!
//! Only for models whose workers render several jobs at once: no other fleet loads a tokenizer here. As in the API, the tokenizers are
//! those of this machine's model folders, or those that a worker has put into the object store. Until they are there, jobs get
//! no key and are rendered alone; nothing waits for it.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use artifacts::{Artifacts, keys};
use domain::{BatchKey, ModelFamily, ModelManifest, Plan, PromptTokens, VideoRequest, model::RenderShape};
use prompts::{Bundle, Encoder, Family, Files, PromptReader};
use tracing::warn;

/// Largest object that is accepted as tokenizers. Those of the released models have 10 to 20 MB.
const BUNDLE_BYTES_MAX: u64 = 128 << 20;
/// Time between two looks for missing tokenizers in the object store.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// The tokenizers of models whose workers render several jobs at once.
#[derive(Default)]
pub(crate) struct Texts {
    /// Ids of these models, also of those whose workers are away: a pool that scales to zero is started by jobs that wait, and they
    /// should have keys by then.
    together: RwLock<BTreeSet<String>>,
    /// By the fingerprint of the text encoders.
    readers: RwLock<HashMap<String, Sought>>,
}

/// Tokenizers, or when they were last looked for.
enum Sought {
    Found(Arc<PromptReader>),
    Missing(Instant),
}

impl Texts {
    /// Adds models whose workers render several jobs at once.
    pub(crate) fn add_together<'m>(&self, models: impl Iterator<Item = &'m str>) {
        for model in models.filter(|model| !self.is_together(model)) {
            self.together.write().unwrap_or_else(PoisonError::into_inner).insert(model.to_owned());
        }
    }

    fn is_together(&self, model_id: &str) -> bool {
        self.together.read().unwrap_or_else(PoisonError::into_inner).contains(model_id)
    }

    /// The key of a planned job; `None` for a job that is rendered alone, and where no worker has ever rendered several at once.
    pub(crate) fn key(
        &self,
        request: &VideoRequest,
        shape: &RenderShape,
        plan: &Plan,
        manifest: &ModelManifest,
    ) -> Option<BatchKey> {
        if !self.is_together(&manifest.id) {
            return None;
        }
        let reader =
            match self.readers.read().unwrap_or_else(PoisonError::into_inner).get(&manifest.fingerprint.encoders) {
                Some(Sought::Found(reader)) => Arc::clone(reader),
                _ => return None,
            };
        let negative = request.negative_prompt.as_deref().filter(|_| request.true_cfg_scale > 1.0);
        let tokens = PromptTokens {
            prompt: read(&reader, &request.prompt, manifest)?,
            negative: negative.map_or(Some(Vec::new()), |text| read(&reader, text, manifest))?,
        };
        BatchKey::of(request, shape, plan, manifest, &tokens)
    }

    fn is_due(&self, encoders: &str) -> bool {
        match self.readers.read().unwrap_or_else(PoisonError::into_inner).get(encoders) {
            Some(Sought::Found(_)) => false,
            Some(Sought::Missing(at)) => at.elapsed() >= LOOK_EVERY,
            None => true,
        }
    }

    fn keep(&self, encoders: &str, found: Option<PromptReader>) {
        let sought = found.map_or(Sought::Missing(Instant::now()), |reader| Sought::Found(Arc::new(reader)));
        self.readers.write().unwrap_or_else(PoisonError::into_inner).insert(encoders.to_owned(), sought);
    }

    /// Loads the tokenizers that are missing of `models`, from `folders` of this machine or the object store. Those that cannot be
    /// loaded are reported and looked for again later.
    pub(crate) async fn load_missing<'m>(
        &self,
        models: impl Iterator<Item = &'m ModelManifest>,
        folders: &[(&Path, &ModelManifest)],
        artifacts: &Artifacts,
    ) {
        for manifest in models {
            let encoders = &manifest.fingerprint.encoders;
            if !self.is_together(&manifest.id) || !self.is_due(encoders) {
                continue;
            }
            let same = folders.iter().filter(|(_, own)| own.fingerprint.encoders == *encoders);
            let folder = same.map(|(folder, _)| *folder).find(|folder| folder.join("tokenizer").exists());
            let found = load(artifacts, manifest, folder).await.unwrap_or_else(|error| {
                let error = format!("{error:#}");
                warn!(model = %manifest.id, error, "jobs of this model are rendered one by one: its tokenizers cannot be loaded");
                None
            });
            self.keep(encoders, found);
        }
    }
}

async fn load(
    artifacts: &Artifacts,
    manifest: &ModelManifest,
    folder: Option<&Path>,
) -> anyhow::Result<Option<PromptReader>> {
    let family = family(manifest);
    if let Some(folder) = folder.map(Path::to_path_buf) {
        let load = move || PromptReader::load(family, &Files::of_folder(&folder));
        return Ok(Some(tokio::task::spawn_blocking(load).await.context("load the tokenizers")??));
    }
    let key = keys::tokenizers(&manifest.fingerprint.encoders);
    let size = match artifacts.size(&key).await {
        Err(error) if error.is_missing() => return Ok(None),
        size => size?,
    };
    anyhow::ensure!(size <= BUNDLE_BYTES_MAX, "{key} is too large to contain tokenizers");
    let bytes = artifacts.get(&key).await?;
    let load = move || PromptReader::load(family, &Bundle::from_json(&bytes)?.into_files());
    Ok(Some(tokio::task::spawn_blocking(load).await.context("load the tokenizers")?.context(key)?))
}

/// Tokens that each encoder reads, without the one that summarises the prompt as one vector.
fn read(reader: &PromptReader, text: &str, manifest: &ModelManifest) -> Option<Vec<u64>> {
    match reader.read(text) {
        Ok(readings) => {
            let attended = readings.iter().filter(|reading| reading.encoder != Encoder::Clip);
            Some(attended.map(|reading| reading.tokens.min(reading.tokens_max) as u64).collect())
        }
        Err(error) => {
            warn!(model = %manifest.id, %error, "a job is rendered alone: its prompt's tokens cannot be counted");
            None
        }
    }
}

fn family(manifest: &ModelManifest) -> Family {
    match manifest.family {
        ModelFamily::V1 => Family::V1,
        ModelFamily::V1_5 => Family::V1_5,
    }
}
