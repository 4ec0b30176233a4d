//! Adapters on their way from the object store to the model: fetched once, checked by their hash, kept by bytes.
//!
//! The folder holds one file per adapter, named by its hash, so workers of one machine share it. A file appears under its name only
//! when it is whole. The least recently used ones are removed; a file that is still mapped lives on until it is not.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use domain::{FailureAction, LoraUse};
use futures::StreamExt;
use tokio::io::AsyncWriteExt;
use tracing::{info, warn};

use super::Fleet;
use super::assignment::{Assignment, Ended};
use super::heart::HeldLease;
use crate::engine::LoraFile;

/// Below the scratch folder.
const FOLDER: &str = "fleet-loras";

/// The adapters in the model's weights, as this worker reported them last.
#[derive(Debug, Default)]
pub(crate) struct Merged(Mutex<String>);

impl Merged {
    /// As [`domain::VideoRequest::adapters_key`] writes them.
    pub(super) fn key(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether they are others than before.
    fn replace(&self, key: &str) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let differs = *known != key;
        key.clone_into(&mut known);
        differs
    }
}

/// Reports the adapters that are being merged, and the files on this machine, unless nothing has changed. A lost report costs a swap:
/// jobs are correct wherever they go.
pub(super) async fn report(fleet: &Fleet, key: String, files_changed: bool) {
    if !fleet.merged.replace(&key) && !files_changed {
        return;
    }
    let cached = match cached(&fleet.scratch.join(FOLDER)) {
        Ok(cached) => cached,
        Err(error) => {
            warn!(%error, "the kept adapters cannot be listed");
            Vec::new()
        }
    };
    if let Err(error) = fleet.store.report_adapters(fleet.worker_id, &key, &cached).await {
        warn!(%error, "merged adapters not reported");
    }
}

/// Fingerprints of the files in the folder, sorted.
fn cached(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut found = Vec::new();
    if !folder.exists() {
        return Ok(found);
    }
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| is_hash(stem));
        if let (Some(stem), Some("safetensors")) = (stem, path.extension().and_then(|ext| ext.to_str())) {
            found.push(stem.to_owned());
        }
    }
    found.sort();
    Ok(found)
}

/// The files of a job's adapters, fetched where this machine lacks them.
///
/// # Errors
/// [`Ended`]: interrupted, or failed with the reason for the user.
pub(super) async fn fetch(fleet: &Fleet, job: &Assignment, lease: &HeldLease) -> Result<Vec<LoraFile>, Ended> {
    let wanted: Vec<&LoraUse> = job.job.request.loras.iter().filter(|lora| lora.scale != 0.0).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let folder = fleet.scratch.join(FOLDER);
    std::fs::create_dir_all(&folder).map_err(|error| disk(&error))?;
    let mut files = Vec::with_capacity(wanted.len());
    for lora in wanted {
        let fingerprint = lora.fingerprint.as_deref().filter(|text| is_hash(text));
        let Some(fingerprint) = fingerprint else {
            let reason = format!("the adapter '{}' has no fingerprint; submit the request again", lora.name);
            return Err(Ended::failed("invalid_lora", reason, FailureAction::Fail));
        };
        let path = folder.join(format!("{fingerprint}.safetensors"));
        // Marks it as used, so that it is not the next to go.
        let known = std::fs::File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        if known.is_err() {
            download(fleet, job, lease, lora, &path).await?;
        }
        files.push(LoraFile { path, scale: lora.scale });
    }
    let keep: Vec<&Path> = files.iter().map(|file| file.path.as_path()).collect();
    if let Err(error) = evict(&folder, fleet.lora_cache_bytes, &keep) {
        warn!(%error, "old adapters not removed");
    }
    Ok(files)
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Streams an adapter into a file beside its place, checks it, and puts it there.
async fn download(
    fleet: &Fleet,
    job: &Assignment,
    lease: &HeldLease,
    lora: &LoraUse,
    path: &Path,
) -> Result<(), Ended> {
    let fingerprint = lora.fingerprint.as_deref().unwrap_or_default();
    let key = artifacts::keys::lora(&fleet.manifest.id, fingerprint);
    let failed = |error: artifacts::ArtifactError| {
        if error.is_missing() {
            let reason = format!("the adapter '{}' was deleted; submit the request without it", lora.name);
            return Ended::failed("lora_deleted", reason, FailureAction::Fail);
        }
        Ended::failed("storage_failed", format!("the adapter could not be read: {error}"), FailureAction::Retry)
    };
    let bytes = fleet.artifacts.size(&key).await.map_err(failed)?;
    let mut parts = fleet.artifacts.get_range(&key, 0..bytes).await.map_err(failed)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let partial = tempfile::NamedTempFile::new_in(folder).map_err(|error| disk(&error))?;
    let mut file = tokio::fs::File::from_std(partial.reopen().map_err(|error| disk(&error))?);
    let mut hasher = blake3::Hasher::new();
    while let Some(part) = parts.next().await {
        if lease.interrupted().is_some() {
            return Err(Ended::Interrupted { checkpoint: None });
        }
        let part = part.map_err(failed)?;
        hasher.update(&part);
        file.write_all(&part).await.map_err(|error| disk(&error))?;
    }
    // The last write runs in the background, and only a flush reports its error.
    file.flush().await.map_err(|error| disk(&error))?;
    file.sync_all().await.map_err(|error| disk(&error))?;
    if hasher.finalize().to_hex().as_str() != fingerprint {
        let reason = format!("the stored file of the adapter '{}' is damaged; upload it again", lora.name);
        return Err(Ended::failed("invalid_lora", reason, FailureAction::Fail));
    }
    partial.persist(path).map_err(|error| disk(&error.error))?;
    info!(job.id = %job.job.id, lora = lora.name, bytes, "adapter fetched");
    Ok(())
}

/// Removes the least recently used adapters until the others fit; those in `keep` stay.
fn evict(folder: &Path, bytes_max: u64, keep: &[&Path]) -> std::io::Result<()> {
    let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            let about = entry.metadata()?;
            files.push((about.modified()?, about.len(), path));
        }
    }
    files.sort();
    let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, path) in files {
        if total <= bytes_max {
            break;
        }
        if !keep.contains(&path.as_path()) {
            std::fs::remove_file(&path)?;
            total -= bytes;
        }
    }
    Ok(())
}

fn disk(error: &std::io::Error) -> Ended {
    Ended::failed("worker_disk", format!("the worker has no room for an adapter: {error}"), FailureAction::Retry)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_whole_adapters_count_as_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = ("1".repeat(64), "2".repeat(64));
        for name in [format!("{two}.safetensors"), format!("{one}.safetensors"), "partial.tmp".into(), one.clone()] {
            std::fs::write(folder.path().join(name), [0]).unwrap();
        }
        assert_eq!(cached(folder.path()).unwrap(), [one, two]);
        assert!(cached(&folder.path().join("missing")).unwrap().is_empty());
    }

    #[test]
    fn the_least_recently_used_go_first_and_those_in_use_stay() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str, age_s: u64| {
            let path = folder.path().join(format!("{name}.safetensors"));
            std::fs::write(&path, [0; 10]).unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age_s)).unwrap();
            path
        };
        let (oldest, older, newest) = (place("a", 300), place("b", 200), place("c", 100));
        evict(folder.path(), 30, &[]).unwrap();
        assert!(oldest.exists());
        evict(folder.path(), 20, &[&oldest]).unwrap();
        assert!(oldest.exists() && !older.exists() && newest.exists());
        evict(folder.path(), 0, &[]).unwrap();
        assert!(!oldest.exists() && !newest.exists());
    }
}
