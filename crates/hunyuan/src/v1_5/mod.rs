//! HunyuanVideo 1.5, from text and from a picture: its configuration, its networks, and its pipeline from a prompt to frames.
//!
//! It shares with [`crate::v1`] what its checkpoints share: the double-stream block, the token refiner, rotary positions, the
//! decoder layers of a language model and the causal convolution. New are the text side (Qwen2.5-VL and ByT5 instead of LLaMA and
//! CLIP, joined into one sequence), guidance by a second pass instead of an embedded scale, and a VAE that compresses space
//! sixteenfold. Image-to-video is the same transformer with a picture in channels that text-to-video leaves empty, and with the states of
//! an image encoder before the text. The modules are in reading order.

pub mod config;

pub(crate) mod siglip;
pub mod sizes;
mod t5;
pub mod transformer;
pub mod vae;

pub mod text;

pub(crate) mod denoise;
pub(crate) mod encode;
pub(crate) mod picture;

pub(crate) mod model;

use crate::networks::{Component, ComponentFiles, Fingerprint};

/// The folders of a text-to-video model folder.
pub(crate) const COMPONENTS: &[Component] = TEXT_AND_IMAGE.split_at(TEXT_COMPONENTS).0;

/// The folders of an image-to-video model folder: those of text-to-video, then what reads the picture. A picture is no part of the text's
/// embeddings, so these count among the weights.
pub(crate) const IMAGE_COMPONENTS: &[Component] = TEXT_AND_IMAGE;

/// How many of the following text-to-video has.
const TEXT_COMPONENTS: usize = 8;

const TEXT_AND_IMAGE: &[Component] = &[
    network("transformer", Fingerprint::Weights),
    network("vae", Fingerprint::Weights),
    network("text_encoder", Fingerprint::Encoders),
    network("text_encoder_2", Fingerprint::Encoders),
    files("tokenizer", &["tokenizer.json"], Some(Fingerprint::Encoders)),
    // ByT5 has no vocabulary; these files hold the tokens that a checkpoint adds to the bytes.
    files("tokenizer_2", &["added_tokens.json", "tokenizer_config.json"], Some(Fingerprint::Encoders)),
    // Its shift is part of each request, and so is the guider's scale.
    files("scheduler", &["scheduler_config.json"], None),
    files("guider", &["guider_config.json"], None),
    network("image_encoder", Fingerprint::Weights),
    files("feature_extractor", &["preprocessor_config.json"], Some(Fingerprint::Weights)),
];

const fn network(folder: &'static str, fingerprint: Fingerprint) -> Component {
    Component { folder, files: ComponentFiles::Network, fingerprint: Some(fingerprint) }
}

const fn files(folder: &'static str, names: &'static [&'static str], fingerprint: Option<Fingerprint>) -> Component {
    Component { folder, files: ComponentFiles::Named(names), fingerprint }
}
