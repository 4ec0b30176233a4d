//! A round: plan what has no plan, release what has room. Begun by the doorbell, by an event of a worker, or by the clock.

use std::time::{Duration, Instant};

use domain::{Clock, SystemClock};
use store::{Epoch, StoreError};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::state::Scheduler;

/// Bells within this time after a round are answered together by the next one.
const BREATH: Duration = Duration::from_millis(2);

/// Rounds until the leadership is over.
pub(crate) async fn run(scheduler: &Scheduler, epoch: Epoch, over: &CancellationToken) {
    let mut bells = scheduler.broker.doorbells();
    let mut events = scheduler.broker.events();
    let poll = Duration::from_millis(scheduler.settings.scheduler.poll_ms.max(1));
    while !over.is_cancelled() {
        let begun = Instant::now();
        match round(scheduler, epoch).await {
            Ok(()) => {
                scheduler.metrics.round_seconds.observe(begun.elapsed().as_secs_f64());
                #[expect(clippy::cast_precision_loss, reason = "a timestamp in seconds")]
                scheduler.metrics.last_round_timestamp_seconds.set(SystemClock.now().timestamp() as f64);
            }
            Err(StoreError::NotLeader { .. }) => return over.cancel(),
            Err(error) => warn!(%error, "round not finished; the next one goes on"),
        }
        tokio::time::sleep(BREATH).await;
        tokio::select! {
            () = over.cancelled() => {}
            () = bells.ring() => {}
            () = until_room(&mut events) => {}
            () = tokio::time::sleep(poll) => {}
        }
    }
}

async fn round(scheduler: &Scheduler, epoch: Epoch) -> Result<(), StoreError> {
    let planned = scheduler.plan_waiting(epoch).await?;
    let released = scheduler.dispatch(epoch).await?;
    if planned + released > 0 {
        debug!(planned, released, "round");
    }
    Ok(())
}

/// Resolves when something was told that may have made room: a job ended, a worker came or went.
async fn until_room(events: &mut broker::EventStream) {
    loop {
        match events.next().await {
            broker::FleetEvent::Job(event)
                if event.kind.is_terminal() || event.kind == domain::JobEventKind::Queued =>
            {
                return;
            }
            broker::FleetEvent::WorkerChanged { .. } => return,
            _ => {}
        }
    }
}
