//! The end of a draft: its checkpoint and preview are stored, it is measured, and the job waits without this worker.

use domain::{DraftRecord, Failure, JobStatus};
use tracing::{info, warn};

use super::assignment::Assignment;
use super::{Fleet, checkpoints, lasting, preview};
use crate::engine::Paused;
use crate::measure::measure;

/// Stores a draft and pauses its job; returns the job's new state. The checkpoint comes first: a job never waits without the
/// work that it has done.
///
/// # Errors
/// The checkpoint could not be stored, which another attempt may do; inside, the error of the pause itself.
pub(super) async fn pause(
    fleet: &Fleet,
    job: &Assignment,
    draft: Paused,
    gpu_seconds: f64,
) -> Result<anyhow::Result<JobStatus>, Failure> {
    let step = draft.step;
    let scores = draft.preview.as_ref().map(measure);
    if let Err(error) = checkpoints::store(fleet, job.lease, step, draft.checkpoint).await {
        let reason = format!("the draft could not be stored: {error:#}");
        return Err(Failure { code: "storage_failed".to_owned(), reason });
    }
    if let Some(frames) = draft.preview
        && let Err(error) = preview::show(fleet, job, step, frames).await
    {
        warn!(job.id = %job.job.id, error = format!("{error:#}"), "the draft has no preview");
    }
    let total_s = job.gpu_seconds_before + gpu_seconds;
    let cost_usd = optimizer::price_usd(total_s, fleet.gpu_hour_usd);
    let record = DraftRecord { step, scores, gpu_seconds: total_s, cost_usd };
    let paused = lasting::write(fleet, "pause the job", || fleet.store.pause(job.lease, &record, gpu_seconds)).await;
    Ok(paused.map(|ended| {
        info!(job.id = %job.job.id, status = %ended.status, step, ?scores, "draft finished");
        fleet.metrics.unfinished("drafted", &job.plan);
        ended.status
    }))
}
