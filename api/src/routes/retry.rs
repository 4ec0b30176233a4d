//! `POST /api/jobs/{id}/retry`: retry a failed or cancelled job.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use store::jobs::RetryOutcome;

use crate::auth::Caller;
use crate::dto::job::JobView;
use crate::extract::JobPath;
use crate::problem::{Answer, Problem, ProblemBody, ProblemKind};
use crate::routes::job::view_with_position;
use crate::state::AppState;
use crate::submission::admit;

/// Queues a failed or cancelled job again, with the same request and seed. It resumes from its last checkpoint if it has one.
#[utoipa::path(
    post, path = "/api/jobs/{job_id}/retry", tag = "jobs",
    params(("job_id" = uuid::Uuid, Path)),
    responses(
        (status = 202, description = "Queued again", body = JobView),
        (status = 402, body = ProblemBody, content_type = "application/problem+json", description = "A budget is used up"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "The job does not exist or is deleted"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "The job has neither failed nor been cancelled"),
        (status = 429, body = ProblemBody, content_type = "application/problem+json", description = "The key has exceeded its submission rate or its quota, or the tenant its backlog limit"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "The backlog is full, or the database is unavailable"),
    )
)]
pub(crate) async fn retry_job(
    State(app): State<AppState>,
    caller: Caller,
    JobPath(job_id): JobPath,
) -> Answer<(StatusCode, Json<JobView>)> {
    let scope = caller.scope();
    let job = app.store.get(scope, job_id).await.map_err(|error| Problem::from_store(&error))?;
    let job = job.filter(|job| job.deleted_at.is_none()).ok_or_else(Problem::no_job)?;
    let tenant_id = job.tenant_id;
    // A retried job takes a place in the backlog like a new one, so the same limits apply.
    admit(&app, &caller, 1).await?;
    if let (Some(key_id), Some(plan)) = (caller.key_id(), &job.plan) {
        app.quotas.admit(key_id, plan.estimate_s).await?;
    }
    match app.store.retry(scope, job_id).await.map_err(|error| Problem::from_store(&error))? {
        RetryOutcome::Queued => {}
        RetryOutcome::NotFound => return Err(Problem::no_job()),
        RetryOutcome::NotEnded(status) => {
            let detail = format!("the job is {status}; only failed and cancelled jobs can be retried");
            return Err(Problem::new(ProblemKind::Conflict, detail));
        }
    }
    app.announcer.submitted(job_id, tenant_id);
    let job = app.store.get(scope, job_id).await.map_err(|error| Problem::from_store(&error))?;
    let job = job.ok_or_else(Problem::no_job)?;
    Ok((StatusCode::ACCEPTED, Json(view_with_position(&app, &caller, job).await?)))
}
