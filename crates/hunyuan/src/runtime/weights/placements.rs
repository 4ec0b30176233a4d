//! Where each tensor of a checkpoint ended up in a loaded network.
//!
//! Networks fuse tensors (queries, keys and values into one matrix), while adapters name the checkpoint's own keys. The loader
//! notes which rows of which tensor came from which key, so that an adapter can change exactly those rows.

use std::collections::BTreeMap;
use std::ops::Range;

use tch::Tensor;

use super::matrix::Beside;
use crate::runtime::error::{Error, InOp, Result};

/// Rows of a loaded tensor and the checkpoint's key that they were read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowRange {
    /// Key in the checkpoint.
    pub key: String,
    /// Rows along the first axis.
    pub rows: Range<i64>,
}

#[derive(Debug)]
struct Placed {
    tensor: Tensor,
    rows: Vec<RowRange>,
    beside: Option<Beside>,
}

/// See the module. Tensors share memory with the network, unless the network keeps a changed copy of one (as convolutions do).
#[derive(Debug, Default)]
pub struct Placements {
    tensors: BTreeMap<String, Placed>,
    /// Name of the loaded tensor by checkpoint key.
    names: BTreeMap<String, String>,
}

impl Placements {
    pub(super) fn add(&mut self, name: &str, tensor: &Tensor, rows: Vec<RowRange>) {
        for range in &rows {
            self.names.insert(range.key.clone(), name.to_owned());
        }
        self.tensors.insert(name.to_owned(), Placed { tensor: tensor.shallow_clone(), rows, beside: None });
    }

    /// Notes through what adapters can act beside a matrix that was added.
    pub(super) fn add_beside(&mut self, name: &str, beside: &Beside) {
        if let Some(placed) = self.tensors.get_mut(name) {
            placed.beside = Some(beside.clone());
        }
    }

    /// What acts beside the matrix that holds this key's rows, which rows they are, and the matrix; none where nothing can.
    pub(crate) fn beside(&self, key: &str) -> Option<(&Beside, Range<i64>, &Tensor)> {
        let (name, rows) = self.place_of(key)?;
        let placed = self.tensors.get(name)?;
        Some((placed.beside.as_ref()?, rows, &placed.tensor))
    }

    /// Names of the loaded tensors: the checkpoint's key, or for fused ones `{prefix}{a}+{b}+{c}.{leaf}`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Which rows of a loaded tensor came from which key; empty for a name that was not loaded.
    #[must_use]
    pub fn provenance(&self, name: &str) -> &[RowRange] {
        self.tensors.get(name).map_or(&[], |placed| &placed.rows)
    }

    /// The loaded tensor that holds this key's rows, and which rows they are.
    #[must_use]
    pub fn place_of(&self, key: &str) -> Option<(&str, Range<i64>)> {
        let name = self.names.get(key)?;
        let range = self.provenance(name).iter().find(|range| range.key == key)?;
        Some((name, range.rows.clone()))
    }

    /// Outputs and inputs of every dense layer, by its key without `.weight`; further axes count as inputs.
    #[must_use]
    pub fn layers(&self) -> BTreeMap<String, [u64; 2]> {
        let placed = self.tensors.values().filter(|placed| placed.tensor.dim() >= 2);
        let layer = |range: &RowRange, inputs: i64| {
            let name = range.key.strip_suffix(".weight")?.to_owned();
            Some((name, [range.rows.end - range.rows.start, inputs].map(|size| u64::try_from(size).unwrap_or(0))))
        };
        let of = |placed: &'_ Placed| {
            let inputs = placed.tensor.size()[1..].iter().product();
            placed.rows.iter().filter_map(move |range| layer(range, inputs)).collect::<Vec<_>>()
        };
        placed.flat_map(of).collect()
    }

    /// A view of this key's rows in the loaded tensor: writing to it changes the network.
    ///
    /// # Errors
    /// A key that was not loaded; libtorch.
    pub fn view(&self, key: &str) -> Result<Tensor> {
        let place = self.place_of(key).and_then(|(name, rows)| Some((self.tensors.get(name)?, rows)));
        let (placed, rows) =
            place.ok_or_else(|| Error::input("key", format!("`{key}` is not among the loaded weights")))?;
        if placed.tensor.dim() == 0 {
            return Ok(placed.tensor.shallow_clone());
        }
        placed.tensor.f_narrow(0, rows.start, rows.end - rows.start).map_err(Error::from).in_op(key)
    }
}
