//! Videos that are written and uploaded while the model works on the next job.
//!
//! # What a slot is
//! A worker has one slot: the use of its model. Jobs that are rendered together occupy it together. A job occupies it from its
//! claim until its frames have left the model and one of the `worker.deliveries_max` places for deliveries is free. From then on
//! the job has its lease and a place here, but not the slot: the worker consumes again, and the scheduler, which counts rows,
//! leaves out running jobs in stage `deliver`. When all places are taken the finished job keeps the slot, so a slow object store
//! slows the worker down and does not fill its memory with frames.
//!
//! Every delivery ends its own job under its own lease: a cancel, a drain or a lost lease stops one delivery, and the job that
//! has the model by then does not notice.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tracing::error;

use super::Fleet;
use super::heart::HeldLease;

/// The deliveries of a worker.
pub(super) struct Deliveries {
    /// None where every delivery keeps the slot.
    places: Option<Arc<Semaphore>>,
    running: Mutex<JoinSet<()>>,
}

/// Room for one delivery beside the model's work.
pub(super) struct Place(OwnedSemaphorePermit);

impl Deliveries {
    pub(super) fn new(max: u32) -> Self {
        let places = (max > 0).then(|| Arc::new(Semaphore::new(max as usize)));
        Self { places, running: Mutex::default() }
    }

    /// Waits for a place. None where there are no places, and when the job is interrupted meanwhile: then it keeps the slot to its
    /// end.
    pub(super) async fn place(&self, lease: &HeldLease) -> Option<Place> {
        let places = Arc::clone(self.places.as_ref()?);
        tokio::select! {
            place = places.acquire_owned() => place.ok().map(Place),
            _ = lease.until_interrupted() => None,
        }
    }

    /// Runs a delivery to its end beside everything else.
    pub(super) fn begin(&self, fleet: &Arc<Fleet>, place: Place, delivery: impl Future<Output = ()> + Send + 'static) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = running.try_join_next() {
            report(ended);
        }
        let fleet = Arc::clone(fleet);
        running.spawn(async move {
            fleet.metrics.deliveries.inc();
            delivery.await;
            fleet.metrics.deliveries.dec();
            drop(place.0);
        });
    }

    /// Resolves when every delivery has ended.
    pub(super) async fn finished(&mut self) {
        let running = self.running.get_mut().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = running.join_next().await {
            report(ended);
        }
    }
}

/// A delivery that panicked has dropped its lease, so the sweep finds its job.
fn report(ended: Result<(), JoinError>) {
    if let Err(panic) = ended {
        error!(error = %panic, "a delivery ended unexpectedly; its job's lease will run out");
    }
}
