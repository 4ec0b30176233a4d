//! `GET /api/jobs/{id}`: one job.

use axum::Json;
use axum::extract::State;
use domain::{Job, JobStatus};

use crate::auth::Caller;
use crate::dto::job::JobView;
use crate::extract::JobPath;
use crate::problem::{Answer, Problem, ProblemBody};
use crate::state::{App, AppState};

/// Returns a job. While it is waiting, this includes its position in the queue.
#[utoipa::path(
    get, path = "/api/jobs/{job_id}", tag = "jobs",
    params(("job_id" = uuid::Uuid, Path)),
    responses(
        (status = 200, body = JobView),
        (status = 404, description = "The job does not exist or belongs to another tenant", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_job(
    State(app): State<AppState>,
    caller: Caller,
    JobPath(job_id): JobPath,
) -> Answer<Json<JobView>> {
    let scope = caller.scope();
    let job = app.store.get(scope, job_id).await.map_err(|error| Problem::from_store(&error))?;
    let job = job.ok_or_else(Problem::no_job)?;
    Ok(Json(view_with_position(&app, &caller, job).await?))
}

/// The view of a job, with its position in the queue while it is waiting.
///
/// # Errors
/// An error of the store, as a problem.
pub(crate) async fn view_with_position(app: &App, caller: &Caller, mut job: Job) -> Answer<JobView> {
    if !matches!(job.status, JobStatus::Queued | JobStatus::Scheduled) {
        return Ok(app.view(job, None));
    }
    let most = app.settings.limits.queue_position_max;
    job.queue_position =
        app.store.queue_position(caller.scope(), job.id, most).await.map_err(|error| Problem::from_store(&error))?;
    let wait_s = app.queue_wait_s(&job);
    Ok(app.view(job, wait_s))
}
