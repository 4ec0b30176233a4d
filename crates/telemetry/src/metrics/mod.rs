//! The metrics of each kind of process: one struct per process, declared with the `metrics!` macro.
//!
//! Names start with `fleet_` and carry base units, and an id is never a label. Instance metrics count what this process did;
//! service metrics (states, depths) are counted from rows, by the leading scheduler only.

mod api;
mod declare;
mod scheduler;
mod worker;

pub use api::ApiMetrics;
pub use declare::MetricInfo;
pub use scheduler::{BacklogLevel, BudgetLevels, FleetTotals, GroupTotals, LedgerLevels, PoolLevel, SchedulerMetrics};
pub use worker::WorkerMetrics;
