//! What the API sends and accepts, as JSON. The API's own field names are defined here and nowhere else.
//!
//! Domain types that are part of the contract (`VideoRequest`, `RunRecord`) are used directly; everything with a name or unit that
//! only the API uses (`estimated_time` in minutes) is converted here.

pub mod analysis;
pub mod budget;
pub mod group;
pub mod image;
pub mod job;
pub mod lora;
pub mod model;
pub mod prompt;
pub(crate) mod queue;
pub mod replay;
pub mod request;
pub mod stats;
pub mod usage;
pub mod webhook;
