//! What all listeners share: waiting for a connection, and consuming on their own channel.

use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer, message::Delivery};
use tracing::debug;

use crate::connection::Broker;
use crate::error::BrokerError;
use crate::link::{Link, in_time};

/// A consumer and its channel; both are dropped together and opened again together.
pub(crate) struct Listening {
    /// Kept so that the channel lives as long as its consumer.
    pub(crate) channel: Channel,
    pub(crate) consumer: Consumer,
    link: Link,
}

impl Broker {
    /// Resolves as soon as there is a connection.
    pub(crate) async fn until_connected(&self) {
        let mut health = self.health();
        // The sender outlives this handle, so the wait cannot fail.
        drop(health.wait_for(|connected| *connected).await);
    }

    /// Closes a channel that must not be used any more, in the background. Dropping it is not enough: a consumer whose
    /// start was not awaited, or whose cancel got no response, keeps its channel open and would take a message that nobody
    /// reads.
    pub(crate) fn give_up(&self, channel: Channel) {
        let ms = self.inner.settings.rpc_timeout_ms;
        tokio::spawn(async move {
            if !matches!(in_time(ms, channel.close(200, "given up".into())).await, Ok(Ok(()))) {
                debug!("a channel that was given up could not be closed; it closes with its connection");
            }
        });
    }

    /// Consumes a queue on a fresh channel. `link` was taken before the channel was opened, so that no change is missed.
    pub(crate) async fn consume(
        &self,
        channel: Channel,
        queue: &str,
        prefetch: u16,
        no_ack: bool,
        link: Link,
    ) -> Result<Listening, BrokerError> {
        if !no_ack {
            self.rpc(channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
        }
        let options = BasicConsumeOptions { no_ack, ..BasicConsumeOptions::default() };
        match self.rpc(channel.basic_consume(queue.into(), "".into(), options, FieldTable::default())).await {
            Ok(consumer) => Ok(Listening { channel, consumer, link }),
            Err(error) => {
                self.give_up(channel);
                Err(error)
            }
        }
    }
}

impl Listening {
    /// The next delivery; `None` when the channel or the connection is gone.
    pub(crate) async fn next(&mut self) -> Option<Delivery> {
        let delivered = tokio::select! {
            delivered = self.consumer.next() => delivered,
            _ = self.link.changed() => {
                debug!("listening on the next connection");
                None
            }
        };
        match delivered {
            Some(Ok(delivery)) => Some(delivery),
            Some(Err(error)) => {
                debug!(%error, "consumer ended");
                None
            }
            None => None,
        }
    }
}
