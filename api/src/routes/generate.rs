//! `POST /api/generate`: a prompt becomes a job.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::VideoRequest;

use crate::auth::Caller;
use crate::dto::job::JobView;
use crate::extract::IdempotencyKey;
use crate::form::SubmissionBody;
use crate::images;
use crate::limits::RateState;
use crate::loras;
use crate::problem::{Answer, Problem, ProblemBody};
use crate::state::AppState;
use crate::submission::{new_job, submit, traceparent};

/// Submits a video.
///
/// The answer is given when the job is committed: it survives every restart from then on. Send an `Idempotency-Key` with
/// each new request; repeated with the same key and body, the request answers with the same job, whatever the limits.
///
/// With `candidates` above 1 it submits as many drafts with different seeds. The response is the first of them, and its
/// `links.group` lists all.
///
/// The body may also be a form (`multipart/form-data`) with one part for each field; its part `image` may be a file.
#[utoipa::path(
    post, path = "/api/generate", tag = "jobs",
    request_body = VideoRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "A fresh value for each new request; quoted or bare")),
    responses(
        (status = 202, description = "Accepted; `Location` names the job", body = JobView),
        (status = 400, description = "Not JSON", body = ProblemBody, content_type = "application/problem+json"),
        (status = 402, description = "A budget is used up", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body, or the picture, is too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "Fields are wrong, the key belongs to another request, or the deadline cannot be met and `deadline_policy` is `reject`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "The key's rate or its quota of GPU time is used up", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The backlog is full or the database is unavailable", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub async fn generate(
    State(app): State<AppState>,
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
    headers: HeaderMap,
    SubmissionBody { mut request, file }: SubmissionBody,
) -> Answer<Response> {
    let count = |problem: &Problem| app.metrics.submission_refused(problem.kind().code());
    loras::resolve::resolve(&app, &caller, &mut request).await.inspect_err(count)?;
    images::resolve::resolve(&app, &caller, &mut request, file).await.inspect_err(count)?;
    let (mut job, forecast) = new_job(&app, &caller, request).map_err(Problem::fields).inspect_err(count)?;
    job.traceparent = traceparent(&headers);
    job.idempotency_key = key;
    let accepted = Box::pin(submit(&app, &caller, job, &forecast)).await?;
    let view = if accepted.created {
        app.view_forecast(accepted.job, Some(&forecast), None)
    } else {
        app.view(accepted.job, None)
    };
    Ok(respond(view, accepted.rate))
}

fn respond(job: JobView, rate: Option<RateState>) -> Response {
    let location =
        HeaderValue::try_from(format!("/api/jobs/{}", job.job_id)).expect("a UUID is a header value; this is a bug");
    let mut response = (StatusCode::ACCEPTED, Json(job)).into_response();
    response.headers_mut().insert(header::LOCATION, location);
    if let Some(rate) = rate {
        rate.write(response.headers_mut());
    }
    response
}
