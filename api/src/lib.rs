//! The HTTP face of the fleet: takes submissions, shows what became of them, serves the page.
//!
//! It holds no state that matters: every replica answers for every job, and all of them may be restarted at any time.
//!
//! # Reading order
//! [`router`] every path on one screen; [`state`] what handlers work with; [`routes`] one file a route; [`ingest`] how a
//! submission is written; [`live`] how streams are fed; [`auth`] who is calling; [`limits`] how much is too much;
//! [`problem`] how errors look.
//!
//! # Adding a route
//! 1. Write `routes/<name>.rs` with the handler, its `#[utoipa::path]` and the statuses it can answer.
//! 2. Add one line to [`router`].
//! 3. Add a test in `tests/` and print the new description: `api openapi > docs/openapi.json`.

pub mod announce;
pub mod auth;
pub mod commands;
pub mod deadline;
pub mod dto;
pub mod extract;
pub mod headers;
pub mod ingest;
pub mod limits;
pub mod live;
pub mod models;
pub mod observe;
pub mod overview;
pub mod problem;
pub mod range;
pub mod router;
pub mod routes;
pub mod state;
pub mod strict;
pub mod submission;
