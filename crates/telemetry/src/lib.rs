//! Logs, metrics, health and the two-step stop of a process: what every process of the fleet does alike.
//!
//! # Adding a metric
//! 1. Add a field to the struct of the process that knows it ([`ApiMetrics`], [`SchedulerMetrics`], [`WorkerMetrics`]) and
//!    its line with name, help and labels in the same file. Base units, `fleet_` in front, never an id as a label.
//! 2. Set it where the thing happens, or, for states that are counted from rows, where they are read.
//! 3. Show it in a dashboard or an alert (`monitoring/`); `scripts/check-monitoring` refuses queries without data.
//! 4. `UPDATE=1 cargo test --release -p telemetry` writes it into `docs/metrics.md`.

mod admin;
mod health;
mod logging;
mod metrics;
mod stop;

pub use admin::{AdminError, serve_admin};
pub use health::{Health, Part};
pub use logging::init_logging;
pub use metrics::{
    ApiMetrics, BacklogLevel, FleetTotals, GroupTotals, MetricInfo, PoolLevel, SchedulerMetrics, WorkerMetrics,
};
pub use stop::Stop;
