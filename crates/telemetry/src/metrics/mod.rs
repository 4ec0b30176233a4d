//! What each process measures: one struct per process, registered in a registry of its own.
//!
//! Names start with `fleet_`, carry base units, and no id is ever a label. Instance metrics say what this process did;
//! service metrics (states, depths) are counted from rows by the scheduler that leads and by nobody else.

mod api;
mod declare;
mod scheduler;
mod worker;

pub use api::ApiMetrics;
pub use declare::MetricInfo;
pub use scheduler::{BacklogLevel, FleetTotals, GroupTotals, PoolLevel, SchedulerMetrics};
pub use worker::WorkerMetrics;
