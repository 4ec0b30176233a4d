//! A delivery of work that was decoded, and its ack.

use lapin::Channel;
use lapin::options::BasicAckOptions;
use tracing::debug;

use crate::connection::Broker;
use crate::link::in_time;
use crate::messages::{Envelope, JobReady};

/// A delivery that was decoded.
pub struct Delivered {
    /// The message.
    pub ready: JobReady,
    /// W3C traceparent of the submission.
    pub traceparent: Option<String>,
    acker: lapin::Acker,
    broker: Broker,
    /// A channel closes with its last handle, and RabbitMQ would then give the message to another consumer.
    channel: Channel,
}

impl Delivered {
    pub(crate) fn new(envelope: Envelope<JobReady>, acker: lapin::Acker, broker: Broker, channel: Channel) -> Self {
        Self { ready: envelope.body, traceparent: envelope.traceparent, acker, broker, channel }
    }

    /// Acks the message. `false` when that failed, which only means that it is delivered again and its claim is refused.
    pub async fn ack(self) -> bool {
        // Under an alarm not even acks get through, and the job must not wait for that.
        let acked = self.acker.ack(BasicAckOptions::default());
        match in_time(self.broker.inner.settings.rpc_timeout_ms, acked).await {
            Ok(Ok(acked)) => acked,
            Ok(Err(error)) => self.give_up(&error),
            Err(error) => self.give_up(&error),
        }
    }

    /// A message without an ack would stay with its channel, and the channel is kept from job to job.
    fn give_up(&self, error: &dyn std::error::Error) -> bool {
        debug!(job.id = %self.ready.job_id, %error, "ack not sent; the message may be delivered again");
        self.broker.give_up(self.channel.clone());
        false
    }
}

impl std::fmt::Debug for Delivered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivered").field("ready", &self.ready).finish_non_exhaustive()
    }
}
