//! `/api/jobs/{id}/replay`: renders a finished job again and compares the bytes.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::{Job, JobId, JobStatus, WorkerIdentity};
use store::jobs::{NewReplay, ReplayOutcome};

use crate::auth::Caller;
use crate::dto::job::JobView;
use crate::dto::replay::ReplayView;
use crate::extract::{IdempotencyKey, JobPath};
use crate::problem::{Answer, Problem, ProblemBody, ProblemKind};
use crate::routes::job::view_with_position;
use crate::state::{App, AppState};
use crate::submission::{admit, key_reused, traceparent};

/// Renders a completed job again, with the same request and plan, on a worker that gives the same bytes: the same model, build,
/// class of device, number of threads, number formats and attention kernel. `GET /api/jobs/{job_id}/replay` of the new job compares
/// both videos. It takes part in limits, budgets and costs like any other job.
#[utoipa::path(
    post, path = "/api/jobs/{job_id}/replay", tag = "jobs",
    params(
        ("job_id" = uuid::Uuid, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "A fresh value for each new request; quoted or bare"),
    ),
    responses(
        (status = 202, description = "Accepted; `Location` names the comparison", body = JobView),
        (status = 402, body = ProblemBody, content_type = "application/problem+json", description = "A budget is used up"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "The job does not exist or is deleted"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "The job is not completed, was made by an earlier release, or no suitable worker is online"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "The idempotency key belongs to another request"),
        (status = 429, body = ProblemBody, content_type = "application/problem+json", description = "The key has exceeded its submission rate or its quota of GPU time, or the tenant its backlog limit"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "The backlog is full, or the database is unavailable"),
    )
)]
pub(crate) async fn replay_job(
    State(app): State<AppState>,
    caller: Caller,
    JobPath(job_id): JobPath,
    IdempotencyKey(key): IdempotencyKey,
    headers: HeaderMap,
) -> Answer<Response> {
    let original = load(&app, &caller, job_id).await?;
    if let Some(key) = &key
        && let Some(earlier) = earlier(&app, &original, key).await?
    {
        return accepted(&app, &caller, earlier).await;
    }
    let worker = worker_of(&original)?;
    find_worker(&app, &original, worker).await?;
    admit(&app, &caller, 1).await?;
    if let Some(key_id) = caller.key_id() {
        app.quotas.admit(key_id, original.plan.as_ref().map_or(0.0, |plan| plan.estimate_s)).await?;
    }
    let traceparent = traceparent(&headers);
    let new = NewReplay {
        id: JobId::fresh(),
        of: job_id,
        worker,
        key_id: caller.key_id(),
        idempotency_key: key.as_deref(),
        traceparent: traceparent.as_deref(),
    };
    // Boxed, because the driver's future is large.
    let outcome = Box::pin(app.store.insert_replay(caller.scope(), &new)).await;
    match outcome.map_err(|error| Problem::from_store(&error))? {
        ReplayOutcome::Accepted(job) => {
            app.announcer.submitted(job.id, job.tenant_id);
            accepted(&app, &caller, *job).await
        }
        ReplayOutcome::KeyReused => Err(key_reused()),
        ReplayOutcome::NotCompleted => Err(not_completed(&original)),
    }
}

/// Compares a replay with its original.
#[utoipa::path(
    get, path = "/api/jobs/{job_id}/replay", tag = "jobs",
    params(("job_id" = uuid::Uuid, Path, description = "Id of the replay")),
    responses(
        (status = 200, body = ReplayView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "The job does not exist, or is not a replay"),
    )
)]
pub(crate) async fn get_replay(
    State(app): State<AppState>,
    caller: Caller,
    JobPath(job_id): JobPath,
) -> Answer<Json<ReplayView>> {
    let again = load(&app, &caller, job_id).await?;
    let no_replay = || Problem::new(ProblemKind::NotFound, "the job is not a replay; POST here to make one of it");
    let original_id = again.replays.ok_or_else(no_replay)?;
    let original = app.store.get(caller.scope(), original_id).await.map_err(|error| Problem::from_store(&error))?;
    Ok(Json(ReplayView::new(original_id.0, original.as_ref(), &again)))
}

async fn load(app: &App, caller: &Caller, job_id: JobId) -> Answer<Job> {
    let job = app.store.get(caller.scope(), job_id).await.map_err(|error| Problem::from_store(&error))?;
    job.filter(|job| job.deleted_at.is_none()).ok_or_else(Problem::no_job)
}

/// The replay that was submitted under this key, whatever the limits are now.
async fn earlier(app: &App, original: &Job, key: &str) -> Answer<Option<Job>> {
    let earlier = app.store.get_by_key(original.tenant_id, key).await.map_err(|error| Problem::from_store(&error))?;
    match earlier {
        Some(job) if job.replays != Some(original.id) => Err(key_reused()),
        other => Ok(other),
    }
}

async fn accepted(app: &App, caller: &Caller, job: Job) -> Answer<Response> {
    let place = format!("/api/jobs/{}/replay", job.id);
    let view = view_with_position(app, caller, job).await?;
    let mut response = (StatusCode::ACCEPTED, Json(view)).into_response();
    let place = HeaderValue::try_from(place).map_err(|error| Problem::internal("write a header", &error))?;
    response.headers_mut().insert(header::LOCATION, place);
    Ok(response)
}

fn not_completed(job: &Job) -> Problem {
    let detail = format!("the job is {}; only completed jobs can be replayed", job.status);
    Problem::new(ProblemKind::Conflict, detail)
}

/// What the original's bytes depend on.
fn worker_of(job: &Job) -> Answer<&WorkerIdentity> {
    if job.status != JobStatus::Completed {
        return Err(not_completed(job));
    }
    let known = job.record.as_ref().and_then(|record| record.reproduction.as_ref());
    known.map(|known| &known.worker).ok_or_else(|| {
        let detail = "the job was rendered by an earlier release, which did not record what a replay needs; submit its request again";
        Problem::new(ProblemKind::Conflict, detail)
    })
}

/// Checks that a worker is online that may render the replay.
async fn find_worker(app: &App, job: &Job, wanted: &WorkerIdentity) -> Answer<()> {
    let model = job.request.model.as_deref().unwrap_or_default();
    let online = app.store.identities_online(model).await.map_err(|error| Problem::from_store(&error))?;
    if online.contains(wanted) {
        return Ok(());
    }
    let closest = online.iter().map(|identity| differing(wanted, identity)).min_by_key(Vec::len);
    let detail = match closest {
        None => "no worker of the job's model is online; replay it when one is".to_owned(),
        Some(fields) => {
            format!("no worker is online that gives the same bytes; the closest one differs in {}", fields.join(", "))
        }
    };
    Err(Problem::new(ProblemKind::Conflict, detail))
}

/// The fields in which two identities differ, with both values.
fn differing(wanted: &WorkerIdentity, found: &WorkerIdentity) -> Vec<String> {
    let attention = |identity: &WorkerIdentity| identity.attention.clone().unwrap_or_else(|| "none".to_owned());
    let pairs = [
        ("model", wanted.model.clone(), found.model.clone()),
        ("build", wanted.build.clone(), found.build.clone()),
        ("device_class", wanted.device_class.clone(), found.device_class.clone()),
        ("threads", wanted.threads.to_string(), found.threads.to_string()),
        ("formats", wanted.formats.clone(), found.formats.clone()),
        ("attention", attention(wanted), attention(found)),
    ];
    let differs = pairs.into_iter().filter(|(_, wanted, found)| wanted != found);
    differs.map(|(name, wanted, found)| format!("{name} (needed: {wanted}; online: {found})")).collect()
}
