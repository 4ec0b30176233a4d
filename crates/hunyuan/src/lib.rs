//! HunyuanVideo on libtorch, from text and from a picture, equal to the reference implementation.
//!
//! [`engine`] wraps a loaded model, [`options`] says how it is loaded, and [`session`] is one job on it;
//! [`together`] lets several share their passes. [`family`] says what a
//! model family is, [`networks`] what its networks do. Each family has a folder, with one network per file and one stage per
//! file: [`v1`] is HunyuanVideo 1.0, [`v1_5`] is 1.5. [`runtime`] is what every family needs: weights, devices, step caches,
//! tiling, checkpoints. [`interpolation`] makes frames between those of any family.

pub mod engine;
pub mod family;
pub mod interpolation;
pub mod networks;
pub mod options;
pub mod runtime;
pub mod session;
pub mod together;
pub mod v1;
pub mod v1_5;

pub use engine::{Engine, EngineInfo};
pub use family::Family;
pub use interpolation::{Interpolated, Interpolator};
pub use networks::Residency;
pub use options::{EngineOptions, Tiling};
pub use runtime::adapters::{Adapter, AdapterPath, AdapterUse};
pub use runtime::checkpoint::{Checkpoint, Identity};
pub use runtime::control::Control;
pub use runtime::device::DeviceChoice;
pub use runtime::dtype::Dtype;
pub use runtime::embeddings::Embeddings;
pub use runtime::error::{Error, Result};
pub use runtime::first_frame::FirstFrame;
pub use runtime::frames::Frames;
pub use runtime::picture::Picture;
pub use runtime::preview::{LatentRgb, PreviewFrames};
pub use runtime::progressive::Progressive;
pub use runtime::request::{Defaults, DenoiseRequest, DraftPart, Geometry};
pub use runtime::run::{Denoised, Latents, OnStep, RunCounts, StepEnd};
pub use runtime::step_cache::{EasyCacheConfig, StepCacheConfig};
pub use runtime::team::{Leader, Team};
pub use runtime::weights::Storage;
pub use session::Session;
pub use together::{Ended, Together};
pub use torch_ext::attention::Backend as AttentionBackend;
