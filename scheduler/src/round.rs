//! Planning and releasing, side by side: a flood of submissions that are not planned yet must not leave workers idle.
//!
//! Planning starts on the doorbell, releasing on what makes room or brings work: a saved plan, a job that ended, a worker
//! that joined or left. Both also run on the clock, since every message may be lost.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use broker::FleetEvent;
use domain::{Clock, JobEventKind, SystemClock};
use store::{Epoch, StoreError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::state::Scheduler;
use crate::timing::pause;

/// Messages that arrive within this time after a round are handled together by the next one.
const BREATH: Duration = Duration::from_millis(2);

/// After a release round this many times its duration pass before the next one, up to [`REST_MAX`]. In a large fleet something makes room at
/// any moment; without a rest, rounds that release a job each would keep the database from the workers' own statements.
const REST: u32 = 3;
const REST_MAX: Duration = Duration::from_secs(1);

/// Time between two looks at the registered models.
const MODELS_EVERY: Duration = Duration::from_secs(3);

/// Plans and releases until the leadership is over.
pub(crate) async fn run(scheduler: &Scheduler, epoch: Epoch, over: &CancellationToken) {
    // Holds one permit however often it is notified, so a flood of events costs one round and no memory.
    let work = Notify::new();
    tokio::join!(
        hear(scheduler, &work, over),
        refresh_rounds(scheduler, over),
        plan_rounds(scheduler, epoch, &work, over),
        release_rounds(scheduler, epoch, &work, over)
    );
}

/// Reads events as fast as they arrive and notes when one may have made room.
async fn hear(scheduler: &Scheduler, work: &Notify, over: &CancellationToken) {
    let mut events = scheduler.broker.changes();
    loop {
        let event = tokio::select! {
            () = over.cancelled() => return,
            event = events.next() => event,
        };
        if may_make_room(&event) {
            work.notify_one();
        }
    }
}

fn may_make_room(event: &FleetEvent) -> bool {
    match event {
        FleetEvent::Job(event) => event.kind.is_terminal() || event.kind == JobEventKind::Queued,
        FleetEvent::WorkerChanged { .. } => true,
        FleetEvent::Progress(_) | FleetEvent::Preview(_) | FleetEvent::CancelRequested { .. } => false,
    }
}

/// Keeps the models up to date. [`Scheduler::plan_waiting`] plans for the last ones that could be read.
async fn refresh_rounds(scheduler: &Scheduler, over: &CancellationToken) {
    loop {
        if let Err(error) = scheduler.refresh_models().await {
            warn!(%error, "the registered models cannot be read; planning continues with those known before");
        }
        load_texts(scheduler).await;
        if !pause(MODELS_EVERY, over).await {
            return;
        }
    }
}

/// Loads the tokenizers of the models whose workers render several jobs at once.
async fn load_texts(scheduler: &Scheduler) {
    let folders = scheduler.settings.models.dirs.iter().map(PathBuf::as_path).zip(&scheduler.own_models);
    let models = scheduler.models();
    scheduler.texts.load_missing(models.values(), &folders.collect::<Vec<_>>(), &scheduler.artifacts).await;
}

async fn plan_rounds(scheduler: &Scheduler, epoch: Epoch, work: &Notify, over: &CancellationToken) {
    let mut bells = scheduler.broker.doorbells();
    let poll = poll(scheduler);
    while !over.is_cancelled() {
        match scheduler.plan_waiting(epoch, work).await {
            Ok(0) => {}
            Ok(planned) => debug!(planned, "planning round"),
            Err(StoreError::NotLeader { .. }) => return over.cancel(),
            Err(error) => warn!(%error, "planning round not finished; the next one continues"),
        }
        tokio::time::sleep(BREATH).await;
        tokio::select! {
            () = over.cancelled() => {}
            () = bells.ring() => {}
            () = tokio::time::sleep(poll) => {}
        }
    }
}

async fn release_rounds(scheduler: &Scheduler, epoch: Epoch, work: &Notify, over: &CancellationToken) {
    let poll = poll(scheduler);
    while !over.is_cancelled() {
        let begun = Instant::now();
        match scheduler.dispatch(epoch).await {
            Ok(released) => {
                scheduler.metrics.round_seconds.observe(begun.elapsed().as_secs_f64());
                #[expect(clippy::cast_precision_loss, reason = "a timestamp in seconds")]
                scheduler.metrics.last_round_timestamp_seconds.set(SystemClock.now().timestamp() as f64);
                if released > 0 {
                    debug!(released, "release round");
                }
            }
            Err(StoreError::NotLeader { .. }) => return over.cancel(),
            Err(error) => warn!(%error, "release round not finished; the next one continues"),
        }
        tokio::time::sleep((begun.elapsed() * REST).clamp(BREATH, REST_MAX)).await;
        tokio::select! {
            () = over.cancelled() => {}
            () = work.notified() => {}
            () = tokio::time::sleep(poll) => {}
        }
    }
}

fn poll(scheduler: &Scheduler) -> Duration {
    Duration::from_millis(scheduler.settings.scheduler.poll_ms.max(1))
}
