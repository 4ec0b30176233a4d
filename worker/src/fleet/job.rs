//! One job on this worker, from the claim to the row's next state.
//!
//! It has two halves. [`render`] needs the model: prepare, encode, denoise, decode. [`finish`] does not: [`Deliveries`] runs it
//! beside the next job. Whatever happens, exactly one of the ends at the bottom is written, under the lease; a lease
//! that is lost is left alone.

use std::sync::Arc;
use std::time::Instant;

use broker::FleetEvent;
use domain::{
    Clock, EventCursor, Failure, FailureAction, JobEvent, JobEventKind, JobStatus, Rendered, Reproduction, RunRecord,
    Stage, StageSeconds, SystemClock,
};

use tokio::sync::mpsc;
use tracing::{Instrument as _, error, info, warn};

use super::assignment::{Assignment, Ended};
use super::checkpoints::Uploads;
use super::deliver::{Delivered, deliver};
use super::deliveries::Deliveries;
use super::embeddings::{self, Text};
use super::heart::{HeldLease, Interrupt};
use super::order::order;
use super::progress::{Followed, Follower, Seen};
use super::record::{Measured, identity, record};
use super::slot::{Charge, Occupied};
use super::{Fleet, checkpoints, lasting, loras, pause, picture, watch};
use crate::engine::{Control, NOT_FINITE, Paused, RenderedFrames};

/// Failure code of a job under which devices keep failing.
const DEVICE_BROKEN: &str = "device_broken";
/// Devices that may fail under a job before this costs it attempts. Too few: a job pays for two faulty machines; too many:
/// a job that makes devices fail takes down that many workers before it fails.
const FREE_DEVICE_FAULTS: i32 = 3;
/// Attempts of a job whose result was not finite.
const NOT_FINITE_ATTEMPTS: i32 = 2;

/// Runs a claimed job until it does not need the worker's slot any more: to its end, or until `deliveries` has its video.
/// `sent_at` is when the claim was sent: the lease counts from there.
pub(super) async fn run(fleet: &Arc<Fleet>, job: Assignment, sent_at: Instant, deliveries: &Deliveries) {
    let control = Control::new();
    let limit = fleet.run_limit.of(job.plan.estimate_s);
    let lease = fleet.heart.hold(job.lease, &control, sent_at, limit);
    job.trace.waited(fleet, &job.job, job.lease);
    let slot = fleet.slot.enter();
    info!(job.id = %job.job.id, attempt = job.job.attempts_total, steps = job.plan.steps, tier = %job.plan.tier, "job claimed");
    let rendered = tokio::select! {
        rendered = Box::pin(render(fleet, &job, &lease, &control)) => rendered,
        () = hung(fleet, &lease) => Err(Ended::Interrupted { checkpoint: None }),
    };
    let video = match rendered {
        Ok(video) => video,
        Err(ended) => return end(fleet, &job, &lease, Err(ended), slot.charge().seconds).await,
    };
    let Some(place) = deliveries.place(&lease).await else {
        let done = delivered(fleet, &job, &lease, video, Place::Slot(&slot)).await;
        return end(fleet, &job, &lease, done, slot.charge().seconds).await;
    };
    let charge = slot.leave();
    lease.leave_slot();
    let its_fleet = Arc::clone(fleet);
    let delivery = async move {
        let done = delivered(&its_fleet, &job, &lease, video, Place::Beside(charge)).await;
        end(&its_fleet, &job, &lease, done, charge.seconds).await;
    };
    deliveries.begin(fleet, place, delivery.in_current_span());
}

/// Writes how the run ended. `gpu_seconds` is how long it occupied the slot.
async fn end(fleet: &Arc<Fleet>, job: &Assignment, lease: &HeldLease, outcome: Result<Done, Ended>, gpu_seconds: f64) {
    let ended = match outcome {
        Ok(done) => complete(fleet, job, done).await,
        Err(Ended::Interrupted { checkpoint }) => interrupted(fleet, job, lease, checkpoint, gpu_seconds).await,
        Err(Ended::Paused(draft)) => paused(fleet, job, lease, *draft, gpu_seconds).await,
        Err(Ended::DeviceBroken { reason }) => device_broken(fleet, job, reason, gpu_seconds).await,
        Err(Ended::Failed { failure, action }) => fail(fleet, job, failure, action, gpu_seconds).await,
    };
    match ended {
        Ok(Some(status)) => {
            job.trace.end(status.as_str());
            tell(fleet, job, status);
        }
        Ok(None) => job.trace.end("lease_lost"),
        // The sweep finds the row after the lease has expired.
        Err(error) => {
            job.trace.end("not_recorded");
            warn!(job.id = %job.job.id, error = format!("{error:#}"), "the end of the run could not be recorded");
        }
    }
}

/// Resolves when the run was told to stop and did not. Each part has time limits of its own; this one is for what they do not
/// cover, such as a local disk that hangs. A thread that hangs cannot be ended, so the worker leaves once the job that has the model
/// by then is done.
async fn hung(fleet: &Fleet, lease: &HeldLease) {
    let why = lease.until_interrupted().await;
    tokio::time::sleep(fleet.heart.patience()).await;
    error!(job.id = %lease.job_id(), ?why, "the run did not stop when requested; leaving");
    fleet.leave("a run hung outside the model");
}

/// Finishes a video, unless that hangs.
async fn delivered(
    fleet: &Arc<Fleet>,
    job: &Assignment,
    lease: &HeldLease,
    video: Video,
    place: Place<'_>,
) -> Result<Done, Ended> {
    tokio::select! {
        done = Box::pin(finish(fleet, job, lease, video, place)) => done,
        () = hung(fleet, lease) => Err(Ended::Interrupted { checkpoint: None }),
    }
}

/// Frames that wait for their delivery, and what is known of their making.
struct Video {
    frames: RenderedFrames,
    text: Text,
    /// Hash of all embeddings that were used.
    embeddings: String,
    encode_s: f64,
    follower: Follower,
    seen: Seen,
    uploads: Uploads,
}

/// A delivered video and its record.
struct Done {
    rendered: Rendered,
    record: RunRecord,
}

async fn render(fleet: &Arc<Fleet>, job: &Assignment, lease: &HeldLease, control: &Control) -> Result<Video, Ended> {
    let begun = Instant::now();
    let mut follower = Follower::new(fleet, job);
    follower.stage(Stage::Prepare).await;
    let start = tokio::select! {
        start = checkpoints::fetch(fleet, job) => start,
        _ = lease.until_interrupted() => return Err(Ended::Interrupted { checkpoint: None }),
    };
    if start.bytes.is_none() {
        follower.begin_anew();
    }
    let first_frame = picture::fetch(fleet, job, lease).await?;
    let loras = loras::fetch(fleet, job, lease).await?;
    loras::report(fleet, job.job.request.adapters_key(), !loras.is_empty()).await;
    follower.stage(Stage::Encode).await;
    let text = embeddings::find(fleet, job, lease, control).await?;
    let negative = embeddings::negative(fleet, job, lease, control).await?;
    let fingerprint = embeddings::fingerprint(&text, negative.as_ref());
    let encode_s = begun.elapsed().as_secs_f64();

    follower.stage(Stage::Denoise).await;
    let mut order = order(fleet, job, &text, negative, start.bytes);
    (order.loras, order.first_frame) = (loras, first_frame);
    let (events, heard) = mpsc::unbounded_channel();
    let following = tokio::spawn(follower.follow(heard).in_current_span());
    let rendered = watch::answer(fleet, lease, fleet.engine.render(order, control, events)).await;
    let lost = lease.interrupted() == Some(Interrupt::LeaseLost);
    if lost || !fleet.engine.is_alive() {
        // Either its writes would be refused, or no further event will follow.
        following.abort();
    }
    let followed = following.await;
    let frames = match rendered {
        Ok(frames) if !lost => frames,
        Ok(_) => return Err(Ended::Interrupted { checkpoint: None }),
        Err(ended) => {
            if ended.is_failure("invalid_lora") {
                // After such an error the weights are the model's own.
                loras::report(fleet, String::new(), false).await;
            }
            if let Ok(followed) = followed {
                // The row must point to the newest one before the job goes elsewhere.
                followed.uploads.finish().await;
            }
            return Err(ended);
        }
    };
    let Ok(Followed { follower, mut seen, uploads }) = followed else {
        return Err(Ended::failed("worker_broken", "progress could not be followed".to_owned(), FailureAction::Retry));
    };
    seen.restarted_because = seen.restarted_because.or(start.dropped_because);
    Ok(Video { frames, text, embeddings: fingerprint, encode_s, follower, seen, uploads })
}

/// Where a video is delivered.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// In the worker's slot, which the job still occupies.
    Slot(&'a Occupied),
    /// Beside the jobs that have the slot now; this was charged for it.
    Beside(Charge),
}

/// From frames to a delivered video.
async fn finish(
    fleet: &Arc<Fleet>,
    job: &Assignment,
    lease: &HeldLease,
    video: Video,
    place: Place<'_>,
) -> Result<Done, Ended> {
    let Video { frames, text, embeddings, encode_s, mut follower, seen, uploads } = video;
    follower.stage(Stage::Deliver).await;
    let measured = Measured::of(&frames);
    let delivering = async {
        let begun = Instant::now();
        let rendered = deliver(fleet, job, frames, lease).await;
        (rendered, begun.elapsed().as_secs_f64())
    };
    let ((rendered, deliver_s), ()) = tokio::join!(delivering, stored(uploads, lease));
    let Delivered { rendered, frames, video_sha256 } = rendered?;
    let stages = StageSeconds {
        encode_s,
        adapters_s: measured.adapters_s,
        denoise_s: measured.denoise_s,
        decode_s: measured.decode_s,
        interpolate_s: measured.interpolation.as_ref().map_or(0.0, |done| done.seconds),
        deliver_s,
    };
    let (beside, charge) = match place {
        Place::Slot(slot) => (false, slot.charge()),
        Place::Beside(charge) => (true, charge),
    };
    // Its stages include waits for the others where it was not alone.
    let gpu_s = match charge.shared {
        true => charge.seconds,
        false => stages.total_s() - if beside { deliver_s } else { 0.0 },
    };
    let mut record = record(fleet, job, &text, measured, stages, (seen, gpu_s));
    record.reproduction = Some(Reproduction {
        worker: identity(fleet, record.batch.is_some()),
        embeddings,
        encoder: fleet.encoder.get().cloned().unwrap_or_default(),
        frames,
        video_sha256,
    });
    Ok(Done { rendered, record })
}

/// Resolves when the last checkpoints are stored. A cancelled or lost job does not need them.
async fn stored(uploads: Uploads, lease: &HeldLease) {
    let finish = uploads.finish();
    tokio::pin!(finish);
    tokio::select! {
        () = &mut finish => {}
        why = lease.until_interrupted() => {
            if !matches!(why, Interrupt::Cancelled | Interrupt::LeaseLost) {
                finish.await;
            }
        }
    }
}

async fn complete(fleet: &Arc<Fleet>, job: &Assignment, done: Done) -> anyhow::Result<Option<JobStatus>> {
    let (rendered, record) = (&done.rendered, &done.record);
    let ended = lasting::write(fleet, "complete the job", || fleet.store.complete(job.lease, rendered, record)).await?;
    if ended.status == JobStatus::Cancelled {
        // The job was cancelled first, so the row points to neither object.
        checkpoints::remove(fleet, &rendered.video_key).await;
        checkpoints::remove(fleet, &rendered.poster_key).await;
    }
    if let Some(old) = &ended.drop {
        checkpoints::remove(fleet, old).await;
    }
    info!(
        job.id = %job.job.id, status = %ended.status, run_s = record.stages.total_s(), steps = job.plan.steps,
        steps_skipped = record.steps_skipped, complexity = %job.plan.complexity, tier = %job.plan.tier,
        cache = %record.cache_match, saved_s = record.saved_s, "Optimization: job finished",
    );
    fleet.metrics.finished(ended.status, &job.plan, record, job.job.shape.duration_s());
    Ok(Some(ended.status))
}

/// A draft that came to its end; what stops the worker at that moment goes first.
async fn paused(
    fleet: &Arc<Fleet>,
    job: &Assignment,
    lease: &HeldLease,
    draft: Paused,
    gpu_seconds: f64,
) -> anyhow::Result<Option<JobStatus>> {
    if lease.interrupted().is_some() {
        return interrupted(fleet, job, lease, Some((draft.step, draft.checkpoint)), gpu_seconds).await;
    }
    match pause::pause(fleet, job, draft, gpu_seconds).await {
        Ok(paused) => paused.map(Some),
        Err(failure) => fail(fleet, job, failure, FailureAction::Retry, gpu_seconds).await,
    }
}

async fn interrupted(
    fleet: &Arc<Fleet>,
    job: &Assignment,
    lease: &HeldLease,
    checkpoint: Option<(u32, Vec<u8>)>,
    gpu_seconds: f64,
) -> anyhow::Result<Option<JobStatus>> {
    let id = job.job.id;
    match lease.interrupted() {
        Some(Interrupt::Cancelled) => {
            let ended = lasting::write(fleet, "stop the job", || fleet.store.stopped(job.lease, gpu_seconds)).await?;
            info!(job.id = %id, "job cancelled");
            fleet.metrics.unfinished("cancelled", &job.plan);
            Ok(Some(ended.status))
        }
        Some(Interrupt::Draining | Interrupt::Preempted) | None => {
            if let Some((step, bytes)) = checkpoint
                // Without the checkpoint the job only starts further back, so a failure here must not stop the hand-back.
                && let Err(error) = checkpoints::store(fleet, job.lease, step, bytes).await
            {
                warn!(job.id = %id, error = format!("{error:#}"), "last checkpoint not stored");
            }
            let ended =
                lasting::write(fleet, "hand the job back", || fleet.store.hand_back(job.lease, gpu_seconds)).await?;
            fleet.metrics.handed_back.inc();
            fleet.metrics.unfinished("handed_back", &job.plan);
            info!(job.id = %id, status = %ended.status, "job handed back");
            Ok(Some(ended.status))
        }
        Some(Interrupt::LeaseLost) => {
            fleet.metrics.leases_lost.inc();
            fleet.metrics.unfinished("lease_lost", &job.plan);
            warn!(job.id = %id, "lease lost; the job goes on elsewhere");
            Ok(None)
        }
        Some(Interrupt::Stalled) => {
            let failure = Failure {
                code: "worker_stalled".to_owned(),
                reason: "the worker's device stopped making progress; another worker will take the job".to_owned(),
            };
            fail(fleet, job, failure, FailureAction::Retry, gpu_seconds).await
        }
        Some(Interrupt::TooLong) => {
            let limit_s = fleet.run_limit.of(job.plan.estimate_s).unwrap_or_default().as_secs_f64();
            let reason = format!(
                "the run was stopped after {limit_s:.0} s, although it was estimated to take {:.0} s",
                job.plan.estimate_s
            );
            let failure = Failure { code: "run_too_long".to_owned(), reason };
            fail(fleet, job, failure, FailureAction::Retry, gpu_seconds).await
        }
    }
}

/// The job goes elsewhere and the worker leaves: what broke the device mostly stays until the process ends, so that every
/// further job would fail at once. The first few times cost the job no attempt; a job under which devices keep breaking
/// may be what breaks them.
async fn device_broken(
    fleet: &Arc<Fleet>,
    job: &Assignment,
    reason: String,
    gpu_seconds: f64,
) -> anyhow::Result<Option<JobStatus>> {
    error!(job.id = %job.job.id, reason, "the device is broken; leaving");
    fleet.engine.give_up();
    fleet.leave(&reason);
    fleet.metrics.failures.with_label_values(&[DEVICE_BROKEN]).inc();
    let faults =
        lasting::write(fleet, "count the device's fault", || fleet.store.count_device_fault(job.lease)).await?;
    if faults > FREE_DEVICE_FAULTS {
        let failure = Failure { code: DEVICE_BROKEN.to_owned(), reason };
        return fail(fleet, job, failure, FailureAction::Retry, gpu_seconds).await;
    }
    let ended = lasting::write(fleet, "hand the job back", || fleet.store.hand_back(job.lease, gpu_seconds)).await?;
    fleet.metrics.unfinished("handed_back", &job.plan);
    info!(job.id = %job.job.id, status = %ended.status, faults, "job handed back by a broken device");
    Ok(Some(ended.status))
}

async fn fail(
    fleet: &Arc<Fleet>,
    job: &Assignment,
    failure: Failure,
    action: FailureAction,
    gpu_seconds: f64,
) -> anyhow::Result<Option<JobStatus>> {
    warn!(job.id = %job.job.id, code = failure.code, reason = failure.reason, "run failed");
    job.trace.fail(&failure.code);
    fleet.metrics.failures.with_label_values(&[failure.code.as_str()]).inc();
    fleet.metrics.unfinished("failed", &job.plan);
    let mut retries = fleet.retries;
    if failure.code == NOT_FINITE {
        // The same weights usually give the same values.
        retries.limits.attempts_max = retries.limits.attempts_max.min(NOT_FINITE_ATTEMPTS);
    }
    let write = || fleet.store.fail(job.lease, &failure, action, retries, gpu_seconds);
    let ended = lasting::write(fleet, "record the failure", write).await?;
    info!(job.id = %job.job.id, status = %ended.status, "failure recorded");
    Ok(Some(ended.status))
}

/// Publishes that the row has changed; listeners read its new state there.
fn tell(fleet: &Fleet, job: &Assignment, status: JobStatus) {
    let kind = match status {
        JobStatus::Completed => JobEventKind::Completed,
        JobStatus::Failed => JobEventKind::Failed,
        JobStatus::Cancelled => JobEventKind::Cancelled,
        JobStatus::Drafted => JobEventKind::Drafted,
        JobStatus::Queued | JobStatus::Scheduled | JobStatus::Running => JobEventKind::Queued,
    };
    fleet.broker.tell(FleetEvent::Job(JobEvent {
        job_id: job.job.id,
        tenant_id: job.job.tenant_id,
        cursor: EventCursor::default(),
        kind,
        detail: serde_json::Value::Null,
        at: SystemClock.now(),
    }));
}
