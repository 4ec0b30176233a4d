//! RabbitMQ: address, timeouts, reconnection.

use serde::Deserialize;

use crate::secret::SecretUrl;

/// `[broker]` of `configuration/base.toml`, which explains every key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerSettings {
    /// Address of RabbitMQ.
    pub url: SecretUrl,
    /// AMQP heartbeat, seconds.
    pub heartbeat_s: u16,
    /// Longest time to open a connection, milliseconds.
    pub connect_timeout_ms: u64,
    /// Longest wait for a reply other than a confirm, milliseconds.
    pub rpc_timeout_ms: u64,
    /// Longest wait for a confirm, milliseconds.
    pub publish_timeout_ms: u64,
    /// First wait before reconnecting, milliseconds.
    pub reconnect_min_ms: u64,
    /// Longest such wait, milliseconds.
    pub reconnect_max_ms: u64,
    /// Largest message, bytes.
    pub message_max_bytes: usize,
    /// Most progress messages that may wait to be sent.
    pub progress_buffer: usize,
}
