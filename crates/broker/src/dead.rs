//! Messages that cannot be read: kept for inspection, counted for an alert, and moved out of the way.

use std::sync::atomic::Ordering;

use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use tracing::{error, warn};

use crate::connection::Broker;
use crate::error::BrokerError;
use crate::link::in_time;
use crate::messages::MessageError;
use crate::topology::{DEAD_EXCHANGE, DEAD_LETTER_QUEUE};

impl Broker {
    /// Moves a message that cannot be read to the dead-letter queue, with the reason. The caller acks the original whether
    /// this works or not, because the message would not be more readable next time.
    pub(crate) async fn bury(&self, bytes: &[u8], why: &MessageError) {
        self.inner.unreadable.fetch_add(1, Ordering::Relaxed);
        error!(reason = %why, bytes = bytes.len(), "unreadable message; see the dead-letter queue");
        let kept = &bytes[..bytes.len().min(self.inner.settings.message_max_bytes)];
        let mut headers = FieldTable::default();
        headers.insert("x-fleet-reason".into(), AMQPValue::LongString(why.to_string().as_str().into()));
        let properties = BasicProperties::default().with_headers(headers).with_delivery_mode(2);
        let buried = async {
            let channel = self.channel().await?;
            let options = BasicPublishOptions::default();
            channel.basic_publish(DEAD_EXCHANGE.into(), "".into(), options, kept, properties).await?.await?;
            channel.close(200, "buried".into()).await.map_err(BrokerError::from)
        };
        let ms = self.inner.settings.publish_timeout_ms;
        if let Err(error) = in_time(ms, buried).await.and_then(|done| done) {
            warn!(%error, "an unreadable message could not be dead-lettered");
        }
    }

    /// Number of messages in the dead-letter queue.
    ///
    /// # Errors
    /// [`BrokerError`] when RabbitMQ is unavailable.
    pub async fn dead_letters(&self) -> Result<u32, BrokerError> {
        let channel = self.channel().await?;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare(DEAD_LETTER_QUEUE.into(), options, FieldTable::default());
        let queue = self.rpc(declared).await?;
        self.rpc(channel.close(200, "counted".into())).await?;
        Ok(queue.message_count())
    }
}
