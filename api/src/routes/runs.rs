//! `GET /api/jobs/{id}/runs`: what each attempt of a job cost.

use axum::Json;
use axum::extract::State;

use crate::auth::Caller;
use crate::dto::usage::{JobRunView, JobRunsView};
use crate::extract::JobPath;
use crate::problem::{Answer, Problem, ProblemBody};
use crate::state::AppState;

/// Lists the runs of a job that have ended, with their GPU seconds and dollars. Runs that repeat work after a fault are marked.
#[utoipa::path(
    get, path = "/api/jobs/{job_id}/runs", tag = "usage",
    params(("job_id" = uuid::Uuid, Path)),
    responses(
        (status = 200, body = JobRunsView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "The job does not exist or belongs to another tenant"),
    )
)]
pub(crate) async fn job_runs(
    State(app): State<AppState>,
    caller: Caller,
    JobPath(job_id): JobPath,
) -> Answer<Json<JobRunsView>> {
    let scope = caller.scope();
    app.store.get(scope, job_id).await.map_err(|error| Problem::from_store(&error))?.ok_or_else(Problem::no_job)?;
    let runs = app.store.job_runs(scope, job_id).await.map_err(|error| Problem::from_store(&error))?;
    Ok(Json(JobRunsView { runs: runs.into_iter().map(JobRunView::from).collect() }))
}
