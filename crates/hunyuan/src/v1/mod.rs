//! HunyuanVideo 1.0: its configuration, its networks, and its pipeline from a prompt to frames.
//!
//! The modules are in reading order. To add a component: describe its `config.json` in [`config`], write its network as one
//! function of a [`Loader`](crate::runtime::weights::Loader), and load it with [`load`](crate::runtime::weights::load), which
//! refuses a checkpoint that does not fit before it reads any of it.

pub mod config;

mod clip;
mod llama;
pub mod transformer;
pub mod vae;

pub(crate) mod decode;
pub(crate) mod denoise;
pub(crate) mod encode;
