//! Postgres: address, pool, timeouts.

use serde::Deserialize;

use crate::secret::SecretUrl;

/// `[database]` of `configuration/base.toml`, which explains every key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseSettings {
    /// Address of Postgres.
    pub url: SecretUrl,
    /// Most connections of this process.
    pub pool_max: u32,
    /// Connections kept while idle.
    pub pool_min: u32,
    /// Longest wait for a free connection, milliseconds.
    pub acquire_timeout_ms: u64,
    /// Longest time for one statement, milliseconds.
    pub statement_timeout_ms: u64,
    /// An idle connection is closed after this, seconds.
    pub idle_timeout_s: u64,
    /// Apply pending migrations at start.
    pub migrate_on_start: bool,
}
