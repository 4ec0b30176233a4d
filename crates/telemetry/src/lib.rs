//! Logs, metrics, traces, health and the two-step stop, used by all processes of the fleet.
//!
//! A metric is a field in the `metrics!` struct of the process that knows the value ([`ApiMetrics`], [`SchedulerMetrics`],
//! [`WorkerMetrics`]). Its doc comment is the help text; name, labels and buckets follow in the declaration. CONTRIBUTING.md has the
//! steps for adding one.

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
