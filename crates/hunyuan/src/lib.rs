//! HunyuanVideo text-to-video on libtorch, equal to the reference implementation.
//!
//! [`runtime`] is what every model family needs: weights, devices, step caches, tiling, checkpoints. Each family has a folder
//! beside it, with one network per file and one stage per file: [`v1`] is HunyuanVideo 1.0.

pub mod engine;
pub mod runtime;
pub mod v1;

pub use engine::{Engine, EngineInfo, EngineOptions, Residency, Tiling};
pub use runtime::checkpoint::{Checkpoint, Identity};
pub use runtime::control::Control;
pub use runtime::device::DeviceChoice;
pub use runtime::dtype::Dtype;
pub use runtime::embeddings::Embeddings;
pub use runtime::error::{Error, Result};
pub use runtime::request::{DenoiseRequest, Geometry};
pub use runtime::run::{Denoised, Latents, OnStep, RunCounts, StepEnd};
pub use runtime::step_cache::{EasyCacheConfig, StepCacheConfig};
pub use v1::decode::Frames;
