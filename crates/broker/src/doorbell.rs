//! The scheduler's doorbell. A ring means "look into the database", however many bells rang.

use lapin::options::BasicAckOptions;
use tokio::task::JoinHandle;

use crate::connection::Broker;
use crate::error::BrokerError;
use crate::link::in_time;
use crate::listen::Listening;
use crate::messages::{Envelope, JobSubmitted};
use crate::topology::SUBMITTED_QUEUE;

/// Bells taken at once. More are not needed, since one look into the database finds everything.
const PREFETCH: u16 = 200;

/// Receives doorbells, through every reconnection.
pub struct Doorbells {
    broker: Broker,
    listening: Option<Listening>,
    /// A channel that is being opened.
    opening: Option<JoinHandle<Result<Listening, BrokerError>>>,
    /// The acknowledgement of the last bell; whether it was sent.
    acking: Option<JoinHandle<bool>>,
}

impl Broker {
    /// The doorbells that submissions ring.
    #[must_use]
    pub fn doorbells(&self) -> Doorbells {
        Doorbells { broker: self.clone(), listening: None, opening: None, acking: None }
    }
}

impl Doorbells {
    /// Resolves at the next ring. An unreadable bell goes to the dead-letter queue and counts as a ring.
    pub async fn ring(&mut self) {
        let max_bytes = self.broker.inner.settings.message_max_bytes;
        loop {
            if let Some(acking) = &mut self.acking {
                let acked = acking.await.unwrap_or(false);
                self.acking = None;
                if !acked {
                    self.leave();
                }
            }
            let Some(listening) = &mut self.listening else {
                self.listen().await;
                continue;
            };
            let Some(delivery) = listening.next().await else {
                self.leave();
                continue;
            };
            let unreadable = Envelope::<JobSubmitted>::decode(&delivery.data, max_bytes).err();
            let broker = self.broker.clone();
            // In its own task: the caller may drop this call halfway, and the message would stay with this consumer, or be lost.
            self.acking = Some(tokio::spawn(async move {
                if let Some(error) = unreadable {
                    broker.bury(&delivery.data, &error).await;
                }
                let acked = delivery.acker.ack(BasicAckOptions::default());
                matches!(in_time(broker.inner.settings.rpc_timeout_ms, acked).await, Ok(Ok(_)))
            }));
            return;
        }
    }

    /// Closes the channel, so that RabbitMQ gives the bells that were sent to it to somebody who rings them.
    fn leave(&mut self) {
        if let Some(listening) = self.listening.take() {
            self.broker.give_up(listening.channel);
        }
    }

    async fn listen(&mut self) {
        let broker = self.broker.clone();
        // In its own task: the caller may drop this call halfway, and a channel with a consumer would stay open.
        let opening = self.opening.get_or_insert_with(|| tokio::spawn(open(broker)));
        let opened = opening.await;
        self.opening = None;
        match opened {
            Ok(Ok(listening)) => self.listening = Some(listening),
            Ok(Err(error)) => {
                tracing::debug!(%error, "cannot consume doorbells yet");
                tokio::time::sleep(std::time::Duration::from_millis(self.broker.inner.settings.reconnect_min_ms)).await;
            }
            Err(stopped) => tracing::debug!(%stopped, "opening a channel for doorbells was stopped"),
        }
    }
}

async fn open(broker: Broker) -> Result<Listening, BrokerError> {
    broker.until_connected().await;
    let link = broker.watch_link();
    let channel = broker.channel().await?;
    broker.consume(channel, SUBMITTED_QUEUE, PREFETCH, false, link).await
}

impl Drop for Doorbells {
    fn drop(&mut self) {
        // Without a runtime the process ends, and its connections with it.
        if tokio::runtime::Handle::try_current().is_ok() {
            self.leave();
            if let Some(opening) = self.opening.take() {
                let broker = self.broker.clone();
                tokio::spawn(async move {
                    if let Ok(Ok(listening)) = opening.await {
                        broker.give_up(listening.channel);
                    }
                });
            }
        }
    }
}
