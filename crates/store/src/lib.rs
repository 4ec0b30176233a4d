//! Everything Postgres: jobs, leases, events, keys, workers, statistics.
//!
//! Rule: the row is the truth. Every change of a job is one statement that repeats the guard of [`domain::Lifecycle`]
//! (`WHERE status = ... AND lease_token = ...`) and writes the row, its event and its statistics together. If no row
//! changed, the move did not happen, and the caller gets the reason. Only this crate contains SQL.
//!
//! # Reading order
//! [`Store`] is the handle; its methods are grouped by their callers: [`jobs`] (API), [`planning`], [`dispatch`] and
//! [`affinity`] (scheduler), [`leases`] (worker), [`deadlines`], [`sweep`], [`drafts`] and [`leader`] (scheduler), [`workers`],
//! [`models`], [`loras`], [`images`], [`events`], [`tenants`], [`ledger`], [`keys`], [`quotas`], [`sessions`], [`stats`],
//! [`learning`], [`webhooks`].
//!
//! # Lost responses
//! A broken connection leaves the outcome of a write unknown ([`StoreError::Unavailable`]). Then repeat the same call:
//! inserts recognise their idempotency key or job id, and claims and everything after them recognise their token.
//!
//! # Adding a transition
//! 1. Add it to `domain::Lifecycle`, with the cases that it refuses.
//! 2. Write the statement here: `held` (lock), `moved` (guarded UPDATE), `told` (event), `counted` (statistics).
//! 3. Add it to the side-by-side test in `tests/it/lifecycle.rs`.
//! 4. Run `scripts/sqlx-prepare` and commit `.sqlx`.

pub mod affinity;
pub mod companions;
mod connect;
pub mod deadlines;
pub mod dispatch;
mod document;
pub mod drafts;
mod era;
mod error;
pub mod events;
pub mod images;
pub mod jobs;
pub mod keys;
pub mod leader;
pub mod learning;
pub mod leases;
pub mod ledger;
pub mod loras;
mod migrate;
pub mod models;
pub mod planning;
mod pool;
mod prepare;
pub mod quotas;
mod readable;
mod retry;
mod rollup;
mod row;
pub mod sessions;
pub mod split;
pub mod stats;
pub mod sweep;
pub mod tenants;
mod transition;
pub mod webhooks;
pub mod worker_list;
mod worker_role;
pub mod workers;

pub use connect::{PoolUsage, Store, StoreOptions};
pub use error::{Result, StoreError};
pub use leader::Epoch;
pub use learning::Learning;
pub use leases::Lease;
pub use readable::unreadable_rows;
