//! Finds, maps and lists the safetensors files of a component; tensors are read through a [`Loader`].
//!
//! The rule: mapping costs no memory, a tensor is copied once from the file into its final place, device and dtype, and
//! the pages it was read from are dropped again. So a load never needs much more than what stays resident. On a CPU libtorch's
//! threads copy out of the map; for a GPU [`staged`] reads the file.

mod files;
mod hashes;
mod loader;
mod placements;
mod staged;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use tch::{Device, Kind, Tensor};

pub use self::files::map;
pub use self::hashes::Hashes;
pub(crate) use self::loader::load_placed;
pub use self::loader::{KeyTable, Loader, key_table, load};
pub use self::placements::{Placements, RowRange};
use self::staged::Part;
use crate::runtime::error::{CheckpointMismatch, Error, InOp, Result};

/// Bytes of a file that one copy moves. Larger needs more memory beside the destination, smaller more calls.
const COPY_CHUNK_BYTES: usize = 32 << 20;

/// Bytes before the header of a safetensors file: its length as a 64-bit number.
const LENGTH_PREFIX_BYTES: usize = 8;

/// Where the values of a network's weights come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightSource {
    /// The safetensors files of the component's folder.
    #[default]
    Files,
    /// Random, created on the device: for measurements, since neither speed nor memory depends on the values. Needs no file except the
    /// configurations. The same seed gives the same weights.
    Random,
}

impl WeightSource {
    /// The weights of a component's folder.
    ///
    /// # Errors
    /// As [`Weights::open`].
    pub fn open(self, component_dir: &Path) -> Result<Weights> {
        match self {
            Self::Files => Weights::open(component_dir),
            Self::Random => Ok(Weights::none(component_dir, self)),
        }
    }
}

/// The tensors of one component's folder, not read yet.
#[derive(Debug)]
pub struct Weights {
    dir: PathBuf,
    source: WeightSource,
    files: Vec<MappedFile>,
    entries: BTreeMap<String, Entry>,
    buffers: staged::Buffers,
}

#[derive(Debug)]
struct MappedFile {
    path: PathBuf,
    file: File,
    map: Mmap,
}

/// The location of a tensor: file, element type, shape, and its byte range from the start of the file.
#[derive(Debug, Clone)]
struct Entry {
    file: usize,
    dtype: Dtype,
    shape: Vec<i64>,
    start: usize,
    end: usize,
}

impl Weights {
    /// Maps every safetensors file of a component's folder (one file, or shards with or without an index).
    ///
    /// # Errors
    /// When the folder holds no weights, a file cannot be mapped, or a file is not safetensors.
    pub fn open(component_dir: &Path) -> Result<Self> {
        let mut weights = Self::none(component_dir, WeightSource::Files);
        for path in files::find(component_dir)? {
            weights.add(path)?;
        }
        Ok(weights)
    }

    fn none(component_dir: &Path, source: WeightSource) -> Self {
        let (files, entries, buffers) = (Vec::new(), BTreeMap::new(), staged::Buffers::default());
        Self { dir: component_dir.to_owned(), source, files, entries, buffers }
    }

    fn add(&mut self, path: PathBuf) -> Result<()> {
        let (file, map) = files::map(&path)?;
        // Says what is wrong and what to do: a pointer of git-lfs, a web page, a download that was cut off.
        formats::Header::parse(&map, map.len() as u64)
            .map_err(|refused| Error::Config { path: path.clone(), reason: refused.0 })?;
        let broken = |error| Error::Config { path: path.clone(), reason: format!("not a safetensors file: {error}") };
        let (header_bytes, metadata) = SafeTensors::read_metadata(&map).map_err(broken)?;
        let base = LENGTH_PREFIX_BYTES + header_bytes;
        for (key, info) in metadata.tensors() {
            let shape = info.shape.iter().map(|&size| i64::try_from(size).unwrap_or(i64::MAX)).collect();
            let (start, end) = (base + info.data_offsets.0, base + info.data_offsets.1);
            let entry = Entry { file: self.files.len(), dtype: info.dtype, shape, start, end };
            if self.entries.insert(key.clone(), entry).is_some() {
                let reason =
                    format!("holds `{key}`, which another file of this folder holds as well; remove one of them");
                return Err(Error::Config { path, reason });
            }
        }
        self.files.push(MappedFile { path, file, map });
        Ok(())
    }

    /// The component's name, which is its folder's: `transformer`, `vae`, …
    #[must_use]
    pub fn component(&self) -> String {
        self.dir.file_name().map_or_else(|| self.dir.display().to_string(), |name| name.to_string_lossy().into_owned())
    }

    /// The files that hold these weights, in the order of their names.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }

    /// Every key with its shape, in the order of the keys.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, &[i64])> {
        self.entries.iter().map(|(key, entry)| (key.as_str(), entry.shape.as_slice()))
    }

    /// The first of these key prefixes under which `key` exists; the first one where none does, so that the error which
    /// follows names the released keys.
    #[must_use]
    pub(crate) fn prefix_of<'p>(&self, prefixes: &[&'p str], key: &str) -> &'p str {
        let found = prefixes.iter().find(|prefix| self.entries.contains_key(&format!("{prefix}{key}")));
        found.or(prefixes.first()).copied().unwrap_or_default()
    }

    /// blake3 over the names and contents of the files, as hexadecimal text.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn fingerprint(&self) -> Result<String> {
        fingerprint(self.paths(), &mut Hashes::fresh())
    }

    /// What differs between these files and the keys that a network needs.
    #[must_use]
    pub fn compare(&self, table: &KeyTable) -> CheckpointMismatch {
        let mut found = CheckpointMismatch { component: self.component(), ..CheckpointMismatch::default() };
        if self.source == WeightSource::Random {
            return found;
        }
        for (key, wanted) in table.tensors() {
            match self.entries.get(key) {
                None => found.missing.push(key.to_owned()),
                Some(entry) if entry.shape != wanted => {
                    found.misshaped.push((key.to_owned(), wanted.to_vec(), entry.shape.clone()));
                }
                Some(_) => {}
            }
        }
        let unknown = self.entries.keys().filter(|key| !table.uses(key) && !table.ignores(key));
        found.unexpected = unknown.cloned().collect();
        found
    }

    /// Copies `key` into `destination`, which already has its shape, and converts it to the destination's dtype.
    pub(crate) fn copy_into(&self, key: &str, destination: &Tensor) -> Result<()> {
        if self.source == WeightSource::Random {
            return draw(key, destination).in_op(key);
        }
        let entry = self.entries.get(key).ok_or_else(|| {
            Error::Checkpoint(vec![CheckpointMismatch {
                component: self.component(),
                missing: vec![key.to_owned()],
                ..CheckpointMismatch::default()
            }])
        })?;
        let file = &self.files[entry.file];
        let kind = float_kind(entry.dtype).ok_or_else(|| Error::Config {
            path: file.path.clone(),
            reason: format!("`{key}` is stored as {:?}; only F32, F16, BF16 and F64 weights can be used", entry.dtype),
        })?;
        if staged::is_for(destination.device()) && entry.row_bytes() <= staged::PART_BYTES {
            let parts = entry.parts(destination, staged::PART_BYTES).in_op(key)?;
            return self.buffers.copy((&file.path, &file.file), kind, parts).in_op(key);
        }
        files::read_ahead(&file.map, entry.start, entry.end - entry.start);
        for mut part in entry.parts(destination, COPY_CHUNK_BYTES).in_op(key)? {
            let offset = usize::try_from(part.offset).unwrap_or(usize::MAX);
            copy_bytes(&file.map[offset..offset + part.length], &part.shape, kind, &mut part.target).in_op(key)?;
            files::forget_pages(&file.map, offset, part.length);
        }
        Ok(())
    }
}

impl Entry {
    fn rows(&self) -> i64 {
        self.shape.first().copied().unwrap_or(1).max(1)
    }

    fn row_bytes(&self) -> usize {
        ((self.end - self.start) / usize::try_from(self.rows()).unwrap_or(1)).max(1)
    }

    /// Whole rows of at most `bytes` (one row where a single one has more), with their places in `destination`.
    fn parts(&self, destination: &Tensor, bytes: usize) -> Result<Vec<Part>> {
        let (rows, row_bytes) = (self.rows(), self.row_bytes());
        let at_once = i64::try_from(bytes / row_bytes).unwrap_or(1).max(1);
        let mut parts = Vec::new();
        for first in (0..rows).step_by(usize::try_from(at_once).unwrap_or(1)) {
            let count = at_once.min(rows - first);
            let offset = self.start + usize::try_from(first).unwrap_or(0) * row_bytes;
            let length = usize::try_from(count).unwrap_or(0) * row_bytes;
            let (mut target, mut shape) = (destination.shallow_clone(), self.shape.clone());
            if let Some(leading) = shape.first_mut() {
                *leading = count;
                target = destination.f_narrow(0, first, count)?;
            }
            parts.push(Part { offset: offset as u64, length, shape, target });
        }
        Ok(parts)
    }
}

/// Fills a weight so that activations keep their scale: matrices and kernels with the variance of one over their inputs, norms with
/// one, biases with zero.
fn draw(key: &str, destination: &Tensor) -> Result<()> {
    let (mut target, size) = (destination.shallow_clone(), destination.size());
    let _ = if size.len() < 2 {
        target.f_fill_(if key.ends_with("bias") { 0.0 } else { 1.0 })?
    } else {
        let inputs: i64 = size[1..].iter().product();
        target.f_normal_(0.0, 1.0 / (inputs.max(1) as f64).sqrt())?
    };
    Ok(())
}

/// Copies raw elements out of a map into a tensor of the same shape, any device and dtype.
fn copy_bytes(bytes: &[u8], shape: &[i64], kind: Kind, target: &mut Tensor) -> Result<()> {
    let aligned = bytes.as_ptr().align_offset(kind.elt_size_in_bytes()) == 0;
    let source = if aligned {
        // SAFETY: the map is only read, holds exactly `shape` elements (checked against the header), is aligned, and
        // outlives `source`, which is dropped at the end of this function.
        #[expect(unsafe_code, reason = "a view into the map saves a copy of every weight")]
        unsafe {
            Tensor::f_from_blob(bytes.as_ptr(), shape, &[], kind, Device::Cpu)?
        }
    } else {
        Tensor::f_from_data_size(bytes, shape, kind)?
    };
    Ok(target.f_copy_(&source)?)
}

/// blake3 over the names and contents of files, as hexadecimal text. The order given does not matter.
///
/// # Errors
/// When a file cannot be read.
pub fn fingerprint<'p>(paths: impl IntoIterator<Item = &'p Path>, hashes: &mut Hashes) -> Result<String> {
    let mut sorted: Vec<&Path> = paths.into_iter().collect();
    sorted.sort();
    let mut total = blake3::Hasher::new();
    for path in sorted {
        let content = hashes.of(path)?;
        // The folder's name distinguishes `text_encoder/config.json` from `text_encoder_2/config.json`.
        for part in [path.parent().and_then(Path::file_name), path.file_name()].into_iter().flatten() {
            total.update(part.as_encoded_bytes());
            total.update(b"/");
        }
        total.update(content.as_bytes());
    }
    Ok(total.finalize().to_hex().to_string())
}

/// The element type in libtorch, for those that weights may have.
fn float_kind(dtype: Dtype) -> Option<Kind> {
    match dtype {
        Dtype::F32 => Some(Kind::Float),
        Dtype::F16 => Some(Kind::Half),
        Dtype::BF16 => Some(Kind::BFloat16),
        Dtype::F64 => Some(Kind::Double),
        _ => None,
    }
}
