//! Redis: address and timeouts. Only the embedding cache uses it.

use serde::Deserialize;

use crate::secret::Secret;

/// `[redis]` of `configuration/base.toml`, which explains every key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisSettings {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User name; empty for none.
    pub username: String,
    /// Password; empty for none.
    pub password: Secret,
    /// Use TLS.
    pub tls: bool,
    /// Number of the database.
    pub database: i64,
    /// Connections of this process.
    pub pool_max: usize,
    /// Longest time to open a connection, milliseconds.
    pub connect_timeout_ms: u64,
    /// Longest wait for a reply, milliseconds.
    pub response_timeout_ms: u64,
}
