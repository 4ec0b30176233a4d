//! The worker's parts, put together by `main.rs`.
//!
//! Each subcommand is a module: [`fleet`] serves the fleet, [`render`] renders one video from a model folder, [`fingerprint`]
//! and [`convert`] are for making a model folder. It is a library so that `examples/gated_worker.rs`, which the fault tests run, is the same
//! worker with another renderer behind [`engine`]; the product's program has the model only.

pub mod convert;
pub mod engine;
pub mod fingerprint;
pub mod fleet;
pub mod libtorch;
mod mp4;
pub mod render;
