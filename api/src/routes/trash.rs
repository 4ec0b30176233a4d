//! `DELETE /api/jobs/{id}` and `POST .../restore`: hide a job, bring it back.

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

/// Hides a job and its video; one that has not ended is stopped first. It can be restored until the retention ends.
#[utoipa::path(
    delete, path = "/api/jobs/{job_id}", tag = "jobs",
    params(("job_id" = uuid::Uuid, Path)),
    responses(
        (status = 204, description = "Hidden"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "No such job, or deleted already"),
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
            // What is not found now was purged meanwhile; there is nobody left to tell.
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

/// Brings a deleted job back. One that was stopped by the deletion stays cancelled; retry it.
#[utoipa::path(
    post, path = "/api/jobs/{job_id}/restore", tag = "jobs",
    params(("job_id" = uuid::Uuid, Path)),
    responses(
        (status = 200, description = "Back, or never deleted", body = JobView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "No such job, or its retention has ended"),
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
