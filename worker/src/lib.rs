//! The worker's parts, put together by `main.rs`.
//!
//! Each subcommand is a module: [`fleet`] serves the fleet, [`render`] renders one video from a model folder, [`fingerprint`]
//! [`convert`] and [`fit_preview`] are for making a model folder, [`ranks`] for several devices. It is a library so that `examples/gated_worker.rs`, which the fault
//! tests run, is the same worker with another renderer behind [`engine`]; the product's program has the model only.

mod child;
pub mod convert;
pub mod engine;
pub mod failure;
pub mod fingerprint;
pub mod fit_preview;
pub mod fleet;
pub mod libtorch;
pub mod measure;
mod mp4;
pub mod ranks;
pub mod render;
mod webp;
