//! How long a run takes: a linear cost model that starts from the manifest's prior and is fitted to the fleet's own
//! records, one model for each pair of video model and worker class.
//!
//! ```text
//! run = encode (miss or hit) + passes * computed * (linear * r + square * r^2) + passes * skipped * skip * r
//!       + the same two for the steps at half the size, with their own r
//!       + once + tail_once + tail * r            with r = video tokens / the prior's tokens
//!       + interpolate * million pixels of interpolated frames
//! ```
//! `linear` and `square` are the two parts of a step (projections and attention); `tail` is decoding and delivery.
//! Time in the queue is not included. A run with adapters takes [`swap_s`] longer.
//!
//! # Reading order
//! `work`: what time depends on. `records`: what is measured of a run. `model`: the formula. `skips`: how many steps the
//! step cache will skip. `swap`: merging adapters. `devices`: several that
//! share a video. `fit`: from records to a model. `book`: all models of a fleet.

mod book;
mod devices;
mod fit;
mod model;
mod records;
mod skips;
mod swap;
mod work;

pub use book::CostBook;
pub use devices::on_devices;
pub use fit::{EstimateRules, fit_model, median_relative_error};
pub use model::{CostModel, CostSource};
pub use records::{CostRecord, RunFacts, StageSteps};
pub use skips::{SkipShare, SkipTable};
pub(crate) use swap::swap_s;
pub use work::{LowerWork, Work, passes};
