//! Which files of a component's folder hold its weights, and how they are mapped.
//!
//! The rule: an index takes precedence, then the standard name (`diffusion_pytorch_model.safetensors`, `model.safetensors`), then
//! the only set of safetensors files in the folder. Several candidate sets are an error, never a guess.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::{Advice, Mmap, UncheckedAdvice};
use serde::Deserialize;

use crate::runtime::error::{Error, Result};

/// File stems under which diffusers and transformers save.
const STEMS: [&str; 2] = ["diffusion_pytorch_model", "model"];

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The files of a folder that hold its weights, in the order of their names.
pub(super) fn find(dir: &Path) -> Result<Vec<PathBuf>> {
    let read = |source| Error::Read { path: dir.to_owned(), source };
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(dir).map_err(read)? {
        names.insert(entry.map_err(read)?.file_name().to_string_lossy().into_owned());
    }
    for stem in STEMS {
        let index = format!("{stem}.safetensors.index.json");
        if names.contains(&index) {
            return from_index(dir, &dir.join(index));
        }
        let single = format!("{stem}.safetensors");
        if names.contains(&single) {
            return Ok(vec![dir.join(single)]);
        }
    }
    if let Some(index) = only(dir, names.iter().filter(|name| name.ends_with(".safetensors.index.json")))? {
        return from_index(dir, &dir.join(index));
    }
    let all: Vec<&String> = names.iter().filter(|name| name.ends_with(".safetensors")).collect();
    if !all.is_empty() && all.iter().all(|name| name.contains("-of-")) {
        return Ok(all.into_iter().map(|name| dir.join(name)).collect());
    }
    match only(dir, all.into_iter())? {
        Some(name) => Ok(vec![dir.join(name)]),
        None => Err(Error::Config {
            path: dir.to_owned(),
            reason:
                "holds no .safetensors file; save the checkpoint with `save_pretrained(..., safe_serialization=True)`"
                    .to_owned(),
        }),
    }
}

fn only<'n>(dir: &Path, mut names: impl Iterator<Item = &'n String>) -> Result<Option<&'n String>> {
    let first = names.next();
    match names.next() {
        None => Ok(first),
        Some(second) => Err(Error::Config {
            path: dir.to_owned(),
            reason: format!("holds several sets of weights, for example {second}; keep one"),
        }),
    }
}

fn from_index(dir: &Path, index_path: &Path) -> Result<Vec<PathBuf>> {
    let text =
        std::fs::read_to_string(index_path).map_err(|source| Error::Read { path: index_path.to_owned(), source })?;
    let broken = |reason: String| Error::Config { path: index_path.to_owned(), reason };
    let index: Index = serde_json::from_str(&text).map_err(|error| broken(format!("not an index: {error}")))?;
    let files: BTreeSet<String> = index.weight_map.into_values().collect();
    if let Some(outside) =
        files.iter().find(|name| Path::new(name).file_name().is_none_or(|file| file != name.as_str()))
    {
        return Err(broken(format!("names `{outside}`, which is not a file of this folder")));
    }
    if let Some(absent) = files.iter().find(|name| !dir.join(name).is_file()) {
        return Err(broken(format!("names `{absent}`, which is not there; download the checkpoint again")));
    }
    Ok(files.into_iter().map(|name| dir.join(name)).collect())
}

/// Opens a file and maps it for reading.
///
/// # Errors
/// [`Error::Read`].
pub fn map(path: &Path) -> Result<(File, Mmap)> {
    let read = |source| Error::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(read)?;
    // SAFETY: the map is private to this process and only read. Somebody who truncates a checkpoint while it is being
    // loaded kills the process, as with every program that maps files; copying first would cost the model's size.
    #[expect(unsafe_code, reason = "mapping is what keeps the memory of a load at the size of the model")]
    let map = unsafe { Mmap::map(&file).map_err(read)? };
    Ok((file, map))
}

/// Starts reading a range, so that copying it does not wait for the disk page by page.
pub(super) fn read_ahead(map: &Mmap, offset: usize, length: usize) {
    if let Err(error) = map.advise_range(Advice::WillNeed, offset, length) {
        tracing::debug!(%error, "weights are not read ahead");
    }
}

/// Releases the pages of a range, so that copied data does not occupy memory twice. They are read again if needed.
pub(super) fn forget_pages(map: &Mmap, offset: usize, length: usize) {
    // SAFETY: a read-only map of a file has the same content after its pages are dropped.
    #[expect(unsafe_code, reason = "the only call that returns pages of a map early")]
    let dropped = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, offset, length) };
    if let Err(error) = dropped {
        tracing::debug!(%error, "pages of a loaded tensor stay in memory");
    }
}
