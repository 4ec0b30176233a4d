//! Receives the fleet's messages and passes them to the tail.

use broker::{EventStream, FleetEvent};
use tokio_util::sync::CancellationToken;

use super::Tail;

impl Tail {
    /// Starts receiving. A change of state only wakes the reader, which then reads the events from the database, in order.
    pub(crate) fn hear(&self, mut events: EventStream, stop: CancellationToken) {
        let tail = self.clone();
        tokio::spawn(async move {
            loop {
                let event = tokio::select! {
                    () = stop.cancelled() => return,
                    event = events.next() => event,
                };
                match event {
                    FleetEvent::Job(_) => tail.wake(),
                    FleetEvent::Progress(progress) => tail.progress(progress),
                    FleetEvent::Preview(preview) => tail.preview(preview),
                    FleetEvent::CancelRequested { .. } | FleetEvent::WorkerChanged { .. } => {}
                }
            }
        });
    }
}
