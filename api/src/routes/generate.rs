//! `POST /api/generate`: a prompt becomes a job.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::VideoRequest;
use store::jobs::{InsertOutcome, NewJob};

use crate::auth::Caller;
use crate::candidates;
use crate::dto::job::JobView;
use crate::extract::{IdempotencyKey, JsonBody};
use crate::ingest::IngestError;
use crate::limits::RateState;
use crate::loras::resolve::resolve;
use crate::problem::{Answer, Problem, ProblemBody, ProblemKind};
use crate::state::{App, AppState};
use crate::submission::{admit, new_job, traceparent};

/// Submits a video.
///
/// The answer is given when the job is committed: it survives every restart from then on. Send an `Idempotency-Key` with
/// each new request; repeated with the same key and body, the request answers with the same job, whatever the limits.
///
/// With `candidates` above 1 it submits as many drafts with different seeds. The response is the first of them, and its
/// `links.group` lists all.
#[utoipa::path(
    post, path = "/api/generate", tag = "jobs",
    request_body = VideoRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "A fresh value for each new request; quoted or bare")),
    responses(
        (status = 202, description = "Accepted; `Location` names the job", body = JobView),
        (status = 400, description = "Not JSON", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong, or the key belongs to another request", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "The key's rate is used up", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The backlog is full or the database away", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn generate(
    State(app): State<AppState>,
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
    headers: HeaderMap,
    JsonBody(mut request): JsonBody<VideoRequest>,
) -> Answer<Response> {
    let count = |problem: &Problem| app.metrics.submission_refused(problem.kind().code());
    resolve(&app, &caller, &mut request).await.inspect_err(count)?;
    let (mut job, forecast) = new_job(&app, &caller, request).map_err(Problem::fields).inspect_err(count)?;
    job.traceparent = traceparent(&headers);
    job.idempotency_key = key;

    let jobs = candidates::spread(job);
    let cost = u32::try_from(jobs.len()).unwrap_or(u32::MAX);
    let rate = match admit(&app, &caller, cost).await {
        Ok(rate) => rate,
        Err(refusal) => {
            // Only a repeated request may pass a limit.
            if !is_repeated(&app, &jobs[0]).await? {
                return Err(refusal).inspect_err(count);
            }
            None
        }
    };
    let inserted = match <[NewJob; 1]>::try_from(jobs) {
        Ok([job]) => app.ingest.submit(job).await,
        Err(jobs) => Ok(candidates::insert(&app, &jobs).await.inspect_err(count)?),
    };
    match inserted {
        Ok(InsertOutcome::Created(job)) => {
            app.metrics.submission_accepted(u64::from(cost));
            tracing::debug!(job.id = %job.id, "job accepted");
            Ok(accepted(JobView::new(*job, Some(&forecast), None), rate))
        }
        Ok(InsertOutcome::Replayed(job)) => {
            app.metrics.submission_replayed(u64::from(cost));
            app.rate.give_back(caller.rate_key(), cost);
            Ok(accepted(app.view(*job, None), rate))
        }
        Ok(InsertOutcome::KeyReused) => {
            app.rate.give_back(caller.rate_key(), cost);
            Err(key_reused()).inspect_err(count)
        }
        Err(error) => Err(refused(&app, &error)),
    }
}

/// Whether a job with this idempotency key exists.
async fn is_repeated(app: &App, job: &NewJob) -> Answer<bool> {
    let Some(key) = &job.idempotency_key else { return Ok(false) };
    let earlier = app.store.get_by_key(job.tenant_id, key).await.map_err(|error| Problem::from_store(&error))?;
    Ok(earlier.is_some())
}

fn accepted(job: JobView, rate: Option<RateState>) -> Response {
    let location =
        HeaderValue::try_from(format!("/api/jobs/{}", job.job_id)).expect("a UUID is a header value; this is a bug");
    let mut response = (StatusCode::ACCEPTED, Json(job)).into_response();
    response.headers_mut().insert(header::LOCATION, location);
    if let Some(rate) = rate {
        rate.write(response.headers_mut());
    }
    response
}

/// The problem of a key that was used for another payload.
#[must_use]
pub(crate) fn key_reused() -> Problem {
    let detail = "this Idempotency-Key was used for another request; send a fresh one for a new request";
    Problem::new(ProblemKind::KeyReused, detail)
}

/// The problem of a submission that could not be written.
#[must_use]
pub fn refused(app: &App, error: &IngestError) -> Problem {
    let problem = match error {
        IngestError::QueueFull(_) => {
            Problem::new(ProblemKind::BacklogFull, format!("{error}; try again in 1 s")).retry_after(1)
        }
        IngestError::Stopped => Problem::unavailable("this server is stopping and", 1),
        IngestError::Store(error) => Problem::from_store(error),
    };
    app.metrics.submission_refused(problem.kind().code());
    problem
}
