//! Every exchange, queue and binding. Declared only here; declaring twice changes nothing.
//!
//! ```text
//! fleet.work (direct) --submitted-----> submitted            doorbells for the scheduler
//!                     --ready.<pool>--> ready.<pool>         quorum queue, one for each pool of workers
//! fleet.dead (fanout) ----------------> dead-letter          messages that cannot be read
//! fleet.events (topic) --job.#, ...---> (one exclusive queue for each listener, gone with it)
//! ```
//!
//! # Adding a queue
//! 1. Name it here, with a function that declares and binds it, and call that function in [`declare_shared`].
//! 2. The arguments of a queue can never change: RabbitMQ refuses a different declaration (406). A new shape
//!    needs a new name.

use domain::PoolId;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

/// Carries work from submission to claim.
pub(crate) const WORK_EXCHANGE: &str = "fleet.work";
/// Carries events to all listeners.
pub(crate) const EVENTS_EXCHANGE: &str = "fleet.events";
/// Receives messages that cannot be read.
pub(crate) const DEAD_EXCHANGE: &str = "fleet.dead";
/// Doorbells for the scheduler.
pub(crate) const SUBMITTED_QUEUE: &str = "submitted";
/// Keeps messages that cannot be read until an operator inspects them.
pub(crate) const DEAD_LETTER_QUEUE: &str = "dead-letter";

/// Deliveries of one message before it is dead-lettered. Only a message that kills its reader again and again reaches this.
const DELIVERY_LIMIT: i32 = 20;
/// Doorbells beyond this are dropped, oldest first: one bell is as good as a thousand.
const SUBMITTED_LENGTH_MAX: i32 = 10_000;
/// Unreadable messages that are kept; the oldest are dropped first.
const DEAD_LETTER_LENGTH_MAX: i32 = 100_000;
/// Events waiting for a slow listener; the oldest are dropped first, since streams read what they miss from the database.
const EVENTS_LENGTH_MAX: i32 = 20_000;

/// The ready queue of a pool, which is also its routing key.
#[must_use]
pub(crate) fn ready_queue(pool: &PoolId) -> String {
    format!("ready.{pool}")
}

/// Rights of a worker's user in the fleet's virtual host, as RabbitMQ's three name patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerRights {
    /// Names that it may declare.
    pub configure: &'static str,
    /// Names that it may publish to or bind.
    pub write: &'static str,
    /// Names that it may consume from or bind to.
    pub read: &'static str,
}

/// A worker declares and reads its pool's queue and its own event queue, publishes events, and dead-letters messages that
/// it cannot read. It cannot read the scheduler's doorbells or the dead-letter queue, and cannot release work.
#[must_use]
pub const fn worker_rights() -> WorkerRights {
    WorkerRights {
        configure: r"^(ready\..+|amq\.gen.*)$",
        write: r"^(ready\..+|amq\.gen.*|fleet\.events|fleet\.dead)$",
        read: r"^(ready\..+|amq\.gen.*|fleet\.events|fleet\.work)$",
    }
}

fn durable_exchange() -> ExchangeDeclareOptions {
    ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() }
}

fn durable_queue() -> QueueDeclareOptions {
    QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() }
}

fn arguments(entries: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in entries {
        table.insert((*key).into(), value.clone());
    }
    table
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// Declares everything that does not depend on a pool or a listener.
pub(crate) async fn declare_shared(channel: &Channel) -> lapin::Result<()> {
    let none = FieldTable::default;
    channel.exchange_declare(WORK_EXCHANGE.into(), ExchangeKind::Direct, durable_exchange(), none()).await?;
    channel.exchange_declare(EVENTS_EXCHANGE.into(), ExchangeKind::Topic, durable_exchange(), none()).await?;
    channel.exchange_declare(DEAD_EXCHANGE.into(), ExchangeKind::Fanout, durable_exchange(), none()).await?;

    let dead =
        arguments(&[("x-queue-type", text("quorum")), ("x-max-length", AMQPValue::LongInt(DEAD_LETTER_LENGTH_MAX))]);
    channel.queue_declare(DEAD_LETTER_QUEUE.into(), durable_queue(), dead).await?;
    channel
        .queue_bind(DEAD_LETTER_QUEUE.into(), DEAD_EXCHANGE.into(), "".into(), QueueBindOptions::default(), none())
        .await?;

    let submitted = arguments(&[
        ("x-queue-type", text("quorum")),
        ("x-max-length", AMQPValue::LongInt(SUBMITTED_LENGTH_MAX)),
        ("x-delivery-limit", AMQPValue::LongInt(DELIVERY_LIMIT)),
    ]);
    channel.queue_declare(SUBMITTED_QUEUE.into(), durable_queue(), submitted).await?;
    channel
        .queue_bind(
            SUBMITTED_QUEUE.into(),
            WORK_EXCHANGE.into(),
            SUBMITTED_QUEUE.into(),
            QueueBindOptions::default(),
            none(),
        )
        .await
}

/// A pool's ready queue at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLoad {
    /// Messages that no worker has received yet.
    pub messages: u32,
    /// Workers that consume it: those with a free slot.
    pub consumers: u32,
}

/// Declares the ready queue of a pool. Both sides do: the scheduler before it publishes, a worker before it consumes.
pub(crate) async fn declare_ready(channel: &Channel, pool: &PoolId) -> lapin::Result<QueueLoad> {
    let queue = ready_queue(pool);
    let ready = arguments(&[
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", AMQPValue::LongInt(DELIVERY_LIMIT)),
        ("x-dead-letter-exchange", text(DEAD_EXCHANGE)),
    ]);
    let declared = channel.queue_declare(queue.as_str().into(), durable_queue(), ready).await?;
    channel
        .queue_bind(
            queue.as_str().into(),
            WORK_EXCHANGE.into(),
            queue.as_str().into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await?;
    Ok(QueueLoad { messages: declared.message_count(), consumers: declared.consumer_count() })
}

/// Declares a listener's own queue, which RabbitMQ names, and removes when the connection closes.
pub(crate) async fn declare_events(channel: &Channel, patterns: &[&str]) -> lapin::Result<String> {
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    let bounded = arguments(&[("x-max-length", AMQPValue::LongInt(EVENTS_LENGTH_MAX))]);
    let queue = channel.queue_declare("".into(), options, bounded).await?;
    let name = queue.name().clone();
    for pattern in patterns {
        channel
            .queue_bind(
                name.clone(),
                EVENTS_EXCHANGE.into(),
                (*pattern).into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
    }
    Ok(name.to_string())
}
