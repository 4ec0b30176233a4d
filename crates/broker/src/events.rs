//! Receives published events. An event is lost when nobody listens, so listeners use events to be fast, never to be
//! correct.

use crate::connection::Broker;
use crate::listen::Listening;
use crate::messages::{Envelope, FleetEvent};
use crate::topology;

/// A stream of events that survives every reconnection. Events published in between are missed.
pub struct EventStream {
    broker: Broker,
    patterns: &'static [&'static str],
    listening: Option<Listening>,
}

/// An event and who published it.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// The event.
    pub event: FleetEvent,
    /// The RabbitMQ user that published it, which RabbitMQ has checked. `None` for an event that is not signed.
    pub user: Option<String>,
}

impl Broker {
    /// Everything that pages show: states, progress, workers.
    #[must_use]
    pub fn events(&self) -> EventStream {
        EventStream { broker: self.clone(), patterns: &["job.#", "progress.#", "worker"], listening: None }
    }

    /// Changes of jobs and workers without their progress, for the scheduler.
    #[must_use]
    pub fn changes(&self) -> EventStream {
        EventStream { broker: self.clone(), patterns: &["job.#", "worker"], listening: None }
    }

    /// Only requests to cancel a job, for workers.
    #[must_use]
    pub fn cancels(&self) -> EventStream {
        EventStream { broker: self.clone(), patterns: &["cancel"], listening: None }
    }
}

impl EventStream {
    /// The next event; waits for as long as it takes, through any number of reconnections.
    pub async fn next(&mut self) -> FleetEvent {
        self.next_signed().await.event
    }

    /// The same with its publisher.
    pub async fn next_signed(&mut self) -> Received {
        let max_bytes = self.broker.inner.settings.message_max_bytes;
        loop {
            let Some(listening) = &mut self.listening else {
                self.listen().await;
                continue;
            };
            match listening.next().await {
                // An event that cannot be read comes from a newer release, and it was only a hint.
                Some(delivery) => match Envelope::<FleetEvent>::decode(&delivery.data, max_bytes) {
                    Ok(envelope) => {
                        let user = delivery.properties.user_id().as_ref().map(ToString::to_string);
                        return Received { event: envelope.body, user };
                    }
                    Err(error) => tracing::debug!(%error, "ignoring an event that cannot be decoded"),
                },
                None => self.listening = None,
            }
        }
    }

    async fn listen(&mut self) {
        self.broker.until_connected().await;
        let link = self.broker.watch_link();
        let opened = async {
            let channel = self.broker.channel().await?;
            let queue = self.broker.rpc(topology::declare_events(&channel, self.patterns)).await?;
            self.broker.consume(channel, &queue, 0, true, link).await
        };
        match opened.await {
            Ok(listening) => self.listening = Some(listening),
            Err(error) => {
                tracing::debug!(%error, "cannot consume events yet");
                tokio::time::sleep(std::time::Duration::from_millis(self.broker.inner.settings.reconnect_min_ms)).await;
            }
        }
    }
}
