//! The HTTP API of the fleet: accepts submissions, shows jobs and their videos, and serves the page.
//!
//! It keeps no state that could be lost: every replica serves every job, and any replica may be restarted at any time.
//!
//! # Reading order
//! [`router`]: every path on one screen; [`state`]: what handlers share; [`routes`]: one file per route; [`ingest`]: how a
//! submission is written; `candidates`: one request as several drafts; [`live`]: how event streams work; [`auth`]: who is calling;
//! `admission`: whether a deadline can be met; [`limits`]: rate, backlog and quotas; [`loras`]: adapters; [`images`]: pictures;
//! [`prompt_tokens`]: what of a prompt is not read; [`problem`]: error responses.
//!
//! # Adding a route
//! 1. Write `routes/<name>.rs` with the handler, its `#[utoipa::path]` and every status it can return.
//! 2. Add one line to [`router`].
//! 3. Add a test in `tests/` and update the description: `api openapi > docs/openapi.json`.

mod admission;
pub mod announce;
pub mod auth;
mod candidates;
pub mod commands;
mod csv;
pub mod deadline;
pub mod dto;
pub mod extract;
pub(crate) mod files;
pub mod form;
pub mod headers;
pub mod images;
pub mod ingest;
pub mod limits;
pub mod live;
pub mod loras;
pub mod models;
pub mod observe;
mod openai;
pub mod overview;
mod prefix;
pub mod problem;
pub mod prompt_tokens;
pub mod range;
pub mod router;
pub mod routes;
pub mod server;
pub mod state;
pub mod strict;
pub mod submission;
