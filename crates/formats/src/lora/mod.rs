//! LoRA adapters: what each file changes, decided by its header alone.
//!
//! The canonical form is a list of [`Change`]s of the checkpoint's own layers. Every key family becomes that form, so the code that
//! applies adapters knows none of them. A file of which anything is not understood is refused as a whole: an adapter of which a
//! part is dropped makes a video that nobody wanted, and no error says so.
//!
//! Families: diffusers and PEFT, Tencent's names as diffusion-pipe writes them, musubi-tuner's and kohya's underscores, and
//! ComfyUI's names.

mod keys;
mod modules;
mod scale;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_json::{Map, Value};

use self::keys::{Key, Leaf};
pub use self::modules::Modules;
use self::modules::Piece;
use self::scale::Scales;
pub use self::scale::{ScaleOf, with_config};
use crate::error::{Refused, listed};
use crate::header::{Header, Stored};

/// Element types that factors may have.
const FLOATS: [&str; 6] = ["F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"];

/// One change of rows of a checkpoint's layer; tensors are named by their keys in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The checkpoint's layer, without `.weight`.
    pub layer: String,
    /// Rows of the layer that change.
    pub rows: Range<u64>,
    /// Rows of the file's tensor that belong to them.
    pub from: Range<u64>,
    /// How.
    pub kind: ChangeKind,
}

/// How rows change.
#[derive(Debug, Clone, PartialEq)]
pub enum ChangeKind {
    /// `weight += strength * scale * up @ down`.
    Factors {
        /// `[rank, inputs]`, shared by all rows.
        down: String,
        /// `[outputs, rank]`.
        up: String,
        /// What the product is multiplied by, beside the strength that a user gives.
        scale: ScaleOf,
    },
    /// `weight += strength * difference`.
    Weight {
        /// `[outputs, inputs]`.
        difference: String,
    },
    /// `bias += strength * scale * difference`.
    Bias {
        /// `[outputs]`.
        difference: String,
        /// As for factors.
        scale: ScaleOf,
    },
}

/// What a file changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Lora {
    /// All changes, in the order of the layers.
    pub changes: Vec<Change>,
    /// Largest rank of a pair of factors.
    pub rank: u64,
}

/// The tensors that a file has for one of its modules.
#[derive(Default)]
struct Leaves {
    found: BTreeMap<Leaf, String>,
}

impl Lora {
    /// What a file with this header changes in a model with these modules. `config` is the `adapter_config.json` beside the file.
    ///
    /// # Errors
    /// Everything that is wrong in one sentence, with at most ten names.
    pub fn read(header: &Header, config: Option<&Map<String, Value>>, modules: &Modules) -> Result<Self, Refused> {
        let by_module = sorted(header, modules)?;
        if by_module.is_empty() {
            return Err(Refused::new("holds no adapter: none of its tensors is a LoRA factor"));
        }
        let scales = Scales::read(header, config)?;
        let (mut changes, mut rank) = (Vec::new(), 0);
        for (module, leaves) in &by_module {
            let builder = Builder { header, module, leaves, modules, scales: &scales };
            rank = rank.max(builder.add_to(&mut changes)?);
        }
        changes.sort_by(|left, right| (&left.layer, left.rows.start).cmp(&(&right.layer, right.rows.start)));
        no_doubles(&changes)?;
        Ok(Self { changes, rank })
    }
}

/// The file's tensors by module; every key must be understood.
fn sorted(header: &Header, modules: &Modules) -> Result<BTreeMap<String, Leaves>, Refused> {
    let (mut by_module, mut unknown, mut unsupported) = (BTreeMap::<String, Leaves>::new(), Vec::new(), Vec::new());
    for (name, stored) in &header.tensors {
        match keys::read(name) {
            Key::Unsupported(what) => unsupported.push((what, name.as_str())),
            Key::Unknown => unknown.push(name.as_str()),
            Key::Of { module, leaf } => match modules.find(&module) {
                None => unknown.push(name.as_str()),
                Some(found) => {
                    if !FLOATS.contains(&stored.dtype.as_str()) {
                        return Err(Refused::new(format!("stores `{name}` as {}, which is not a float", stored.dtype)));
                    }
                    by_module.entry(found).or_default().add(leaf, name)?;
                }
            },
        }
    }
    if let Some((what, _)) = unsupported.first() {
        let names: Vec<&str> = unsupported.iter().map(|(_, name)| *name).collect();
        return Err(Refused::new(format!("uses {what} ({}), which is not supported; only LoRA is", listed(&names))));
    }
    if !unknown.is_empty() {
        let count = unknown.len();
        return Err(Refused::new(format!(
            "has {count} tensors that belong to no layer of this model ({}); it was made for another model",
            listed(&unknown)
        )));
    }
    Ok(by_module)
}

impl Leaves {
    fn add(&mut self, leaf: Leaf, name: &str) -> Result<(), Refused> {
        match self.found.insert(leaf, name.to_owned()) {
            None => Ok(()),
            Some(other) => Err(Refused::new(format!("has `{other}` and `{name}`, which mean the same tensor"))),
        }
    }

    fn get(&self, leaf: Leaf) -> Option<&String> {
        self.found.get(&leaf)
    }
}

/// Turns the tensors of one module into changes.
struct Builder<'a> {
    header: &'a Header,
    module: &'a str,
    leaves: &'a Leaves,
    modules: &'a Modules,
    scales: &'a Scales,
}

impl Builder<'_> {
    /// Appends the module's changes; returns its rank, 0 without factors.
    fn add_to(&self, changes: &mut Vec<Change>) -> Result<u64, Refused> {
        let mut rank = 0;
        let factors = (self.leaves.get(Leaf::Down), self.leaves.get(Leaf::Up));
        let mut scale = ScaleOf::Fixed(1.0);
        match factors {
            (Some(down), Some(up)) => {
                rank = self.check_factors(down, up)?;
                scale = self.scale(rank)?;
                let kind = ChangeKind::Factors { down: down.clone(), up: up.clone(), scale: scale.clone() };
                self.push(changes, &kind);
            }
            (None, None) if self.leaves.get(Leaf::Alpha).is_none() => {}
            _ => return Err(Refused::new(format!("has only one of the two factors of `{}`", self.module))),
        }
        if let Some(name) = self.leaves.get(Leaf::Weight) {
            let [outputs, inputs] = self.sizes();
            self.check_shape(name, outputs, inputs)?;
            self.push(changes, &ChangeKind::Weight { difference: name.clone() });
        }
        for (leaf, scale) in [(Leaf::Bias, ScaleOf::Fixed(1.0)), (Leaf::UpBias, scale)] {
            if let Some(name) = self.leaves.get(leaf) {
                if leaf == Leaf::UpBias && factors.1.is_none() {
                    return Err(Refused::new(format!("has `{name}` without the factors that it belongs to")));
                }
                self.check_shape(name, self.sizes()[0], 1)?;
                self.push(changes, &ChangeKind::Bias { difference: name.clone(), scale });
            }
        }
        Ok(rank)
    }

    fn sizes(&self) -> [u64; 2] {
        self.modules.sizes(self.module)
    }

    fn push(&self, changes: &mut Vec<Change>, kind: &ChangeKind) {
        for Piece { layer, rows, from } in self.modules.pieces(self.module) {
            let (layer, rows, from) = (layer.clone(), rows.clone(), from.clone());
            changes.push(Change { layer, rows, from, kind: kind.clone() });
        }
    }

    fn stored(&self, name: &str) -> &Stored {
        &self.header.tensors[name]
    }

    /// The rank, which is the first axis of `down`, after both shapes fit the layer.
    fn check_factors(&self, down: &str, up: &str) -> Result<u64, Refused> {
        let rank = self.stored(down).shape.first().copied().unwrap_or(0);
        if rank == 0 {
            return Err(Refused::new(format!("has `{down}` without a rank")));
        }
        let [outputs, inputs] = self.sizes();
        self.check_shape(down, rank, inputs)?;
        self.check_shape(up, outputs, rank)?;
        Ok(rank)
    }

    /// Compares a tensor with `[rows, columns]`; axes behind the first count as one, as in convolutions.
    fn check_shape(&self, name: &str, rows: u64, columns: u64) -> Result<(), Refused> {
        let shape = &self.stored(name).shape;
        let found =
            shape.split_first().map(|(rows, rest)| [*rows, rest.iter().fold(1, |all: u64, n| all.saturating_mul(*n))]);
        if found == Some([rows, columns]) {
            return Ok(());
        }
        Err(Refused::new(format!(
            "has `{name}` of shape {shape:?}, but this model's layer needs [{rows}, {columns}]; it was made for another model"
        )))
    }

    fn scale(&self, rank: u64) -> Result<ScaleOf, Refused> {
        if let Some(alpha) = self.leaves.get(Leaf::Alpha) {
            if self.stored(alpha).elements() != 1 {
                return Err(Refused::new(format!("has `{alpha}` with more than one number")));
            }
            return Ok(ScaleOf::Alpha { key: alpha.clone(), rank });
        }
        // PEFT's patterns name the module as the trainer did.
        let down = self.leaves.get(Leaf::Down).map_or("", String::as_str);
        self.scales.of(down, rank)
    }
}

/// Refuses a file that changes rows twice under different names.
fn no_doubles(changes: &[Change]) -> Result<(), Refused> {
    let mut seen = BTreeSet::new();
    for change in changes {
        let kind = match change.kind {
            ChangeKind::Factors { .. } => 0,
            ChangeKind::Weight { .. } => 1,
            ChangeKind::Bias { scale: ScaleOf::Fixed(_), .. } => 2,
            ChangeKind::Bias { .. } => 3,
        };
        if !seen.insert((&change.layer, change.rows.start, kind)) {
            return Err(Refused::new(format!("changes `{}` twice, under two names", change.layer)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
