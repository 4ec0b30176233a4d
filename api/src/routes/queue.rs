//! `/api/queue` and `POST /api/jobs/{id}/move`: what owners do to the order of their own jobs.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use store::jobs::{MoveOutcome, MoveTo};

use crate::auth::Caller;
use crate::dto::job::JobView;
use crate::dto::queue::{MoveBody, QueueEnd, QueueView};
use crate::extract::{JobPath, JsonBody};
use crate::problem::{Answer, Problem, ProblemBody, ProblemKind};
use crate::routes::job::view_with_position;
use crate::state::AppState;

/// Returns whether the queue of the caller's tenant is paused.
#[utoipa::path(get, path = "/api/queue", tag = "jobs", responses((status = 200, body = QueueView)))]
pub(crate) async fn show(State(app): State<AppState>, caller: Caller) -> Answer<Json<QueueView>> {
    let paused_at = app.store.queue_paused_at(caller.tenant_id).await.map_err(|error| Problem::from_store(&error))?;
    Ok(view(paused_at))
}

/// Pauses the queue of the caller's tenant: none of its waiting jobs is started until it is resumed. Jobs that are scheduled or
/// running go on, and new jobs are accepted. Other tenants are not affected.
#[utoipa::path(post, path = "/api/queue/pause", tag = "jobs", responses((status = 200, body = QueueView)))]
pub(crate) async fn pause(State(app): State<AppState>, caller: Caller) -> Answer<Json<QueueView>> {
    let paused_at = app.store.pause_queue(caller.tenant_id, true).await.map_err(|error| Problem::from_store(&error))?;
    Ok(view(paused_at))
}

/// Resumes the queue of the caller's tenant. The time of the pause gives it no larger share of the fleet afterwards.
#[utoipa::path(post, path = "/api/queue/resume", tag = "jobs", responses((status = 200, body = QueueView)))]
pub(crate) async fn resume(State(app): State<AppState>, caller: Caller) -> Answer<Json<QueueView>> {
    let paused_at =
        app.store.pause_queue(caller.tenant_id, false).await.map_err(|error| Problem::from_store(&error))?;
    Ok(view(paused_at))
}

fn view(paused_at: Option<DateTime<Utc>>) -> Json<QueueView> {
    Json(QueueView { paused: paused_at.is_some(), paused_at })
}

/// Moves a queued job within its owner's queue. The new place also replaces the one that a deadline gave it. Other tenants are not
/// affected.
#[utoipa::path(
    post, path = "/api/jobs/{job_id}/move", tag = "jobs", request_body = MoveBody,
    params(("job_id" = uuid::Uuid, Path)),
    responses(
        (status = 200, description = "Moved", body = JobView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "The job does not exist or is deleted"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "The job, or the one that it should go before, does not wait in the queue"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "Not exactly one of `before` and `to`"),
    )
)]
pub(crate) async fn move_job(
    State(app): State<AppState>,
    caller: Caller,
    JobPath(job_id): JobPath,
    JsonBody(body): JsonBody<MoveBody>,
) -> Answer<(StatusCode, Json<JobView>)> {
    let to = match (body.before, body.to) {
        (Some(other), None) => MoveTo::Before(other),
        (None, Some(QueueEnd::Front)) => MoveTo::Front,
        (None, Some(QueueEnd::Back)) => MoveTo::Back,
        (Some(_), Some(_)) => return Err(Problem::field("to", "must be left out with before; name one of them")),
        (None, None) => {
            return Err(Problem::field("to", "is missing; use \"front\" or \"back\", or name a job in before"));
        }
    };
    let scope = caller.scope();
    match app.store.move_queued(scope, job_id, to).await.map_err(|error| Problem::from_store(&error))? {
        MoveOutcome::Moved => {}
        MoveOutcome::NotFound => return Err(Problem::no_job()),
        refused => return Err(Problem::new(ProblemKind::Conflict, reason(refused))),
    }
    let job = app.store.get(scope, job_id).await.map_err(|error| Problem::from_store(&error))?;
    let job = job.ok_or_else(Problem::no_job)?;
    Ok((StatusCode::OK, Json(view_with_position(&app, &caller, job).await?)))
}

fn reason(refused: MoveOutcome) -> String {
    match refused {
        MoveOutcome::NotWaiting(domain::JobStatus::Queued) => {
            "the job is not planned yet; try again in a moment".to_owned()
        }
        MoveOutcome::NotWaiting(status) => format!("the job is {status}; only queued jobs can be moved"),
        MoveOutcome::TooManyToShift => {
            "there is no room directly before that job; name another one, or move the job to the front".to_owned()
        }
        _ => "the job named in before does not wait in the same queue".to_owned(),
    }
}
