//! Latents and frames against what the reference computed, and everything about running them: resuming, cancelling,
//! errors.

mod agreement;
mod fixture;
mod runs;
mod stops;
mod v1_5;
