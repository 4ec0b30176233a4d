//! What can go wrong with RabbitMQ. Callers note it and go on: polling finds what a message would have told.

use crate::MessageError;

/// A call that did not reach RabbitMQ, or whose fate is unknown.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// There is no connection at the moment.
    #[error("RabbitMQ is not connected")]
    NotConnected,
    /// No answer in time: blocked by an alarm, or gone. The message may or may not have arrived.
    #[error("RabbitMQ did not answer within {ms} ms")]
    Timeout {
        /// The limit.
        ms: u64,
    },
    /// It could not be routed: the queue is missing.
    #[error("no queue takes messages for '{routing_key}'")]
    Unroutable {
        /// Where it should have gone.
        routing_key: String,
    },
    /// RabbitMQ refused it (full queue, failing disk).
    #[error("RabbitMQ refused the message")]
    Refused,
    /// The message itself is at fault.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// Everything else that the client library says; the channel or connection is opened anew.
    #[error("RabbitMQ: {0}")]
    Client(#[from] lapin::Error),
}
