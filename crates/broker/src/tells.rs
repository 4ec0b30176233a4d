//! Publishes events without a confirm, in the background.

use domain::{Clock, SystemClock};
use lapin::Channel;
use lapin::options::BasicPublishOptions;
use settings::BrokerSettings;
use tokio::sync::mpsc;
use tracing::debug;

use crate::link::{Link, in_time};
use crate::messages::{Envelope, FleetEvent};
use crate::properties::{properties, signed};
use crate::topology::EVENTS_EXCHANGE;
use crate::user::user_of;

/// Publishes the events given to `Broker::tell` in order, without confirms. Waits while there is no connection; events that
/// exceed the buffer meanwhile are dropped before they get here.
pub(crate) async fn send_told(mut link: Link, settings: BrokerSettings, mut waiting: mpsc::Receiver<FleetEvent>) {
    let mut channel: Option<Channel> = None;
    let user = user_of(&settings);
    while let Some(event) = waiting.recv().await {
        let changed = link.has_changed().unwrap_or(true);
        if changed || channel.as_ref().is_none_or(|open| !open.status().connected()) {
            channel = None;
            let Ok(connection) = link.wait_for(Option::is_some).await.map(|connected| connected.clone()) else {
                return;
            };
            let Some(connection) = connection else { continue };
            channel = in_time(settings.rpc_timeout_ms, connection.create_channel()).await.ok().and_then(Result::ok);
        }
        let Some(open) = &channel else { continue };
        let key = event.routing_key();
        let envelope = Envelope::new(event, SystemClock.now(), None);
        let Ok(bytes) = envelope.encode(settings.message_max_bytes) else { continue };
        let options = BasicPublishOptions::default();
        let properties = if user.is_empty() { properties(&envelope) } else { signed(&envelope, &user) };
        let publish = open.basic_publish(EVENTS_EXCHANGE.into(), key.into(), options, &bytes, properties);
        if let Err(error) =
            in_time(settings.publish_timeout_ms, publish).await.and_then(|sent| sent.map_err(Into::into))
        {
            debug!(%error, "event not published");
            channel = None;
        }
    }
}
