//! What the API sends and takes, as JSON. The user's field names stand here and nowhere else.
//!
//! Domain types appear as they are where they are part of the contract (`VideoRequest`, `RunRecord`); everything with a
//! name or unit of the API's own (`estimated_time` in minutes) is built here from the domain.

pub mod analysis;
pub mod job;
pub mod model;
pub mod request;
pub mod stats;
