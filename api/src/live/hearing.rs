//! Receives the fleet's messages and passes them to the tail.

use broker::{Broker, FleetEvent};
use store::Store;
use tokio_util::sync::CancellationToken;

use super::Tail;
use super::senders::{Seen, Senders};

impl Tail {
    /// Starts receiving. A change of state only wakes the reader, which then reads the events from the database, in order.
    pub(crate) fn hear(&self, broker: &Broker, store: Store, stop: CancellationToken) {
        let tail = self.clone();
        let mut events = broker.events();
        let senders = Senders::start(broker.user(), store, tail.clone());
        tokio::spawn(async move {
            loop {
                let received = tokio::select! {
                    () = stop.cancelled() => return,
                    received = events.next_signed() => received,
                };
                let user = received.user.as_deref();
                match received.event {
                    FleetEvent::Job(_) => tail.wake(),
                    FleetEvent::Progress(progress) => {
                        senders.admit(user, Seen::Progress(progress)).into_iter().for_each(|seen| seen.show(&tail));
                    }
                    FleetEvent::Preview(preview) => {
                        senders.admit(user, Seen::Preview(preview)).into_iter().for_each(|seen| seen.show(&tail));
                    }
                    FleetEvent::CancelRequested { .. } | FleetEvent::WorkerChanged { .. } => {}
                }
            }
        });
    }
}
