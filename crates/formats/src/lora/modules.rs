//! The layers of a model under every name that adapters use for them.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::layout::Alias;

/// Rows of a checkpoint's layer, and the rows of an adapter's tensor that belong to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) layer: String,
    pub(super) rows: Range<u64>,
    pub(super) from: Range<u64>,
}

#[derive(Debug, Clone)]
struct Module {
    sizes: [u64; 2],
    pieces: Vec<Piece>,
}

/// See the file's top.
#[derive(Debug, Clone, Default)]
pub struct Modules {
    modules: BTreeMap<String, Module>,
    /// Full names by their form without dots, as musubi-tuner and kohya write them. Never split at `_`, which names contain.
    underscored: BTreeMap<String, String>,
}

impl Modules {
    /// From a model's dense layers (outputs and inputs by the checkpoint's name) and their other names.
    #[must_use]
    pub fn new(layers: &BTreeMap<String, [u64; 2]>, aliases: &[Alias]) -> Self {
        let mut modules = Self::default();
        for (layer, [outputs, inputs]) in layers {
            let piece = Piece { layer: layer.clone(), rows: 0..*outputs, from: 0..*outputs };
            modules.add(layer, Module { sizes: [*outputs, *inputs], pieces: vec![piece] });
        }
        for alias in aliases {
            let Some(module) = joined(layers, alias) else { continue };
            for name in &alias.names {
                modules.add(name, module.clone());
            }
        }
        modules
    }

    fn add(&mut self, name: &str, module: Module) {
        self.underscored.insert(name.replace('.', "_"), name.to_owned());
        // A checkpoint's own name wins: `proj_out` is no other layer's name.
        self.modules.entry(name.to_owned()).or_insert(module);
    }

    /// The full name of a module, given that or its form with underscores.
    pub(super) fn find(&self, name: &str) -> Option<String> {
        if self.modules.contains_key(name) {
            return Some(name.to_owned());
        }
        self.underscored.get(name).cloned()
    }

    /// Outputs and inputs of a module that [`Modules::find`] returned.
    pub(super) fn sizes(&self, name: &str) -> [u64; 2] {
        self.modules[name].sizes
    }

    /// Where its rows are in the checkpoint.
    pub(super) fn pieces(&self, name: &str) -> &[Piece] {
        &self.modules[name].pieces
    }
}

/// The module that holds the rows of several layers; `None` where one of them is no dense layer.
fn joined(layers: &BTreeMap<String, [u64; 2]>, alias: &Alias) -> Option<Module> {
    let (mut pieces, mut next, mut inputs) = (Vec::new(), 0, 0);
    for layer in &alias.parts {
        let [outputs, of_input] = *layers.get(layer)?;
        inputs = of_input;
        let half = outputs / 2;
        let parts =
            if alias.halves_swapped { vec![half..outputs, 0..half] } else { std::iter::once(0..outputs).collect() };
        for rows in parts {
            let from = next..next + (rows.end - rows.start);
            next = from.end;
            pieces.push(Piece { layer: layer.clone(), rows, from });
        }
    }
    Some(Module { sizes: [next, inputs], pieces })
}
