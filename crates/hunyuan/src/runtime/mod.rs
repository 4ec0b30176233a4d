//! What all model families share: files, devices, and the state of a run.
//!
//! The modules are in reading order. Nothing here depends on a family; a family's folder uses what it needs.

pub mod dtype;
pub mod error;
pub mod host;
pub(crate) mod json;

pub mod attention;
pub mod cuda_half;
pub mod device;
pub mod finite;
pub mod weights;

pub mod adapters;

pub mod control;
pub mod embeddings;
pub mod flow_match;
pub mod noise;
pub mod progressive;
pub mod step_cache;
pub mod team;
pub mod tiling;

pub mod checkpoint;
pub mod first_frame;
pub mod frames;
pub(crate) mod passes;
pub mod picture;
pub(crate) mod predictor;
pub mod preview;
pub mod request;
pub mod run;
pub(crate) mod sampler;
