//! Logs, metrics, traces, health and the two-step stop, used by all processes of the fleet.
//!
//! # Adding a metric
//! 1. Add a field to the `metrics!` struct of the process that knows the value ([`ApiMetrics`], [`SchedulerMetrics`],
//!    [`WorkerMetrics`]). Its doc comment is the help text; name, labels and buckets follow in the declaration. Names start with
//!    `fleet_` and use base units; an id is never a label.
//! 2. Set it where the event happens, or, for states that are counted from rows, where the rows are read.
//! 3. Show it in a dashboard or an alert (`monitoring/`). `scripts/check-monitoring` rejects queries that find no data.
//! 4. `UPDATE=1 cargo test --release -p telemetry` updates `docs/metrics.md`.

mod admin;
mod health;
mod logging;
mod metrics;
mod stop;
mod traces;

pub use admin::{AdminError, serve_admin};
pub use health::{Health, Part};
pub use logging::init_logging;
pub use metrics::{
    ApiMetrics, BacklogLevel, BudgetLevels, FleetTotals, GroupTotals, LedgerLevels, MetricInfo, PoolLevel,
    SchedulerMetrics, WorkerMetrics,
};
pub use stop::Stop;
pub use traces::{TraceSpan, Traces, TracesError};
