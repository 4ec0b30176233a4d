//! `POST /api/generate/batch`: submits many prompts at once, all or none.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use domain::{FieldError, Plan, VideoRequest};
use serde::{Deserialize, Serialize};
use store::jobs::{BatchOutcome, InsertOutcome, NewJob};
use utoipa::ToSchema;

use crate::admission::check_deadline;
use crate::auth::Caller;
use crate::dto::job::JobView;
use crate::extract::{IdempotencyKey, JsonBody};
use crate::limits::RateState;
use crate::problem::{Answer, Problem, ProblemBody};
use crate::state::{App, AppState};
use crate::submission::{admit, charge_quota, give_back, key_reused, new_job, traceparent};
use crate::{images, loras};

/// Several video requests.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"requests": [{"prompt": "A red ball rolls over green grass"}, {"prompt": "A blue square turns"}]}))]
pub struct BatchRequest {
    /// The requests, each with the fields of `POST /api/generate`.
    pub requests: Vec<VideoRequest>,
}

/// The jobs of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchView {
    /// One entry for each request, in order.
    pub(crate) jobs: Vec<BatchItem>,
}

/// One accepted request of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchItem {
    /// Position of the request in the batch, from 0.
    pub index: usize,
    /// False if this batch was submitted before; the job is then the one from that time.
    pub created: bool,
    /// The job.
    pub job: JobView,
}

/// Submits several videos in one transaction: either all of them become jobs, or none of them does.
///
/// An `Idempotency-Key` applies to the batch as a whole.
#[utoipa::path(
    post, path = "/api/generate/batch", tag = "jobs",
    request_body = BatchRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "A new value for each new batch, with or without quotes. Repeating a batch with the same value returns the same jobs")),
    responses(
        (status = 202, description = "All requests were accepted", body = BatchView),
        (status = 422, description = "At least one request is invalid (the error names it, such as `requests[3].prompt`); none was accepted", body = ProblemBody, content_type = "application/problem+json"),
        (status = 402, description = "A budget is used up", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "The key has exceeded its submission rate, or the tenant its backlog limit", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The backlog is full, or the database is unavailable", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn batch(
    State(app): State<AppState>,
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
    headers: HeaderMap,
    JsonBody(mut batch): JsonBody<BatchRequest>,
) -> Answer<Response> {
    // 1. Validate every request. Nothing is admitted if one of them is invalid.
    let count = |problem: &Problem| app.metrics.submission_refused(problem.kind().code());
    loras::resolve::resolve_batch(&app, &caller, &mut batch.requests).await.inspect_err(count)?;
    images::resolve::resolve_batch(&app, &caller, &mut batch.requests).await.inspect_err(count)?;
    let (jobs, plans) = new_jobs(&app, &caller, batch, key.as_deref(), &headers).inspect_err(count)?;
    let cost = u32::try_from(jobs.len()).unwrap_or(u32::MAX);

    // 2. Apply the limits, unless the batch was accepted before: a repetition passes them.
    let mut rate = None;
    if let Err(refusal) = admit_batch(&app, &caller, &jobs, &plans, &mut rate).await
        && !is_repeated(&app, &jobs).await?
    {
        return Err(refusal).inspect_err(count);
    }
    // 3. Insert all jobs in one transaction.
    let inserted = app.store.insert_all_or_nothing(&jobs).await.map_err(|error| Problem::from_store(&error));
    let outcomes = match inserted.inspect_err(count)? {
        BatchOutcome::Committed(outcomes) => outcomes,
        BatchOutcome::KeysReused(_) => {
            give_back(&app, &caller, rate, cost);
            return Err(key_reused()).inspect_err(count);
        }
    };
    // 4. Announce the new jobs, and return the tokens of those that existed before.
    let (mut places, mut jobs) = (Vec::new(), Vec::new());
    for (index, outcome) in outcomes.into_iter().enumerate() {
        let (created, job) = match outcome {
            InsertOutcome::Created(job) => (true, job),
            InsertOutcome::Replayed(job) => (false, job),
            InsertOutcome::KeyReused => continue,
        };
        if created {
            app.announcer.submitted(job.id, job.tenant_id);
        }
        places.push((index, created));
        jobs.push(*job);
    }
    let views = places.into_iter().zip(app.views(jobs).await);
    let jobs = views.map(|((index, created), job)| BatchItem { index, created, job }).collect();
    let view = BatchView { jobs };
    let created = view.jobs.iter().filter(|item| item.created).count();
    let replayed = u32::try_from(view.jobs.len() - created).unwrap_or(u32::MAX);
    app.metrics.submission_accepted(u64::try_from(created).unwrap_or(u64::MAX));
    app.metrics.submission_replayed(u64::from(replayed));
    give_back(&app, &caller, rate, replayed);
    let mut response = (StatusCode::ACCEPTED, Json(view)).into_response();
    if let Some(rate) = rate {
        rate.write(response.headers_mut());
    }
    Ok(response)
}

/// All limits on the jobs of a batch. Each deadline counts the requests before it. `rate` is set once the batch's submissions are
/// taken, even if a later limit refuses it.
async fn admit_batch(
    app: &App,
    caller: &Caller,
    jobs: &[NewJob],
    plans: &[Plan],
    rate: &mut Option<RateState>,
) -> Answer<()> {
    *rate = admit(app, caller, u32::try_from(jobs.len()).unwrap_or(u32::MAX)).await?;
    for (index, (job, plan)) in jobs.iter().zip(plans).enumerate() {
        let field = format!("requests[{index}].deadline_s");
        check_deadline(app, caller.tenant_id, (&job.request, plan), index as u64, &field).await?;
    }
    charge_quota(app, jobs).await
}

/// The jobs of a batch, or all errors of all its requests.
fn new_jobs(
    app: &App,
    caller: &Caller,
    batch: BatchRequest,
    key: Option<&str>,
    headers: &HeaderMap,
) -> Answer<(Vec<NewJob>, Vec<Plan>)> {
    let (count, max) = (batch.requests.len(), app.settings.limits.batch_max);
    if count == 0 || count > max {
        return Err(Problem::field(
            "requests",
            format!("must contain between 1 and {max} requests; it contains {count}"),
        ));
    }
    // Each row stores the hash of the whole batch, so that the key is bound to the batch and not to one item.
    let whole = key.map(|_| batch_hash(&batch));
    let traceparent = traceparent(headers);
    let (mut jobs, mut plans) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let mut wrong = Vec::new();
    for (index, request) in batch.requests.into_iter().enumerate() {
        if request.candidates > 1 {
            let reason = "must be 1 in a batch; submit a request for several candidates by itself";
            wrong.push(FieldError::new(&format!("requests[{index}].candidates"), reason));
        }
        match new_job(app, caller, request) {
            Ok((mut job, plan)) => {
                plans.push(plan);
                job.idempotency_key = key.map(|key| format!("{key}/{index}"));
                job.payload_hash = whole.unwrap_or(job.payload_hash);
                job.traceparent.clone_from(&traceparent);
                jobs.push(job);
            }
            Err(errors) => {
                wrong.extend(errors.into_iter().map(|error| FieldError {
                    field: format!("requests[{index}].{}", error.field),
                    reason: error.reason,
                }));
            }
        }
    }
    if wrong.is_empty() { Ok((jobs, plans)) } else { Err(Problem::fields(wrong)) }
}

fn batch_hash(batch: &BatchRequest) -> [u8; 32] {
    batch
        .requests
        .iter()
        .fold(blake3::Hasher::new(), |mut hasher, request| {
            hasher.update(&request.payload_hash());
            hasher
        })
        .finalize()
        .into()
}

/// Whether this batch was submitted before. It is enough to look for its first row, because a batch is inserted completely or not
/// at all.
async fn is_repeated(app: &App, jobs: &[NewJob]) -> Answer<bool> {
    let Some(first) = jobs.first() else { return Ok(false) };
    let Some(key) = &first.idempotency_key else { return Ok(false) };
    let earlier = app.store.get_by_key(first.tenant_id, key).await.map_err(|error| Problem::from_store(&error))?;
    Ok(earlier.is_some())
}
