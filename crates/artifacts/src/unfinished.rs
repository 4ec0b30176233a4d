//! The remains of interrupted writes in a folder: `<object>#<number>`, beside the name that the whole object would have
//! had.
//!
//! object_store hides such files, since they are not objects. A worker that was killed cannot remove its own, so the orphan
//! sweep must see them. (In S3, the bucket's lifecycle rules remove the parts of an upload that was never completed.)

use std::io;
use std::path::{Component, Path, PathBuf};

use crate::{ArtifactError, ObjectInfo};

/// Whether a key names such a file.
pub(crate) fn is_one(key: &str) -> bool {
    let number = key.rsplit_once('#').map_or("", |(_, number)| number);
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Lists all of them in a folder.
pub(crate) async fn list(folder: PathBuf) -> Result<Vec<ObjectInfo>, ArtifactError> {
    let named = folder.clone();
    beside(&named, move || walk(&folder)).await
}

/// Removes one, and then its parent folders as far as they are empty. Removing one that does not exist succeeds.
pub(crate) async fn remove(folder: &Path, key: &str) -> Result<(), ArtifactError> {
    let (root, file) = (folder.to_owned(), folder.join(key));
    let inside = Path::new(key).components().all(|part| matches!(part, Component::Normal(_)));
    beside(folder, move || {
        if !inside {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Stops at the first folder that is not empty.
        let parents = file.ancestors().skip(1).take_while(|parent| *parent != root);
        let _ = parents.map(std::fs::remove_dir).find(Result::is_err);
        Ok(())
    })
    .await
}

/// Runs blocking disk work outside the async threads.
async fn beside<T: Send + 'static>(
    folder: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, ArtifactError> {
    let local = |source| ArtifactError::Local { path: folder.display().to_string(), source };
    tokio::task::spawn_blocking(work).await.map_err(|panic| local(io::Error::other(panic)))?.map_err(local)
}

fn walk(root: &Path) -> io::Result<Vec<ObjectInfo>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let Some(entries) = unless_gone(std::fs::read_dir(&folder))? else { continue };
        for entry in entries {
            let path = entry?.path();
            let Some(about) = unless_gone(std::fs::symlink_metadata(&path))? else { continue };
            let key = path.strip_prefix(root).ok().and_then(Path::to_str);
            match key {
                _ if about.is_dir() => folders.push(path),
                Some(key) if is_one(key) => found.push(ObjectInfo {
                    key: key.to_owned(),
                    size: about.len(),
                    written_at: about.modified()?.into(),
                }),
                _ => {}
            }
        }
    }
    Ok(found)
}

/// Treats a file that disappeared since it was listed as absent.
fn unless_gone<T>(looked: io::Result<T>) -> io::Result<Option<T>> {
    match looked {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
