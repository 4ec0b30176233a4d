//! HunyuanVideo 1.0: its configuration, its networks, and its pipeline from a prompt to frames.
//!
//! The modules are in reading order. To add a component: describe its `config.json` in [`config`], write its network as one
//! function of a [`Loader`](crate::runtime::weights::Loader), and load it with [`load`](crate::runtime::weights::load), which
//! refuses a checkpoint that does not fit before it reads any of it. Then list its folder in [`COMPONENTS`].

pub mod config;

mod clip;
pub(crate) mod llama;
pub mod transformer;
pub mod vae;

pub mod text;

pub(crate) mod decode;
pub(crate) mod denoise;
pub(crate) mod encode;

pub(crate) mod model;

use crate::networks::{Component, ComponentFiles, Fingerprint};

/// Files of a tokenizer's folder that decide what it does.
const TOKENIZER: ComponentFiles = ComponentFiles::Named(&["tokenizer.json", "vocab.json", "merges.txt"]);

/// The folders of a model folder.
pub(crate) const COMPONENTS: &[Component] = &[
    network("transformer", Fingerprint::Weights),
    network("vae", Fingerprint::Weights),
    network("text_encoder", Fingerprint::Encoders),
    network("text_encoder_2", Fingerprint::Encoders),
    Component { folder: "tokenizer", files: TOKENIZER, fingerprint: Some(Fingerprint::Encoders) },
    Component { folder: "tokenizer_2", files: TOKENIZER, fingerprint: Some(Fingerprint::Encoders) },
    // Its shift is part of each request.
    Component { folder: "scheduler", files: ComponentFiles::Named(&["scheduler_config.json"]), fingerprint: None },
];

const fn network(folder: &'static str, fingerprint: Fingerprint) -> Component {
    Component { folder, files: ComponentFiles::Network, fingerprint: Some(fingerprint) }
}
