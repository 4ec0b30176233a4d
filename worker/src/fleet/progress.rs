//! Reports a run's progress: often as events, seldom to the row. The run never waits for it.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use broker::FleetEvent;
use domain::{Progress, Stage};
use store::StoreError;
use store::leases::ProgressMark;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use super::assignment::Assignment;
use super::checkpoints::Uploads;
use super::{Fleet, checkpoints, preview};
use crate::engine::{PreviewFrames, RenderEvent};

/// The row is updated this many times less often than events are published.
const ROW_EVERY: u32 = 4;

/// What the renderer has reported so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Steps taken over from a checkpoint.
    pub(super) resumed_from: Option<u32>,
    /// Why a checkpoint was not used.
    pub(super) restarted_because: Option<String>,
}

/// A run that was followed to the end of its rendering.
pub(super) struct Followed {
    /// For the stages after it.
    pub(super) follower: Follower,
    /// What the renderer said.
    pub(super) seen: Seen,
    /// Checkpoints that are not stored yet.
    pub(super) uploads: Uploads,
}

/// Something done at most once in a while. What came too early stays owed, so that a step that takes minutes is not preceded by
/// minutes of an older number.
#[derive(Debug, Default)]
struct Paced {
    last: Option<Instant>,
    owed: bool,
}

impl Paced {
    fn now() -> Self {
        Self { last: Some(Instant::now()), owed: false }
    }

    fn due(&self, every: Duration) -> Option<Instant> {
        self.owed.then(|| self.last.map_or_else(Instant::now, |last| last + every))
    }
}

/// Follows one run.
pub(super) struct Follower {
    fleet: Arc<Fleet>,
    job: Assignment,
    mark: ProgressMark,
    told: Paced,
    written: Paced,
    remaining_s: Option<f64>,
}

impl Follower {
    pub(super) fn new(fleet: &Arc<Fleet>, job: &Assignment) -> Self {
        // A resumed run begins where its checkpoint was taken, unless that turns out to be of no use.
        let step = job.job.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.step);
        let mark = ProgressMark { stage: Stage::Prepare, step, steps_skipped: 0 };
        Self {
            fleet: Arc::clone(fleet),
            job: job.clone(),
            mark,
            told: Paced::default(),
            written: Paced::default(),
            remaining_s: None,
        }
    }

    /// The run begins with the first step.
    pub(super) fn begin_anew(&mut self) {
        self.mark.step = 0;
    }

    /// A new stage is always reported, to the row too.
    pub(super) async fn stage(&mut self, stage: Stage) {
        self.mark.stage = stage;
        self.job.trace.stage(stage);
        self.tell();
        self.write().await;
    }

    /// Follows the renderer's events to their end; checkpoints are uploaded beside the run, and the last ones may still be on
    /// their way when this returns.
    pub(super) async fn follow(mut self, mut events: mpsc::UnboundedReceiver<RenderEvent>) -> Followed {
        let mut seen = Seen::default();
        let mut showing: Option<tokio::task::JoinHandle<()>> = None;
        let mut uploads = Uploads::new(&self.fleet, self.job.lease);
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = self.until_due() => {
                    self.report().await;
                    continue;
                }
            };
            let Some(event) = event else { break };
            match event {
                RenderEvent::Started { resumed_from, restarted_because } => {
                    self.mark.step = resumed_from;
                    self.job.trace.steps_from(resumed_from);
                    seen.resumed_from = (resumed_from > 0).then_some(resumed_from);
                    if let Some(why) = &restarted_because {
                        warn!(job.id = %self.job.job.id, why, "checkpoint not used; starting from step 0");
                        checkpoints::discard(&self.fleet, self.job.lease).await;
                    }
                    seen.restarted_because = restarted_because;
                }
                RenderEvent::Step { step, skipped, remaining_s, members } => {
                    self.fleet.metrics.step_taken(members);
                    (self.mark.step, self.mark.steps_skipped, self.remaining_s) = (step, skipped, remaining_s);
                    self.job.trace.step(step, skipped);
                    (self.told.owed, self.written.owed) = (true, true);
                    self.report().await;
                }
                RenderEvent::Checkpoint { step, bytes } => uploads.push(step, bytes),
                RenderEvent::Preview { step, frames, seconds } => {
                    self.fleet.metrics.preview_seconds.inc_by(seconds);
                    // One that is still on its way is not overtaken: the next preview will be newer still.
                    if showing.as_ref().is_none_or(tokio::task::JoinHandle::is_finished) {
                        showing = Some(self.show(step, frames));
                    }
                }
                RenderEvent::Decoding => {
                    self.remaining_s = None;
                    self.stage(Stage::Decode).await;
                }
                RenderEvent::Interpolating => self.stage(Stage::Interpolate).await,
            }
            uploads.go_on();
        }
        self.job.trace.end_stage();
        Followed { follower: self, seen, uploads: uploads.with_preview(showing) }
    }

    fn show(&self, step: u32, frames: PreviewFrames) -> tokio::task::JoinHandle<()> {
        let (fleet, job) = (Arc::clone(&self.fleet), self.job.clone());
        tokio::spawn(async move {
            if let Err(error) = preview::show(&fleet, &job, step, frames).await {
                debug!(job.id = %job.job.id, error = format!("{error:#}"), "preview not shown");
            }
        })
    }

    /// Waits until the next report that is still owed may be made; for ever if none is.
    async fn until_due(&self) {
        let every = self.fleet.progress_every;
        let next = self.told.due(every).into_iter().chain(self.written.due(every * ROW_EVERY)).min();
        match next {
            Some(at) => sleep_until(at).await,
            None => pending().await,
        }
    }

    /// Makes the reports that are due.
    async fn report(&mut self) {
        let every = self.fleet.progress_every;
        let has_come = |at: Option<Instant>| at.is_some_and(|at| at <= Instant::now());
        if has_come(self.told.due(every)) {
            self.tell();
        }
        if has_come(self.written.due(every * ROW_EVERY)) {
            self.write().await;
        }
    }

    fn tell(&mut self) {
        self.told = Paced::now();
        self.fleet.metrics.alive();
        self.fleet.broker.tell(FleetEvent::Progress(Progress {
            job_id: self.job.job.id,
            tenant_id: self.job.job.tenant_id,
            stage: self.mark.stage,
            step: self.mark.step,
            steps: self.job.plan.steps,
            skipped: self.mark.steps_skipped,
            remaining_s: self.remaining_s,
        }));
    }

    async fn write(&mut self) {
        self.written = Paced::now();
        // Progress is for people; the heartbeat notices a lost lease.
        if let Err(error) = self.fleet.store.progress(self.job.lease, self.mark).await {
            self.fleet.metrics.stale_writes.inc_by(u64::from(matches!(error, StoreError::LeaseLost { .. })));
            debug!(job.id = %self.job.job.id, %error, "progress not written");
        }
    }
}
