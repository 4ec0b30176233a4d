//! Latents and frames against what the reference computed, and everything about running them: resuming, cancelling,
//! errors.

mod adapters;
mod agreement;
mod fixture;
mod fixture_v1_5;
mod image_to_video;
mod interpolation;
mod progressive;
mod riflex;
mod runs;
mod stops;
mod team;
mod together;
mod v1_5;
