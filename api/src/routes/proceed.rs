//! `POST /api/jobs/{id}/continue`: continue a draft, perhaps in a higher tier. Among candidates this is the choice.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use domain::{Candidate, Choice, GroupId, Job, JobStatus, Judge, Tier};
use optimizer::Drafted;
use serde::Deserialize;
use store::jobs::{CancelOutcome, Continuation, ContinueOutcome};
use utoipa::IntoParams;

use crate::auth::Caller;
use crate::dto::job::JobView;
use crate::extract::{JobPath, QueryString};
use crate::problem::{Answer, Problem, ProblemBody, ProblemKind};
use crate::routes::job::view_with_position;
use crate::state::{App, AppState};

/// How to continue a draft.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ContinueQuery {
    /// A tier above the draft's: the run keeps the noise levels of the draft and takes the rest from that tier's schedule.
    /// Without it the video is the same, byte for byte, as if the job had never paused.
    quality_tier: Option<Tier>,
}

/// Continues a draft to its end. If it is one of several candidates, the others end.
#[utoipa::path(
    post, path = "/api/jobs/{job_id}/continue", tag = "jobs",
    params(("job_id" = uuid::Uuid, Path), ContinueQuery),
    responses(
        (status = 202, description = "Queued again, from its draft on", body = JobView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "The job does not exist or is deleted"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "The job is not a draft that waits"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "The tier is not above the draft's"),
    )
)]
pub(crate) async fn continue_job(
    State(app): State<AppState>,
    caller: Caller,
    JobPath(job_id): JobPath,
    QueryString(query): QueryString<ContinueQuery>,
) -> Answer<(StatusCode, Json<JobView>)> {
    let scope = caller.scope();
    let job = app.store.get(scope, job_id).await.map_err(|error| Problem::from_store(&error))?;
    let job = job.filter(|job| job.deleted_at.is_none()).ok_or_else(Problem::no_job)?;
    // A draft keeps its place in the backlog, so no limit applies a second time.
    let mut how = continuation(&app, &job, query.quality_tier)?;
    if let Some(group_id) = job.group_id {
        how.choice = Some(choice(&app, &caller, group_id).await?);
    }
    match app.store.continue_draft(scope, job_id, &how).await.map_err(|error| Problem::from_store(&error))? {
        ContinueOutcome::Continued { others } => {
            let running = others.into_iter().filter(|(_, outcome)| *outcome == CancelOutcome::Requested);
            running.for_each(|(other, _)| app.announcer.cancel_requested(other, job.tenant_id));
        }
        ContinueOutcome::NotDrafted(status) => return Err(not_drafted(status)),
        ContinueOutcome::NotFound => return Err(Problem::no_job()),
    }
    app.announcer.submitted(job_id, job.tenant_id);
    let job = app.store.get(scope, job_id).await.map_err(|error| Problem::from_store(&error))?;
    let job = job.ok_or_else(Problem::no_job)?;
    Ok((StatusCode::ACCEPTED, Json(view_with_position(&app, &caller, job).await?)))
}

fn not_drafted(status: JobStatus) -> Problem {
    let detail = format!("the job is {status}; only a drafted job can be continued");
    Problem::new(ProblemKind::Conflict, detail)
}

/// The plan of the whole run and what its rest counts against the tenant's share.
fn continuation(app: &App, job: &Job, tier: Option<Tier>) -> Answer<Continuation> {
    let (Some(plan), Some(draft), JobStatus::Drafted) = (&job.plan, job.draft, job.status) else {
        return Err(not_drafted(job.status));
    };
    if let Some(tier) = tier.filter(|tier| *tier <= plan.tier) {
        let reason = format!("must be above the draft's tier ({}), not {tier}; leave it out to keep that", plan.tier);
        return Err(Problem::field("quality_tier", reason));
    }
    let manifest = app.models.find(job.request.model.as_deref()).map_err(|error| Problem::fields(vec![error]))?;
    let planner = app.planner();
    let drafted = Drafted { request: &job.request, shape: &job.shape, plan, step: draft.step };
    let continued = planner.continued(&drafted, &manifest, tier);
    let pace = planner.cost(&manifest, continued.tier).to_pace_of(&manifest.cost_prior);
    let share_s = continued.estimate_s * (1.0 - continued.draft_share()) * pace;
    Ok(Continuation { plan: continued, share_s, choice: None, epoch: None })
}

/// The record of a person's choice: all candidates as they are now.
async fn choice(app: &App, caller: &Caller, group_id: GroupId) -> Answer<Choice> {
    let group = app.store.group(caller.scope(), group_id).await.map_err(|error| Problem::from_store(&error))?;
    let candidate = |job: Job| Candidate {
        job_id: job.id,
        seed: job.request.seed.unwrap_or_default(),
        draft: job.draft,
        rank: None,
    };
    Ok(Choice { by: Judge::Person, candidates: group.into_iter().map(candidate).collect() })
}
