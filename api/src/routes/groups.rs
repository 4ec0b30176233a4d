//! `GET /api/groups/{id}` and `POST /api/groups/{id}/cancel`: the candidates of one request.

use std::str::FromStr;

use axum::Json;
use axum::extract::{Path, State};
use domain::{GroupId, Job, JobEventKind};
use store::jobs::CancelOutcome;

use crate::auth::Caller;
use crate::dto::group::GroupView;
use crate::problem::{Answer, Problem, ProblemBody, ProblemKind};
use crate::state::{App, AppState};

/// Returns the candidates of a request, in the order of their submission, with their measurements and costs.
#[utoipa::path(
    get, path = "/api/groups/{group_id}", tag = "jobs",
    params(("group_id" = uuid::Uuid, Path)),
    responses(
        (status = 200, body = GroupView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "The group does not exist or belongs to another tenant"),
    )
)]
pub(crate) async fn get_group(
    State(app): State<AppState>,
    caller: Caller,
    Path(group_id): Path<String>,
) -> Answer<Json<GroupView>> {
    let group_id = read_id(&group_id)?;
    let jobs = load(&app, &caller, group_id).await?;
    Ok(Json(view(&app, group_id, jobs)))
}

/// Cancels all candidates of a request that have not ended.
#[utoipa::path(
    post, path = "/api/groups/{group_id}/cancel", tag = "jobs",
    params(("group_id" = uuid::Uuid, Path)),
    responses(
        (status = 200, description = "Cancelled; workers that are drafting were asked to stop", body = GroupView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "The group does not exist or belongs to another tenant"),
    )
)]
pub(crate) async fn cancel_group(
    State(app): State<AppState>,
    caller: Caller,
    Path(group_id): Path<String>,
) -> Answer<Json<GroupView>> {
    let group_id = read_id(&group_id)?;
    for job in load(&app, &caller, group_id).await?.iter().filter(|job| !job.status.is_terminal()) {
        match app.store.cancel(caller.scope(), job.id).await.map_err(|error| Problem::from_store(&error))? {
            CancelOutcome::Requested => app.announcer.cancel_requested(job.id, job.tenant_id),
            CancelOutcome::Cancelled => app.announcer.changed(job, JobEventKind::Cancelled),
            CancelOutcome::AlreadyEnded(_) | CancelOutcome::NotFound => {}
        }
    }
    let jobs = load(&app, &caller, group_id).await?;
    Ok(Json(view(&app, group_id, jobs)))
}

/// An invalid id returns 404, exactly as another tenant's id does.
fn read_id(text: &str) -> Answer<GroupId> {
    GroupId::from_str(text).map_err(|_| no_group())
}

async fn load(app: &App, caller: &Caller, group_id: GroupId) -> Answer<Vec<Job>> {
    let jobs = app.store.group(caller.scope(), group_id).await.map_err(|error| Problem::from_store(&error))?;
    if jobs.is_empty() { Err(no_group()) } else { Ok(jobs) }
}

fn view(app: &App, group_id: GroupId, jobs: Vec<Job>) -> GroupView {
    GroupView::new(group_id, jobs, |job| app.view(job, None))
}

fn no_group() -> Problem {
    Problem::new(ProblemKind::NotFound, "there is no group of candidates with this id")
}
