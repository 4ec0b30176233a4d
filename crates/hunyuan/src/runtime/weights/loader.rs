//! Builds networks from weights, and lists the tensors that a network needs.
//!
//! The rule: a network is built by one function of a [`Loader`]. Run *dry*, it only notes each key with its shape; the
//! notes are compared with the files' headers, and one error lists all differences. Only then does a second, real run
//! read tensors. So nothing is read from a checkpoint that does not fit, and no tensor that no network requested.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::rc::Rc;

use tch::{Device, Kind, Tensor};

use super::matrix::{Beside, Matrix, Storage, quantise};
use super::{Placements, RowRange, Weights};
use crate::runtime::error::{Error, InOp, Result};

/// The keys and shapes that a network needs, and the prefixes that it leaves unread on purpose.
#[derive(Debug, Default, Clone)]
pub struct KeyTable {
    tensors: BTreeMap<String, Vec<i64>>,
    ignored: BTreeSet<String>,
    /// Keys of matrices that a storage format may shrink.
    compact: BTreeSet<String>,
}

impl KeyTable {
    /// Every required key with its shape, in the order of the keys.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &[i64])> {
        self.tensors.iter().map(|(key, shape)| (key.as_str(), shape.as_slice()))
    }

    /// Number of values in all required tensors.
    #[must_use]
    pub fn parameters(&self) -> i64 {
        let values = |shape: &Vec<i64>| shape.iter().fold(1_i64, |product, size| product.saturating_mul(*size));
        self.tensors.values().map(values).fold(0, i64::saturating_add)
    }

    /// Bytes of all required tensors when they are loaded; the scales of matrices in FP8 are too small to count.
    #[must_use]
    pub fn bytes(&self, kind: Kind, storage: Storage) -> u64 {
        let of = |(key, shape): (&String, &Vec<i64>)| {
            let values = shape.iter().fold(1_u64, |all, size| all.saturating_mul(u64::try_from(*size).unwrap_or(0)));
            let small = storage == Storage::Fp8 && self.compact.contains(key);
            values.saturating_mul(if small { 1 } else { kind.elt_size_in_bytes() as u64 })
        };
        self.tensors.iter().map(of).fold(0, u64::saturating_add)
    }

    /// Whether the network reads this key.
    #[must_use]
    pub fn uses(&self, key: &str) -> bool {
        self.tensors.contains_key(key)
    }

    /// Whether this key is known and deliberately left unread.
    #[must_use]
    pub(crate) fn ignores(&self, key: &str) -> bool {
        let under =
            |prefix: &String| key.strip_prefix(prefix.as_str()).is_some_and(|r| r.is_empty() || r.starts_with('.'));
        self.ignored.iter().any(under)
    }
}

/// Reads the tensors under one prefix, or only records which ones are needed.
#[derive(Clone)]
pub struct Loader<'w> {
    source: Source<'w>,
    prefix: String,
    device: Device,
    kind: Kind,
    storage: Storage,
    /// Whether matrices here are stored as `storage` says.
    compact: bool,
}

#[derive(Clone)]
enum Source<'w> {
    Dry(Rc<RefCell<KeyTable>>),
    Files(&'w Weights, Rc<RefCell<Placements>>),
}

impl Loader<'_> {
    /// The loader of a child: `pp("blocks").pp(3)` reads keys that begin with `blocks.3.`.
    #[must_use]
    pub(crate) fn pp(&self, name: impl Display) -> Self {
        Self { prefix: format!("{}{name}.", self.prefix), ..self.clone() }
    }

    /// The loader whose keys begin with exactly this text, regardless of this loader's prefix.
    #[must_use]
    pub fn at(&self, prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..self.clone() }
    }

    /// The tensor `name` of this shape, in the loader's dtype and on its device.
    ///
    /// # Errors
    /// When the weights cannot be converted or the device has no memory left.
    pub fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
        let key = self.key(name);
        self.gather(&key, &[(key.clone(), shape)], shape)
    }

    /// The tensors `{names}.{leaf}` laid one after another along their first axis, copied straight into one tensor.
    ///
    /// # Errors
    /// As [`Loader::tensor`]; also when the shapes differ beyond the first axis.
    pub fn fused(&self, names: &[&str], leaf: &str, shapes: &[&[i64]]) -> Result<Tensor> {
        self.joined(names, leaf, shapes, &|name, parts, total| self.gather(name, parts, total))
    }

    fn joined(&self, names: &[&str], leaf: &str, shapes: &[&[i64]], gather: Gather) -> Result<Tensor> {
        let Some((first, rest)) = shapes.split_first() else {
            return Err(Error::input("shapes", "there is nothing to join"));
        };
        if names.len() != shapes.len() || first.is_empty() || rest.iter().any(|s| s.is_empty() || s[1..] != first[1..])
        {
            return Err(Error::input("shapes", format!("{shapes:?} of {names:?} cannot be joined")));
        }
        let mut total = first.to_vec();
        total[0] = shapes.iter().map(|shape| shape[0]).sum();
        let key = |name: &str| self.key(&if name.is_empty() { leaf.to_owned() } else { format!("{name}.{leaf}") });
        let parts: Vec<_> = names.iter().zip(shapes).map(|(name, &shape)| (key(name), shape)).collect();
        gather(&key(&names.join("+")), &parts, &total)
    }

    /// The same place, where matrices are stored in the format that was chosen for the load: the blocks, which hold nearly all
    /// weights.
    #[must_use]
    pub(crate) fn compact(&self) -> Self {
        Self { compact: true, ..self.clone() }
    }

    /// The matrices `{names}.weight` laid one below another; one without a name is this prefix's own.
    pub(crate) fn matrix(&self, names: &[&str], shapes: &[[i64; 2]]) -> Result<Matrix> {
        let shapes: Vec<&[i64]> = shapes.iter().map(<[i64; 2]>::as_slice).collect();
        let beside = Beside::new(self.kind);
        let (stored, scales) = if self.compact && self.storage == Storage::Fp8 {
            let scales = RefCell::new(None);
            let stored = self.joined(names, "weight", &shapes, &|name, parts, total| {
                let (stored, made) = self.quantised(name, parts, total, &beside)?;
                scales.replace(made);
                Ok(stored)
            })?;
            (stored, scales.take())
        } else {
            let stored = self.joined(names, "weight", &shapes, &|name, parts, total| {
                let stored = self.gather(name, parts, total)?;
                self.note_beside(name, &beside);
                if let (Source::Dry(table), true) = (&self.source, self.compact) {
                    table.borrow_mut().compact.extend(parts.iter().map(|(key, _)| key.clone()));
                }
                Ok(stored)
            })?;
            (stored, None)
        };
        Ok(Matrix::new(stored, scales, beside))
    }

    /// Names keys under this prefix that the checkpoint may hold and the network leaves unread: one key, or all under it.
    pub fn ignore(&self, name: &str) {
        if let Source::Dry(table) = &self.source {
            table.borrow_mut().ignored.insert(self.key(name));
        }
    }

    /// Where tensors go.
    #[must_use]
    pub fn device(&self) -> Device {
        self.device
    }

    /// What tensors become.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// As [`Loader::gather`], in FP8; returns the scales of all rows as well.
    fn quantised(
        &self,
        name: &str,
        parts: &[(String, &[i64])],
        total: &[i64],
        beside: &Beside,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let Source::Files(weights, placements) = &self.source else {
            return Ok((self.gather(name, parts, total)?, None));
        };
        let _no_grad = tch::no_grad_guard();
        let whole = Tensor::f_empty(total, (Kind::Float8e4m3fn, self.device)).in_op(name)?;
        let scales = Tensor::f_empty([total[0], 1], (Kind::Float, self.device)).in_op(name)?;
        let (mut row, mut rows) = (0, Vec::new());
        for (key, shape) in parts {
            // First in the format that the model computes with, as everywhere: so FP8 is the only difference.
            let values = Tensor::f_empty(*shape, (self.kind, self.device)).in_op(key)?;
            weights.copy_into(key, &values)?;
            let (stored, scale) = quantise(&values).in_op(key)?;
            whole.f_narrow(0, row, shape[0])?.f_copy_(&stored).in_op(key)?;
            let _ = scales.f_narrow(0, row, shape[0])?.f_fill_(scale).in_op(key)?;
            rows.push(RowRange { key: key.clone(), rows: row..row + shape[0] });
            row += shape[0];
        }
        placements.borrow_mut().add(name, &whole, rows);
        self.note_beside(name, beside);
        Ok((whole, Some(scales)))
    }

    fn note_beside(&self, name: &str, beside: &Beside) {
        if let Source::Files(_, placements) = &self.source {
            placements.borrow_mut().add_beside(name, beside);
        }
    }

    fn gather(&self, name: &str, parts: &[(String, &[i64])], total: &[i64]) -> Result<Tensor> {
        let (weights, placements) = match &self.source {
            Source::Dry(table) => {
                let mut table = table.borrow_mut();
                for (key, shape) in parts {
                    table.tensors.insert(key.clone(), shape.to_vec());
                }
                return Ok(Tensor::new());
            }
            Source::Files(weights, placements) => (weights, placements),
        };
        let _no_grad = tch::no_grad_guard();
        let whole = Tensor::f_empty(total, (self.kind, self.device)).in_op(&parts[0].0)?;
        let (mut row, mut rows) = (0, Vec::new());
        for (key, shape) in parts {
            let place = match shape.first() {
                Some(&rows) => whole.f_narrow(0, row, rows).in_op(key)?,
                None => whole.shallow_clone(),
            };
            weights.copy_into(key, &place)?;
            let next = row + shape.first().copied().unwrap_or(1);
            rows.push(RowRange { key: key.clone(), rows: row..next });
            row = next;
        }
        placements.borrow_mut().add(name, &whole, rows);
        Ok(whole)
    }
}

/// Reads the named parts into one tensor of a total shape, and notes them under a name.
type Gather<'g> = &'g dyn Fn(&str, &[(String, &[i64])], &[i64]) -> Result<Tensor>;

/// The keys and shapes that `build` needs, without reading weights or allocating memory.
///
/// # Errors
/// Those of `build`, for example a configuration that describes no network.
pub fn key_table<N>(build: impl Fn(&Loader) -> Result<N>) -> Result<KeyTable> {
    let table = Rc::new(RefCell::new(KeyTable::default()));
    let dry = Loader {
        source: Source::Dry(Rc::clone(&table)),
        prefix: String::new(),
        device: Device::Cpu,
        kind: Kind::Float,
        storage: Storage::Model,
        compact: false,
    };
    build(&dry)?;
    Ok(table.take())
}

/// Builds a network from weights that are known to fit it.
///
/// # Errors
/// [`Error::Checkpoint`] with every missing, unexpected and misshaped key, before anything is read; afterwards those of
/// reading, converting and of the device's memory.
pub fn load<N>(weights: &Weights, device: Device, kind: Kind, build: impl Fn(&Loader) -> Result<N>) -> Result<N> {
    load_placed(weights, device, (kind, Storage::Model), build).map(|(network, _)| network)
}

/// As [`load`], with matrices of blocks in a storage format; also returns where the weights came from and where they are now.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_placed<N>(
    weights: &Weights,
    device: Device,
    (kind, storage): (Kind, Storage),
    build: impl Fn(&Loader) -> Result<N>,
) -> Result<(N, Placements)> {
    let mismatch = weights.compare(&key_table(&build)?);
    if !mismatch.is_empty() {
        return Err(Error::Checkpoint(vec![mismatch]));
    }
    let placements = Rc::new(RefCell::new(Placements::default()));
    let source = Source::Files(weights, Rc::clone(&placements));
    let network = build(&Loader { source, prefix: String::new(), device, kind, storage, compact: false })?;
    let placements = placements.take();
    Ok((network, placements))
}
