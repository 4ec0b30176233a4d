//! Webhooks: who may be called, retries, the log.

use serde::Deserialize;

/// `[webhooks]` of `configuration/base.toml`, which explains every key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhooksSettings {
    /// Internal addresses and ranges that may be called.
    pub allowed_addresses: Vec<String>,
    /// How long a failed delivery is repeated, seconds.
    pub give_up_s: u64,
    /// How long the old secret is used after a rotation, seconds.
    pub rotation_overlap_s: u64,
    /// How long ended deliveries stay in the log, seconds.
    pub log_retention_s: u64,
    /// Longest wait for a response, seconds.
    pub timeout_s: u64,
    /// First pause before a repetition, seconds.
    pub backoff_min_s: u64,
    /// Longest such pause, seconds.
    pub backoff_max_s: u64,
    /// Deliveries that one process sends at once.
    pub parallel_max: u32,
    /// Pause between two looks for due deliveries, milliseconds.
    pub poll_ms: u64,
}
