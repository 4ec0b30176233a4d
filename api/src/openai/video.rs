//! A job as OpenAI's `video` object; `GET` and `DELETE /v1/videos/{id}`.

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use domain::{Failure, Job, JobId, JobStatus, Origin, Plan};
use serde::Serialize;

use super::error::Refusal;
use crate::auth::Caller;
use crate::extract::JobPath;
use crate::problem::Problem;
use crate::routes::trash::delete_job;
use crate::state::{App, AppState};

/// How long OpenAI's clients wait before they ask again, milliseconds.
const POLL_AFTER: HeaderName = HeaderName::from_static("openai-poll-after-ms");
/// A client asks about ten times while it waits, but not more often than the first and not less often than the second, seconds.
const POLLS: f64 = 10.0;
const POLL_S: (f64, f64) = (0.25, 10.0);
/// The same while no estimate is known, seconds.
const POLL_UNKNOWN_S: f64 = 1.0;

/// A `video`. Fields that OpenAI's API does not have are below the line.
#[derive(Debug, Serialize)]
pub(super) struct Video {
    id: JobId,
    object: &'static str,
    /// Unix seconds.
    created_at: i64,
    completed_at: Option<i64>,
    expires_at: Option<i64>,
    status: &'static str,
    /// Percent.
    progress: u32,
    /// What is rendered, pixels.
    size: String,
    /// What was asked for; without that, the playback time, rounded.
    seconds: String,
    model: String,
    prompt: String,
    remixed_from_video_id: Option<JobId>,
    error: Option<VideoError>,
    // ------------------------------------------------------------------------------------------------------
    /// What was asked for.
    requested_size: String,
    /// Seconds of playback.
    duration_s: f64,
    num_frames: u32,
    fps: f64,
    #[serde(with = "domain::seed::optional")]
    seed: Option<u64>,
    /// Jobs that start before this one; null unless it waits and was asked for alone.
    queue_position: Option<i64>,
    /// Estimated seconds until it is completed; null when it has ended, waits as a draft, or nothing is known.
    remaining_s: Option<f64>,
    /// Seconds that the worker took; null until completed.
    inference_time_s: Option<f64>,
    /// US dollars; null until completed.
    cost_usd: Option<f64>,
}

#[derive(Debug, Serialize)]
struct VideoError {
    code: String,
    message: String,
}

impl Video {
    pub(super) fn new(job: Job, remaining_s: Option<f64>) -> Self {
        let status = job.status;
        let origin = job.origin.unwrap_or_default();
        let (shape, request) = (job.shape, job.request);
        let unix = |at: Option<chrono::DateTime<chrono::Utc>>| at.map(|at| at.timestamp());
        let waiting = matches!(status, JobStatus::Queued | JobStatus::Scheduled);
        Self {
            id: job.id,
            object: "video",
            created_at: job.created_at.timestamp(),
            completed_at: unix(job.finished_at).filter(|_| status == JobStatus::Completed),
            expires_at: None,
            status: word(status),
            progress: progress(status, job.step, job.plan.as_ref()),
            size: format!("{}x{}", shape.width, shape.height),
            seconds: seconds(&origin, shape.duration_s()),
            model: request.model.unwrap_or_default(),
            prompt: request.prompt,
            remixed_from_video_id: origin.remix_of,
            error: error(status, job.failure),
            requested_size: origin.asked_size.unwrap_or(request.video_size),
            duration_s: shape.duration_s(),
            num_frames: shape.frames,
            fps: shape.fps,
            seed: request.seed,
            queue_position: job.queue_position.filter(|_| waiting),
            remaining_s,
            inference_time_s: job.record.as_ref().map(|record| record.stages.total_s()),
            cost_usd: job.record.as_ref().map(|record| record.cost_usd),
        }
    }
}

/// OpenAI's four states. A cancelled job is a failed video, because clients wait for ever on a word that they do not know. A
/// draft, which only `/api` submits, has started and is not done.
fn word(status: JobStatus) -> &'static str {
    match status {
        JobStatus::Queued | JobStatus::Scheduled => "queued",
        JobStatus::Running | JobStatus::Drafted => "in_progress",
        JobStatus::Completed => "completed",
        JobStatus::Failed | JobStatus::Cancelled => "failed",
    }
}

/// Percent of the steps; 100 only when the video is there. It is also shown while a job waits for another attempt, which
/// continues from there.
fn progress(status: JobStatus, step: u32, plan: Option<&Plan>) -> u32 {
    match (status, plan) {
        (JobStatus::Completed, _) => 100,
        (_, Some(plan)) => (99 * u64::from(step) / u64::from(plan.steps.max(1))).min(99).try_into().unwrap_or(99),
        (_, None) => 0,
    }
}

fn seconds(origin: &Origin, duration_s: f64) -> String {
    let asked = origin.asked_seconds.map(|seconds| seconds.to_string());
    asked.unwrap_or_else(|| format!("{:.0}", duration_s.max(1.0)))
}

fn error(status: JobStatus, failure: Option<Failure>) -> Option<VideoError> {
    match status {
        JobStatus::Cancelled => {
            Some(VideoError { code: "cancelled".to_owned(), message: "the video was cancelled".to_owned() })
        }
        JobStatus::Failed => {
            let failure = failure.unwrap_or(Failure { code: "failed".to_owned(), reason: String::new() });
            Some(VideoError { code: failure.code, message: failure.reason })
        }
        JobStatus::Queued | JobStatus::Scheduled | JobStatus::Running | JobStatus::Drafted | JobStatus::Completed => {
            None
        }
    }
}

/// Estimated seconds until the job is completed; `None` when it has ended, waits as a draft, or nothing is known.
pub(super) fn remaining_s(app: &App, job: &Job) -> Option<f64> {
    if job.status.is_terminal() || job.status == JobStatus::Drafted {
        return None;
    }
    let plan = job.plan.clone().or_else(|| app.forecast(job))?;
    let done = f64::from(job.step.min(plan.steps)) / f64::from(plan.steps.max(1));
    let wait_s = if job.status == JobStatus::Running { Some(0.0) } else { app.queue_wait_s(job) };
    Some(wait_s.unwrap_or(0.0) + plan.estimate_s * (1.0 - done))
}

/// When to ask again, whole milliseconds.
fn poll_after_ms(remaining_s: Option<f64>) -> u64 {
    let pause_s = remaining_s.map_or(POLL_UNKNOWN_S, |rest| (rest / POLLS).clamp(POLL_S.0, POLL_S.1));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to small positive numbers")]
    let ms = (pause_s * 1000.0).round() as u64;
    ms
}

/// The response that shows one job: with its queue position, and with the time to ask again while it has not ended.
///
/// # Errors
/// An error of the store, as a problem.
pub(super) async fn answer(app: &App, caller: &Caller, mut job: Job) -> Result<Response, Problem> {
    if matches!(job.status, JobStatus::Queued | JobStatus::Scheduled) {
        let most = app.settings.limits.queue_position_max;
        let position = app.store.queue_position(caller.scope(), job.id, most).await;
        job.queue_position = position.map_err(|error| Problem::from_store(&error))?;
    }
    let (ended, remaining_s) = (job.status.is_terminal(), remaining_s(app, &job));
    let mut response = Json(Video::new(job, remaining_s)).into_response();
    if !ended {
        response.headers_mut().insert(POLL_AFTER, HeaderValue::from(poll_after_ms(remaining_s)));
    }
    Ok(response)
}

/// A job that is a video of the caller; a deleted one is none.
///
/// # Errors
/// The caller has no video with this id, or the store fails.
pub(super) async fn load(app: &App, caller: &Caller, id: JobId) -> Result<Job, Refusal> {
    let job = app.store.get(caller.scope(), id).await.map_err(|error| Problem::from_store(&error))?;
    job.filter(|job| job.deleted_at.is_none()).ok_or_else(Refusal::no_video)
}

/// Shows a video, also a failed one.
pub(super) async fn retrieve(
    State(app): State<AppState>,
    caller: Caller,
    VideoPath(id): VideoPath,
) -> Result<Response, Refusal> {
    let job = load(&app, &caller, id).await?;
    Ok(answer(&app, &caller, job).await?)
}

/// The response to a deletion.
#[derive(Debug, Serialize)]
pub(super) struct Deleted {
    id: JobId,
    object: &'static str,
    deleted: bool,
}

/// Deletes a video as `DELETE /api/jobs/{id}` does; one that has not ended is cancelled first.
pub(super) async fn delete(
    State(app): State<AppState>,
    caller: Caller,
    VideoPath(id): VideoPath,
) -> Result<Json<Deleted>, Refusal> {
    load(&app, &caller, id).await?;
    delete_job(State(app), caller, JobPath(id)).await?;
    Ok(Json(Deleted { id, object: "video.deleted", deleted: true }))
}

/// The `{id}` of a video in the path. Anything but an id is a video that does not exist.
#[derive(Debug, Clone, Copy)]
pub(super) struct VideoPath(pub(super) JobId);

impl<S: Send + Sync> FromRequestParts<S> for VideoPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = JobPath::from_request_parts(parts, state).await;
        path.map(|JobPath(id)| Self(id)).map_err(|_| Refusal::no_video())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_ask_ten_times_within_bounds() {
        assert_eq!(poll_after_ms(None), 1000);
        assert_eq!(poll_after_ms(Some(0.0)), 250);
        assert_eq!(poll_after_ms(Some(30.0)), 3000);
        assert_eq!(poll_after_ms(Some(1e9)), 10_000);
    }

    #[test]
    fn a_draft_is_a_video_under_way() {
        let shown: Vec<_> = JobStatus::ALL.iter().copied().map(word).collect();
        assert_eq!(shown, ["queued", "queued", "in_progress", "in_progress", "completed", "failed", "failed"]);
    }

    #[test]
    fn seconds_are_those_asked_for_or_those_played() {
        let asked = Origin { asked_seconds: Some(4), ..Origin::default() };
        assert_eq!(seconds(&asked, 4.04), "4");
        assert_eq!(seconds(&Origin::default(), 5.375), "5");
        assert_eq!(seconds(&Origin::default(), 0.04), "1");
    }
}
