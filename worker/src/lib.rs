//! The worker's parts, put together by `main.rs`.
//!
//! One subcommand a module: [`fleet`] for the fleet, [`render`] for a person with a model folder, [`fingerprint`] for
//! whoever makes a model folder. It is a library so that `examples/gated_worker.rs`, which the fault tests run, is the same
//! worker with another renderer behind [`engine`]; the product's program knows no other than the model.

pub mod engine;
pub mod fingerprint;
pub mod fleet;
pub mod libtorch;
mod mp4;
pub mod render;
