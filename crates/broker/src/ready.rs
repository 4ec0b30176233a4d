//! How a worker takes work: it consumes only while a slot is free.
//!
//! On a delivery the consumer is cancelled and the cancel awaited. Messages delivered meanwhile are returned as *extra*,
//! and the caller gives them back through the row. So a busy worker holds no delivery, and nothing is ever requeued.

use std::collections::VecDeque;
use std::time::Duration;

use domain::PoolId;
use futures::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use tokio::task::JoinHandle;
use tracing::debug;

use crate::connection::Broker;
use crate::delivered::Delivered;
use crate::error::BrokerError;
use crate::link::{Link, in_time};
use crate::messages::{Envelope, JobReady};
use crate::topology;

/// One message at a time: the next message goes to the next free worker.
const PREFETCH: u16 = 1;

type Opened = Result<(Channel, Consumer), BrokerError>;

/// Takes work from one pool's queue, through every reconnection.
///
/// Deliveries that were not handed out yet are kept here and not in the calls, so that a call may be dropped at any of its
/// awaits without losing a delivery or holding it forever.
pub struct ReadyConsumer {
    broker: Broker,
    pool: PoolId,
    prefetch: u16,
    /// Kept between two jobs: opening a channel costs as much as dispatching a job.
    channel: Option<Channel>,
    consumer: Option<Consumer>,
    /// The link on which `channel` was opened.
    link: Link,
    /// A consumer that is being opened. The task continues when the call that started it is dropped.
    opening: Option<JoinHandle<Opened>>,
    unread: Option<Delivery>,
    first: Option<Delivered>,
    extra: VecDeque<Delivered>,
}

impl Broker {
    /// The work of a pool. Nothing is consumed until [`ReadyConsumer::next`] is polled.
    #[must_use]
    pub fn ready(&self, pool: PoolId) -> ReadyConsumer {
        ReadyConsumer {
            broker: self.clone(),
            link: self.watch_link(),
            pool,
            prefetch: PREFETCH,
            channel: None,
            consumer: None,
            opening: None,
            unread: None,
            first: None,
            extra: VecDeque::new(),
        }
    }
}

impl ReadyConsumer {
    /// Consumes until one message arrives, then stops consuming. Safe to drop: the next call continues where this one
    /// stopped.
    pub async fn next(&mut self) -> Delivered {
        loop {
            self.read_unread().await;
            if self.first.is_some() {
                self.stop_consuming().await;
                if let Some(first) = self.first.take() {
                    return first;
                }
            }
            match &mut self.consumer {
                None => self.listen().await,
                Some(consumer) => {
                    let delivered = tokio::select! {
                        delivered = consumer.next() => delivered,
                        _ = self.link.changed() => None,
                    };
                    match delivered {
                        Some(Ok(delivery)) => self.unread = Some(delivery),
                        Some(Err(error)) => {
                            debug!(%error, pool = %self.pool, "consumer ended");
                            self.forget();
                        }
                        None => self.forget(),
                    }
                }
            }
        }
    }

    /// Deliveries beyond the one that [`ReadyConsumer::next`] returned. The caller releases their rows again and acks them.
    pub fn take_extra(&mut self) -> Vec<Delivered> {
        self.extra.drain(..).collect()
    }

    /// Whether the consumer is active, as far as this side knows.
    #[must_use]
    pub fn is_consuming(&self) -> bool {
        let open = self.channel.as_ref().is_some_and(|channel| channel.status().connected());
        self.consumer.is_some() && open && !self.link.has_changed().unwrap_or(true)
    }

    /// Cancels the consumer and waits until RabbitMQ confirms that nothing more will be delivered; what was delivered until
    /// then is extra. A worker that stops calls this, and then [`ReadyConsumer::take_extra`].
    pub async fn stop_consuming(&mut self) {
        self.forget_opening();
        if let (Some(channel), Some(consumer)) = (&self.channel, &self.consumer) {
            let cancel = channel.basic_cancel(consumer.tag(), BasicCancelOptions::default());
            if let Err(error) = self.broker.rpc(cancel).await {
                // RabbitMQ redelivers to another consumer what was delivered on this channel.
                debug!(%error, "consumer not cancelled");
                self.forget();
            }
        }
        while self.consumer.is_some() {
            self.read_extra().await;
            match consumer_now(self.consumer.as_mut()) {
                Some(delivery) => self.unread = Some(delivery),
                None => self.consumer = None,
            }
        }
        self.read_extra().await;
    }

    async fn read_unread(&mut self) {
        self.read_extra().await;
        if self.first.is_none() {
            self.first = self.extra.pop_front();
        }
    }

    /// Decodes the unread delivery and queues it for handing out, or moves it to the dead-letter queue.
    async fn read_extra(&mut self) {
        let (Some(delivery), Some(channel)) = (&self.unread, &self.channel) else {
            self.unread = None;
            return;
        };
        match Envelope::<JobReady>::decode(&delivery.data, self.broker.inner.settings.message_max_bytes) {
            Ok(envelope) => {
                let (broker, channel) = (self.broker.clone(), channel.clone());
                self.extra.push_back(Delivered::new(envelope, delivery.acker.clone(), broker, channel));
            }
            Err(error) => {
                self.broker.bury(&delivery.data, &error).await;
                let acked = delivery.acker.ack(BasicAckOptions::default());
                if !matches!(in_time(self.broker.inner.settings.rpc_timeout_ms, acked).await, Ok(Ok(_))) {
                    debug!("an unreadable message was not acked and may be delivered again");
                    self.broker.give_up(channel.clone());
                }
            }
        }
        self.unread = None;
    }

    /// Drops the channel. RabbitMQ redelivers what was delivered on it.
    fn forget(&mut self) {
        if let Some(channel) = self.channel.take() {
            self.broker.give_up(channel);
        }
        self.consumer = None;
        self.unread = None;
    }

    /// Abandons a consumer that is being opened: a busy worker must not end up holding a delivery. The opening runs to its
    /// end, because only then can its channel be closed.
    fn forget_opening(&mut self) {
        if let Some(opening) = self.opening.take() {
            let broker = self.broker.clone();
            tokio::spawn(async move {
                if let Ok(Ok((channel, _consumer))) = opening.await {
                    broker.give_up(channel);
                }
            });
        }
    }

    async fn listen(&mut self) {
        self.broker.until_connected().await;
        if self.link.has_changed().unwrap_or(true) {
            self.forget();
            self.link = self.broker.watch_link();
            self.forget_opening();
        }
        let opening = self.opening.get_or_insert_with(|| {
            tokio::spawn(open(self.broker.clone(), self.pool.clone(), self.prefetch, self.channel.take()))
        });
        let opened = opening.await;
        self.opening = None;
        match opened {
            Ok(Ok((channel, consumer))) => {
                self.channel = Some(channel);
                self.consumer = Some(consumer);
            }
            Ok(Err(error)) => {
                debug!(%error, pool = %self.pool, "cannot consume yet");
                self.forget();
                tokio::time::sleep(Duration::from_millis(self.broker.inner.settings.reconnect_min_ms)).await;
            }
            Err(error) => debug!(%error, "the task that opens a consumer failed"),
        }
    }
}

/// Consumes a pool's queue, on the kept channel if it is usable, otherwise on a fresh one.
async fn open(broker: Broker, pool: PoolId, prefetch: u16, kept: Option<Channel>) -> Opened {
    let channel = match kept.filter(|channel| channel.status().connected()) {
        Some(channel) => channel,
        None => {
            let channel = broker.channel().await?;
            broker.rpc(channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
            channel
        }
    };
    let consumed = async {
        // Declared each time, because the queue may have been deleted meanwhile.
        broker.rpc(topology::declare_ready(&channel, &pool)).await?;
        let queue = topology::ready_queue(&pool);
        let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
        broker.rpc(channel.basic_consume(queue.as_str().into(), "".into(), options, none)).await
    };
    match consumed.await {
        Ok(consumer) => Ok((channel, consumer)),
        Err(error) => {
            broker.give_up(channel);
            Err(error)
        }
    }
}

/// The next delivery that has already arrived; `None` when there is none or the consumer has ended.
fn consumer_now(consumer: Option<&mut Consumer>) -> Option<Delivery> {
    consumer?.next().now_or_never().flatten()?.ok()
}

#[cfg(test)]
mod tests {
    //! Tests that need the inside of a consumer: a larger prefetch, and a channel that RabbitMQ closes.

    use domain::JobId;
    use testkit::rabbitmq::Vhost;
    use testkit::{builders, eventually};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    async fn publish(broker: &Broker, dispatch_no: i32) {
        let ready = JobReady { job_id: JobId::fresh(), dispatch_no, pool: builders::pool() };
        let published = || async { broker.publish_ready(ready.clone(), None).await.ok() };
        eventually("a message is accepted", PATIENCE, published).await;
    }

    #[tokio::test]
    async fn deliveries_beyond_the_first_are_returned_as_extra() {
        let vhost = Vhost::create().await;
        let broker = Broker::connect(&vhost.settings(), "test");
        for dispatch_no in 1..=3 {
            publish(&broker, dispatch_no).await;
        }
        let mut consumer = broker.ready(builders::pool());
        consumer.prefetch = 10;
        let first = consumer.next().await;
        assert_eq!(first.ready.dispatch_no, 1);
        assert!(!consumer.is_consuming(), "the consumer is cancelled before the job is handed out");
        let mut extra = consumer.take_extra();
        // How many were in flight when the cancel arrived depends on RabbitMQ; none of them may be lost.
        while extra.len() < 2 {
            extra.push(consumer.next().await);
            extra.extend(consumer.take_extra());
        }
        let numbers: Vec<_> = extra.iter().map(|one| one.ready.dispatch_no).collect();
        assert_eq!(numbers, [2, 3]);
        for one in extra.into_iter().chain([first]) {
            assert!(one.ack().await);
        }
    }

    #[tokio::test]
    async fn a_channel_that_rabbitmq_closed_is_opened_again() {
        let vhost = Vhost::create().await;
        let broker = Broker::connect(&vhost.settings(), "test");
        publish(&broker, 1).await;
        let mut consumer = broker.ready(builders::pool());
        assert!(consumer.next().await.ack().await);
        for dispatch_no in 2..=4 {
            let channel = consumer.channel.clone().expect("kept for the next job");
            // A tag that was never issued: RabbitMQ replies 406, PRECONDITION_FAILED, and closes the channel.
            drop(channel.basic_ack(9_999, BasicAckOptions::default()).await);
            eventually("RabbitMQ closes the channel", PATIENCE, || async {
                (!channel.status().connected()).then_some(())
            })
            .await;
            publish(&broker, dispatch_no).await;
            let delivered = consumer.next().await;
            assert_eq!(delivered.ready.dispatch_no, dispatch_no);
            assert!(delivered.ack().await);
        }
        assert!(broker.is_connected(), "the connection was never at fault");
    }
}
