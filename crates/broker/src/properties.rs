//! The AMQP properties of our messages.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

use crate::messages::{Envelope, Message};

/// The same, signed with the user of the connection. RabbitMQ refuses a message that is signed with another name.
pub(crate) fn signed<M: Message>(envelope: &Envelope<M>, user: &str) -> BasicProperties {
    properties(envelope).with_user_id(user.into())
}

/// Type and id of the message, and the trace that it belongs to.
pub(crate) fn properties<M: Message>(envelope: &Envelope<M>) -> BasicProperties {
    let mut properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_type(M::TYPE.into())
        .with_message_id(envelope.id.to_string().into());
    if let Some(traceparent) = &envelope.traceparent {
        let mut headers = FieldTable::default();
        headers.insert("traceparent".into(), AMQPValue::LongString(traceparent.as_str().into()));
        properties = properties.with_headers(headers);
    }
    properties
}
