//! `POST /api/jobs/{id}/cancel`: cancel a job.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use domain::{JobEventKind, JobStatus};
use store::jobs::CancelOutcome;

use crate::auth::Caller;
use crate::dto::job::JobView;
use crate::extract::JobPath;
use crate::problem::{Answer, Problem, ProblemBody, ProblemKind};
use crate::state::AppState;

/// Cancels a job. A waiting job ends immediately (200). For a running job the worker is asked to stop, and the job ends shortly
/// afterwards (202). Cancelling a cancelled job changes nothing.
#[utoipa::path(
    post, path = "/api/jobs/{job_id}/cancel", tag = "jobs",
    params(("job_id" = uuid::Uuid, Path)),
    responses(
        (status = 200, description = "Cancelled", body = JobView),
        (status = 202, description = "Its worker was asked to stop", body = JobView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "The job does not exist"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "The job has already completed or failed"),
    )
)]
pub(crate) async fn cancel_job(
    State(app): State<AppState>,
    caller: Caller,
    JobPath(job_id): JobPath,
) -> Answer<(StatusCode, Json<JobView>)> {
    let scope = caller.scope();
    let outcome = app.store.cancel(scope, job_id).await.map_err(|error| Problem::from_store(&error))?;
    match outcome {
        CancelOutcome::NotFound => return Err(Problem::no_job()),
        CancelOutcome::AlreadyEnded(status) if status != JobStatus::Cancelled => {
            return Err(Problem::new(
                ProblemKind::Conflict,
                format!("the job is already {status} and cannot be cancelled"),
            ));
        }
        CancelOutcome::AlreadyEnded(_) | CancelOutcome::Cancelled | CancelOutcome::Requested => {}
    }
    let job = app.store.get(scope, job_id).await.map_err(|error| Problem::from_store(&error))?;
    let job = job.ok_or_else(Problem::no_job)?;
    match outcome {
        CancelOutcome::Requested => app.announcer.cancel_requested(job.id, job.tenant_id),
        CancelOutcome::Cancelled => app.announcer.changed(&job, JobEventKind::Cancelled),
        CancelOutcome::AlreadyEnded(_) | CancelOutcome::NotFound => {}
    }
    let status = if job.status.is_terminal() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(app.view(job, None))))
}
