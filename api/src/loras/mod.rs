//! Adapters: checked by their header before anything is stored, kept in the object store by their hash, named per tenant.
//!
//! [`upload`] takes a file from a client, [`peft`] one with its configuration, [`folders`] those in the model folders of this machine, [`resolve`] turns the names in a
//! request into hashes.

pub mod folders;
pub mod peft;
pub mod resolve;
pub mod upload;

use domain::ModelManifest;
use formats::layout::{TransformerSizes, aliases};
use formats::lora::{Lora, Modules};
use formats::{Header, Refused};
use serde_json::{Map, Value};

/// Longest description, characters.
const DESCRIPTION_MAX: usize = 500;

/// What the header of a file says it changes in a model. `config` is PEFT's, where it is not part of the file.
///
/// # Errors
/// Why the file cannot be used with this model.
pub(crate) fn check(
    header: &Header,
    config: Option<&Map<String, Value>>,
    manifest: &ModelManifest,
) -> Result<Lora, Refused> {
    let Some(sizes) = &manifest.transformer else {
        let reason =
            "cannot be checked, since the model's fleet.toml has no table [transformer]; ask an operator to add it";
        return Err(Refused::new(reason));
    };
    let layers = TransformerSizes {
        hidden: sizes.hidden,
        mlp: sizes.mlp,
        double_blocks: sizes.double_blocks,
        single_blocks: sizes.single_blocks,
        refiner_blocks: sizes.refiner_blocks,
        text: sizes.text,
        pooled: sizes.pooled,
        patch: sizes.patch,
        guidance: sizes.guidance,
    }
    .layers();
    Lora::read(header, config, &Modules::new(&layers, &aliases(|layer| layers.contains_key(layer))))
}

/// Layers that a file changes.
pub(crate) fn layers(lora: &Lora) -> u32 {
    let layers: std::collections::BTreeSet<&str> = lora.changes.iter().map(|change| change.layer.as_str()).collect();
    u32::try_from(layers.len()).unwrap_or(u32::MAX)
}
