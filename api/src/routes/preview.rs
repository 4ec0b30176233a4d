//! `GET /api/jobs/{id}/preview`: what a job's video will probably look like, or what its draft shows.

use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;

use crate::auth::Caller;
use crate::extract::JobPath;
use crate::problem::{Answer, Problem, ProblemBody, ProblemKind};
use crate::routes::videos::{File, from_artifacts, serve};
use crate::state::AppState;

/// Returns the latest preview of a job as an animated WebP. The event stream publishes each new one as a `preview` event.
#[utoipa::path(
    get, path = "/api/jobs/{job_id}/preview", tag = "jobs",
    params(("job_id" = uuid::Uuid, Path), ("Range" = Option<String>, Header)),
    responses(
        (status = 200, description = "The whole picture", content_type = "image/webp"),
        (status = 206, description = "The requested bytes", content_type = "image/webp"),
        (status = 304, description = "The client already has the current picture"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "The job does not exist or has no preview yet"),
        (status = 416, body = ProblemBody, content_type = "application/problem+json", description = "The range begins after the end of the file"),
    )
)]
pub(crate) async fn preview(
    State(app): State<AppState>,
    caller: Caller,
    JobPath(job_id): JobPath,
    method: Method,
    headers: HeaderMap,
) -> Answer<Response> {
    let job = app.store.get(caller.scope(), job_id).await.map_err(|error| Problem::from_store(&error))?;
    let job = job.filter(|job| job.deleted_at.is_none()).ok_or_else(Problem::no_job)?;
    let none = || Problem::new(ProblemKind::NotFound, format!("the job is {} and has no preview", job.status));
    let key = job.preview.ok_or_else(none)?.key;
    let size = app.artifacts.size(&key).await.map_err(|error| from_artifacts(&error))?;
    serve(&app, File { key, size, kind: "image/webp" }, &method, &headers).await
}
