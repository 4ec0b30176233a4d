//! The spans of one run: its wait in the queue, the run itself, and inside it each stage, every ten steps and the upload.
//!
//! Nothing is recorded unless the job has a sampled `traceparent` and traces are on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use domain::{Job, Plan, Stage};
use store::Lease;
use telemetry::TraceSpan;
use tracing::debug;

use super::Fleet;

/// Steps that share a span.
const STEPS_OF_SPAN: u32 = 10;

/// The trace of one run. Cheap to clone; the default records nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct RunTrace {
    run: TraceSpan,
    now: Arc<Mutex<Now>>,
}

/// Where the run is.
#[derive(Debug, Default)]
struct Now {
    stage: TraceSpan,
    steps: Option<Steps>,
}

/// Steps that have no span yet.
#[derive(Debug)]
struct Steps {
    since: SystemTime,
    /// Steps before them, and how many of those were skipped.
    before: (u32, u32),
    /// The same with them.
    done: (u32, u32),
}

impl RunTrace {
    /// Begins the span of a run that has just been claimed.
    pub(super) fn begin(fleet: &Fleet, job: &Job, plan: &Plan) -> Self {
        let run = fleet.traces.child(job.traceparent.as_deref(), "run");
        if run.trace_id().is_some() {
            run.set("fleet.job.id", job.id.to_string());
            run.set("fleet.worker.id", fleet.worker_id.to_string());
            run.set("fleet.model", fleet.manifest.id.clone());
            run.set("fleet.attempt", i64::from(job.attempts_total));
            run.set("fleet.tier", plan.tier.as_str());
            run.set("fleet.steps", i64::from(plan.steps));
            run.set("fleet.estimate_s", plan.estimate_s);
        }
        Self { run, now: Arc::default() }
    }

    /// A span of the log that adds the trace's id to every line.
    pub(super) fn log_span(&self) -> tracing::Span {
        self.run.log_span()
    }

    /// Records the wait before this run, beside the run: the database is asked when the job joined the queue.
    pub(super) fn waited(&self, fleet: &Arc<Fleet>, job: &Job, lease: Lease) {
        if self.run.trace_id().is_none() {
            return;
        }
        let (fleet, parent, id) = (Arc::clone(fleet), job.traceparent.clone(), job.id);
        let attempt = i64::from(job.attempts_total);
        tokio::spawn(async move {
            let wait = match fleet.store.queue_wait(lease).await {
                Ok(Some(wait)) => wait,
                Ok(None) => return,
                Err(error) => return debug!(job.id = %id, %error, "the wait in the queue is not traced"),
            };
            let queue = fleet.traces.child_since(parent.as_deref(), "queue", wait.queued_at.into());
            queue.set("fleet.job.id", id.to_string());
            queue.set("fleet.attempt", attempt);
            if let Some(released_at) = wait.released_at {
                queue.event_at("released", released_at.into());
            }
            queue.end_at(wait.claimed_at.into());
        });
    }

    /// A new stage begins, and the one before ends.
    pub(super) fn stage(&self, stage: Stage) {
        let mut now = self.now();
        now.end_stage();
        now.stage = self.run.child(stage.as_str());
    }

    /// The current stage ends.
    pub(super) fn end_stage(&self) {
        self.now().end_stage();
    }

    /// Adds an attribute to the current stage.
    pub(super) fn note(&self, key: &'static str, value: &'static str) {
        self.now().stage.set(key, value);
    }

    /// A span inside the current stage.
    pub(super) fn inside(&self, name: &'static str) -> TraceSpan {
        self.now().stage.child(name)
    }

    /// Denoising continues after these steps.
    pub(super) fn steps_from(&self, step: u32) {
        self.now().steps = Some(Steps { since: SystemTime::now(), before: (step, 0), done: (step, 0) });
    }

    /// A step is done; `skipped` counts those that the step cache replaced.
    pub(super) fn step(&self, step: u32, skipped: u32) {
        let mut now = self.now();
        if let Some(steps) = &mut now.steps {
            steps.done = (step, skipped);
            if step.is_multiple_of(STEPS_OF_SPAN) {
                now.end_steps();
                now.steps = Some(Steps { since: SystemTime::now(), before: (step, skipped), done: (step, skipped) });
            }
        }
    }

    /// The run failed for this reason, whatever happens to the job.
    pub(super) fn fail(&self, reason: &str) {
        self.run.fail(reason);
    }

    /// The run ends; `outcome` is the state of the job after it.
    pub(super) fn end(&self, outcome: &'static str) {
        self.now().end_stage();
        self.run.set("fleet.outcome", outcome);
        self.run.end_at(SystemTime::now());
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Now {
    fn end_stage(&mut self) {
        self.end_steps();
        self.steps = None;
        self.stage = TraceSpan::default();
    }

    fn end_steps(&mut self) {
        let Some(Steps { since, before, done }) = self.steps.take() else { return };
        if done.0 > before.0 {
            let span = self.stage.child_since("steps", since);
            span.set("fleet.steps.first", i64::from(before.0) + 1);
            span.set("fleet.steps.last", i64::from(done.0));
            span.set("fleet.steps.skipped", i64::from(done.1.saturating_sub(before.1)));
        }
    }
}
