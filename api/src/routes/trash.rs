//! `DELETE /api/jobs/{id}` and `POST .../restore`: delete a job and restore it.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use domain::JobEventKind;
use store::jobs::DeleteOutcome;

use crate::auth::Caller;
use crate::dto::job::JobView;
use crate::extract::JobPath;
use crate::problem::{Answer, Problem, ProblemBody};
use crate::routes::job::view_with_position;
use crate::state::AppState;

/// Deletes a job and its video. A job that has not ended is cancelled first. It can be restored until the retention period ends.
#[utoipa::path(
    delete, path = "/api/jobs/{job_id}", tag = "jobs",
    params(("job_id" = uuid::Uuid, Path)),
    responses(
        (status = 204, description = "Deleted"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "The job does not exist or is already deleted"),
    )
)]
pub(crate) async fn delete_job(
    State(app): State<AppState>,
    caller: Caller,
    JobPath(job_id): JobPath,
) -> Answer<StatusCode> {
    let scope = caller.scope();
    match app.store.soft_delete(scope, job_id).await.map_err(|error| Problem::from_store(&error))? {
        DeleteOutcome::NotFound => return Err(Problem::no_job()),
        outcome => {
            // If the job is not found, it was purged in the meantime and there is nothing to announce.
            if let Some(job) = app.store.get(scope, job_id).await.map_err(|error| Problem::from_store(&error))? {
                app.announcer.changed(&job, JobEventKind::Deleted);
                if outcome == DeleteOutcome::DeletedWhileRunning {
                    app.announcer.cancel_requested(job.id, job.tenant_id);
                }
            }
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Restores a deleted job. A job that was cancelled by the deletion stays cancelled and can be retried.
#[utoipa::path(
    post, path = "/api/jobs/{job_id}/restore", tag = "jobs",
    params(("job_id" = uuid::Uuid, Path)),
    responses(
        (status = 200, description = "The job is restored, or was not deleted", body = JobView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "The job does not exist, or its retention period has ended"),
    )
)]
pub(crate) async fn restore_job(
    State(app): State<AppState>,
    caller: Caller,
    JobPath(job_id): JobPath,
) -> Answer<Json<JobView>> {
    let scope = caller.scope();
    app.store.restore(scope, job_id).await.map_err(|error| Problem::from_store(&error))?;
    let job = app.store.get(scope, job_id).await.map_err(|error| Problem::from_store(&error))?;
    let job = job.ok_or_else(Problem::no_job)?;
    app.announcer.changed(&job, JobEventKind::Restored);
    Ok(Json(view_with_position(&app, &caller, job).await?))
}
