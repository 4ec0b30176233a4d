//! The scheduler: planning, dispatch, sweeps, attempts, retention.

use std::net::IpAddr;

use serde::Deserialize;

/// `[scheduler]` of `configuration/base.toml`, which explains every key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SchedulerSettings {
    /// Port of `/metrics` and the probes; 0 for any.
    pub metrics_port: u16,
    /// Address of that port.
    pub metrics_bind: IpAddr,
    /// Pause between looks at the backlog, milliseconds.
    pub poll_ms: u64,
    /// Life of leadership without renewal, seconds.
    pub leader_ttl_s: u64,
    /// Jobs planned in one go.
    pub plan_batch: u32,
    /// Released jobs of a pool beyond its free slots.
    pub lookahead: u32,
    /// First wait before an unclaimed job is announced again, seconds.
    pub reannounce_min_s: u64,
    /// Longest such wait, seconds.
    pub reannounce_max_s: u64,
    /// Pause between sweeps, milliseconds.
    pub sweep_ms: u64,
    /// Leases ended by one sweep.
    pub sweep_batch: u32,
    /// Silence after which a worker is gone, seconds.
    pub worker_gone_s: u64,
    /// Claims without progress.
    pub attempts_max: i32,
    /// Claims in all.
    pub attempts_total_max: i32,
    /// Starts from one checkpoint.
    pub checkpoint_resumes_max: u32,
    /// First wait before a retry, seconds.
    pub backoff_min_s: u64,
    /// Longest, seconds.
    pub backoff_max_s: u64,
    /// Deleted jobs can be restored for this long, seconds.
    pub retention_s: u64,
    /// Age at which unknown objects are removed, seconds.
    pub orphan_grace_s: u64,
    /// Pause between looks for them, seconds.
    pub orphan_sweep_s: u64,
    /// Life of the events of finished jobs, seconds.
    pub events_retention_s: u64,
}
