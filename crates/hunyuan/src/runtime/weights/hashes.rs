//! Content hashes of files, remembered by size and time of change.
//!
//! The rule: a remembered hash counts only for the path, the size and the modification time (nanoseconds) at which it was
//! computed. Hashing a released checkpoint reads 41 GB again, which takes longer than loading it from a fast disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::runtime::error::{Error, Result};

/// The file's name in the folder that remembers.
const FILE: &str = ".fingerprints.json";
/// Smaller files are hashed again each time: it takes less than a tenth of a second.
const WORTH_REMEMBERING_BYTES: u64 = 256 << 20;
/// A file that changed this recently may change again without another time of change.
const SETTLED: Duration = Duration::from_secs(2);

/// A hash and what it was computed of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    bytes: u64,
    modified_ns: u64,
    blake3: String,
}

/// Hashes of this process, and those of earlier ones where a folder remembers them.
#[derive(Debug)]
pub struct Hashes {
    file: Option<PathBuf>,
    from_bytes: u64,
    known: BTreeMap<String, Known>,
    changed: bool,
}

impl Hashes {
    /// Remembers nothing: every file is read.
    #[must_use]
    pub fn fresh() -> Self {
        Self { file: None, from_bytes: 0, known: BTreeMap::new(), changed: false }
    }

    /// Hashes that `folder` remembers. What cannot be read there counts as nothing remembered.
    #[must_use]
    pub(crate) fn remembered_in(folder: &Path) -> Self {
        Self::remembered_from(folder, WORTH_REMEMBERING_BYTES)
    }

    fn remembered_from(folder: &Path, from_bytes: u64) -> Self {
        let file = folder.join(FILE);
        let known = std::fs::read(&file).ok().and_then(|text| {
            let read = serde_json::from_slice(&text);
            read.inspect_err(|error| tracing::warn!(file = %file.display(), %error, "remembered hashes ignored")).ok()
        });
        Self { file: Some(file), from_bytes, known: known.unwrap_or_default(), changed: false }
    }

    /// blake3 of a file's content.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(super) fn of(&mut self, path: &Path) -> Result<blake3::Hash> {
        let read = |source| Error::Read { path: path.to_owned(), source };
        let before = State::of(path).map_err(read)?;
        let key = path.canonicalize().map_err(read)?.to_string_lossy().into_owned();
        let same = |known: &&Known| known.bytes == before.bytes && known.modified_ns == before.modified_ns;
        if let Some(hash) = self.known.get(&key).filter(same).and_then(|known| known.blake3.parse().ok()) {
            return Ok(hash);
        }
        let mut content = blake3::Hasher::new();
        // On all cores: hashing a released checkpoint of 41 GB would take one core 20 seconds.
        content.update_mmap_rayon(path).map_err(read)?;
        let hash = content.finalize();
        let settled = State::of(path).is_ok_and(|after| after.bytes == before.bytes && after.is_settled());
        if self.file.is_some() && before.bytes >= self.from_bytes && settled {
            let (bytes, modified_ns) = (before.bytes, before.modified_ns);
            self.known.insert(key, Known { bytes, modified_ns, blake3: hash.to_hex().to_string() });
            self.changed = true;
        }
        Ok(hash)
    }

    /// Writes what is new for later processes. A folder that cannot be written costs them the hashing, so it is only reported.
    pub fn save(&self) {
        let Some(file) = self.file.as_ref().filter(|_| self.changed) else { return };
        if let Err(error) = self.write(file) {
            let reason = error.to_string();
            tracing::info!(
                file = %file.display(), reason,
                "hashes of the weights cannot be remembered, so that every start reads all files; name a folder that can be written"
            );
        }
    }

    /// Whole or not at all, since other workers of this machine may read it.
    fn write(&self, file: &Path) -> std::io::Result<()> {
        let partial = file.with_extension(format!("{}.partial", std::process::id()));
        std::fs::write(&partial, serde_json::to_vec_pretty(&self.known)?)?;
        std::fs::rename(&partial, file)
    }
}

/// What tells a changed file.
struct State {
    bytes: u64,
    modified_ns: u64,
}

impl State {
    fn of(path: &Path) -> std::io::Result<Self> {
        let found = std::fs::metadata(path)?;
        let since = found.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self { bytes: found.len(), modified_ns: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX) })
    }

    fn is_settled(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        now.saturating_sub(Duration::from_nanos(self.modified_ns)) >= SETTLED
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn age(path: &Path, seconds: u64) {
        let time = SystemTime::now() - Duration::from_secs(seconds);
        File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
    }

    #[test]
    fn a_file_is_read_again_only_when_its_size_or_time_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        std::fs::write(&path, b"as it was").unwrap();
        age(&path, 100);
        let mut first = Hashes::remembered_from(folder.path(), 1);
        let hash = first.of(&path).unwrap();
        assert_eq!(hash, blake3::hash(b"as it was"));
        first.save();

        // Other content of the same size under the same time is what a remembered hash cannot see, and shows that it was used.
        let time = std::fs::metadata(&path).unwrap().modified().unwrap();
        std::fs::write(&path, b"is it now").unwrap();
        File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
        assert_eq!(Hashes::remembered_from(folder.path(), 1).of(&path).unwrap(), hash);
        assert_eq!(Hashes::fresh().of(&path).unwrap(), blake3::hash(b"is it now"));

        age(&path, 50);
        assert_eq!(Hashes::remembered_from(folder.path(), 1).of(&path).unwrap(), blake3::hash(b"is it now"));
        std::fs::write(&path, b"longer than it was").unwrap();
        File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
        assert_eq!(Hashes::remembered_from(folder.path(), 1).of(&path).unwrap(), blake3::hash(b"longer than it was"));
    }

    #[test]
    fn small_and_young_files_are_not_remembered_and_a_damaged_memory_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, b"{}").unwrap();
        let remembers = |from_bytes| {
            let mut hashes = Hashes::remembered_from(folder.path(), from_bytes);
            hashes.of(&path).unwrap();
            hashes.save();
            folder.path().join(FILE).exists()
        };
        assert!(!remembers(1), "it changed a moment ago");
        age(&path, 100);
        assert!(!remembers(100), "too small");
        assert!(remembers(1));
        std::fs::write(folder.path().join(FILE), b"{ damaged").unwrap();
        assert_eq!(Hashes::remembered_from(folder.path(), 1).of(&path).unwrap(), blake3::hash(b"{}"));
    }

    #[test]
    fn a_folder_that_cannot_be_written_costs_the_hashing_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        std::fs::write(&path, b"content").unwrap();
        age(&path, 100);
        let mut hashes = Hashes::remembered_from(&folder.path().join("absent"), 1);
        assert_eq!(hashes.of(&path).unwrap(), blake3::hash(b"content"));
        hashes.save();
    }
}
