//! Publishes messages: with a confirm where the outcome matters, without one where it does not.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use domain::{Clock, PoolId, SystemClock};
use lapin::Confirmation;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ChannelId;
use lapin::{BasicProperties, Channel};

use crate::connection::Broker;
use crate::error::BrokerError;
use crate::link::in_time;
use crate::messages::{Envelope, FleetEvent, JobReady, JobSubmitted, Message};
use crate::properties::properties;
use crate::topology::{self, QueueLoad, SUBMITTED_QUEUE, WORK_EXCHANGE};

/// The message survives a restart of RabbitMQ.
const PERSISTENT: u8 = 2;

impl Broker {
    /// Rings the scheduler's doorbell.
    ///
    /// # Errors
    /// [`BrokerError`]; the scheduler then finds the jobs by polling.
    pub async fn publish_submitted(
        &self,
        message: JobSubmitted,
        traceparent: Option<String>,
    ) -> Result<(), BrokerError> {
        self.publish(SUBMITTED_QUEUE, message, traceparent).await
    }

    /// Announces a released job to the pool's workers. Declares the pool's queue if it does not exist yet.
    ///
    /// # Errors
    /// [`BrokerError`]; workers then find the job by polling.
    pub async fn publish_ready(&self, message: JobReady, traceparent: Option<String>) -> Result<(), BrokerError> {
        let routing_key = topology::ready_queue(&message.pool);
        match self.publish(&routing_key, message.clone(), traceparent.clone()).await {
            Err(BrokerError::Unroutable { .. }) => {
                let channel = self.channel().await?;
                self.rpc(topology::declare_ready(&channel, &message.pool)).await?;
                self.publish(&routing_key, message, traceparent).await
            }
            other => other,
        }
    }

    /// Messages and consumers of a pool's queue. Declares the queue if it does not exist yet.
    ///
    /// # Errors
    /// [`BrokerError`].
    pub async fn queue_load(&self, pool: &PoolId) -> Result<QueueLoad, BrokerError> {
        let channel = self.channel().await?;
        self.rpc(topology::declare_ready(&channel, pool)).await
    }

    /// Publishes an event to all listeners, in the background. Never waits: an event that finds the buffer full is dropped
    /// and counted.
    pub fn tell(&self, event: FleetEvent) {
        if self.inner.told.try_send(event).is_err() {
            self.inner.dropped_tells.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn publish<M: Message>(
        &self,
        routing_key: &str,
        message: M,
        traceparent: Option<String>,
    ) -> Result<(), BrokerError> {
        let envelope = Envelope::new(message, SystemClock.now(), traceparent);
        let bytes = envelope.encode(self.inner.settings.message_max_bytes)?;
        let properties = properties(&envelope).with_delivery_mode(PERSISTENT);
        let (ms, began, mut used) = (self.inner.settings.publish_timeout_ms, Instant::now(), None);
        let sent = in_time(ms, self.publish_confirmed(routing_key, &bytes, properties, &mut used)).await;
        self.heard(began, &sent);
        let outcome = sent.and_then(|sent| sent);
        if !matches!(outcome, Ok(()) | Err(BrokerError::Unroutable { .. })) {
            // Whatever went wrong, the next message gets a fresh channel, unless it has one already.
            self.inner.confirmed.lock().await.take_if(|(_, kept)| Some(kept.id()) == used);
        }
        outcome
    }

    /// `used` becomes the number of the channel, as soon as there is one.
    async fn publish_confirmed(
        &self,
        routing_key: &str,
        bytes: &[u8],
        properties: BasicProperties,
        used: &mut Option<ChannelId>,
    ) -> Result<(), BrokerError> {
        let channel = self.confirmed_channel().await?;
        *used = Some(channel.id());
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let exchange = WORK_EXCHANGE.into();
        let confirm = channel.basic_publish(exchange, routing_key.into(), options, bytes, properties).await?;
        match confirm.await? {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_)) => Err(BrokerError::Unroutable { routing_key: routing_key.to_owned() }),
            Confirmation::Nack(_) | Confirmation::NotRequested => Err(BrokerError::Refused),
        }
    }

    async fn confirmed_channel(&self) -> Result<Channel, BrokerError> {
        let connection = self.connection()?;
        let mut kept = self.inner.confirmed.lock().await;
        if let Some((of, channel)) = kept.as_ref()
            && of.ptr_eq(&Arc::downgrade(&connection))
            && channel.status().connected()
        {
            return Ok(channel.clone());
        }
        let channel = self.rpc(connection.create_channel()).await?;
        self.rpc(channel.confirm_select(ConfirmSelectOptions::default())).await?;
        *kept = Some((Arc::downgrade(&connection), channel.clone()));
        Ok(channel)
    }
}
