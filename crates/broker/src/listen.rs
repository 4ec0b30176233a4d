//! What all listeners share: waiting for a connection, and consuming on a channel of their own.

use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer, message::Delivery};
use tracing::debug;

use crate::connection::Broker;
use crate::error::BrokerError;

/// A consumer and the channel it lives on; both are dropped together and opened anew together.
pub(crate) struct Listening {
    pub(crate) channel: Channel,
    pub(crate) consumer: Consumer,
}

impl Broker {
    /// Resolves as soon as there is a connection.
    pub(crate) async fn until_connected(&self) {
        let mut health = self.health();
        // The sender lives as long as this handle.
        drop(health.wait_for(|connected| *connected).await);
    }

    /// Consumes a queue on a fresh channel.
    pub(crate) async fn consume(
        &self,
        channel: Channel,
        queue: &str,
        prefetch: u16,
        no_ack: bool,
    ) -> Result<Listening, BrokerError> {
        if !no_ack {
            self.rpc(channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
        }
        let options = BasicConsumeOptions { no_ack, ..BasicConsumeOptions::default() };
        let consumer = self.rpc(channel.basic_consume(queue.into(), "".into(), options, FieldTable::default())).await?;
        Ok(Listening { channel, consumer })
    }
}

impl Listening {
    /// The next delivery; `None` when the channel or the connection is gone.
    pub(crate) async fn next(&mut self) -> Option<Delivery> {
        match self.consumer.next().await {
            Some(Ok(delivery)) => Some(delivery),
            Some(Err(error)) => {
                debug!(%error, "consumer ended");
                None
            }
            None => None,
        }
    }
}
