//! Errors of RabbitMQ. Callers log them and continue: polling finds what a message would have announced.

use crate::MessageError;

/// A call that did not reach RabbitMQ, or whose outcome is unknown.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// `broker.url` is not an address.
    #[error("broker.url must be amqp://user:password@host:port/vhost or amqps://...")]
    Address,
    /// There is no connection at the moment.
    #[error("RabbitMQ is not connected")]
    NotConnected,
    /// No response in time: RabbitMQ is blocked by an alarm, or gone. The message may or may not have arrived.
    #[error("RabbitMQ did not respond within {ms} ms")]
    Timeout {
        /// The limit, milliseconds.
        ms: u64,
    },
    /// The message could not be routed: the queue is missing.
    #[error("no queue accepts messages for '{routing_key}'")]
    Unroutable {
        /// The routing key.
        routing_key: String,
    },
    /// RabbitMQ refused the message (full queue, failing disk).
    #[error("RabbitMQ refused the message")]
    Refused,
    /// The message itself is invalid.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// Any other error of the client library. The channel or connection is opened again.
    #[error("RabbitMQ: {0}")]
    Client(#[from] lapin::Error),
}
