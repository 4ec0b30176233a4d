//! HunyuanVideo text-to-video on libtorch, equal to the reference implementation.
//!
//! One network a file, one stage a file; the modules below are in reading order. To add a component: describe its
//! `config.json` in [`config`], write its network as one function of a [`weights::Loader`], and load it with
//! [`weights::load`], which refuses a checkpoint that does not fit before it reads any of it.

pub mod checkpoint;
mod clip;
pub mod config;
mod control;
pub mod cuda_half;
mod decode;
mod denoise;
pub mod device;
mod embeddings;
mod encode;
pub mod engine;
pub mod error;
pub mod flow_match;
mod llama;
pub mod noise;
pub mod probe;
pub mod request;
mod run;
pub mod step_cache;
mod tokenizer;
pub mod transformer;
pub mod vae;
pub mod weights;

pub use checkpoint::{Checkpoint, Identity};
pub use control::Control;
pub use decode::Frames;
pub use device::DeviceChoice;
pub use embeddings::Embeddings;
pub use engine::{Engine, EngineInfo, EngineOptions, Residency, Tiling};
pub use error::{Error, Result};
pub use request::{DenoiseRequest, Geometry};
pub use run::{Denoised, Latents, OnStep, RunCounts, StepEnd};
pub use step_cache::{EasyCacheConfig, StepCacheConfig};
