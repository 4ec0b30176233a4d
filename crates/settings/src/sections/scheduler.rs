//! The scheduler: planning, dispatch, sweeps, attempts, retention.

use std::net::IpAddr;

use serde::Deserialize;

/// `[scheduler]` of `configuration/base.toml`, which explains every key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SchedulerSettings {
    /// Port of `/metrics` and the probes; 0 for any free port.
    pub metrics_port: u16,
    /// Address of that port.
    pub metrics_bind: IpAddr,
    /// Pause between checks of the backlog without a notification, milliseconds.
    pub poll_ms: u64,
    /// How long leadership lasts without renewal, seconds.
    pub leader_ttl_s: u64,
    /// Most jobs planned in one batch.
    pub plan_batch: u32,
    /// Jobs released to a pool beyond its free slots.
    pub lookahead: u32,
    /// How long a job may be delayed for the sake of adapters that workers have merged, seconds; 0 keeps the fair order.
    pub affinity_delay_max_s: u64,
    /// First wait before an unclaimed job is announced again, seconds.
    pub reannounce_min_s: u64,
    /// Longest such wait, seconds.
    pub reannounce_max_s: u64,
    /// Pause between sweeps, milliseconds.
    pub sweep_ms: u64,
    /// Most leases that one sweep ends.
    pub sweep_batch: u32,
    /// How long a worker may be silent before it counts as gone, seconds.
    pub worker_gone_s: u64,
    /// Claims without progress before a job fails.
    pub attempts_max: i32,
    /// Claims in total before a job fails.
    pub attempts_total_max: i32,
    /// Starts from the same checkpoint before it is dropped.
    pub checkpoint_resumes_max: u32,
    /// First wait before a retry, seconds.
    pub backoff_min_s: u64,
    /// Longest such wait, seconds.
    pub backoff_max_s: u64,
    /// How long a deleted job can be restored, seconds.
    pub retention_s: u64,
    /// How long finished jobs are kept, seconds; 0 keeps them for ever.
    pub finished_retention_s: u64,
    /// How long a draft waits to be continued, seconds.
    pub draft_ttl_s: u64,
    /// How long an uploaded picture is kept that no job uses, seconds.
    pub image_ttl_s: u64,
    /// How long a job waits for a model that is not registered before it fails, seconds.
    pub unknown_model_grace_s: u64,
    /// Age at which objects that no row refers to are removed, seconds.
    pub orphan_grace_s: u64,
    /// Pause between two searches for them, seconds.
    pub orphan_sweep_s: u64,
    /// How long the events of finished jobs are kept, seconds.
    pub events_retention_s: u64,
}
