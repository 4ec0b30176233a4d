//! `POST /v1/videos` and `POST /v1/videos/{id}/remix`: submit a video.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use domain::{Origin, VideoRequest};

use super::error::Refusal;
use super::fields::Fields;
use super::names::Names;
use super::request::{Wish, remix as remixed, translate};
use super::retries::{WINDOW_S, fingerprint, is_repeated, retry_no};
use super::video::{VideoPath, answer, load};
use crate::auth::Caller;
use crate::extract::IdempotencyKey;
use crate::problem::Problem;
use crate::state::{App, AppState};
use crate::submission::{Accepted, new_job, submit, traceparent};
use crate::{images, loras};

/// What a submission has beside its fields.
struct Envelope {
    caller: Caller,
    idempotency_key: Option<String>,
    headers: HeaderMap,
}

/// Submits a video. Responds after the job is committed, as `POST /api/generate` does.
pub(super) async fn create(
    State(app): State<AppState>,
    caller: Caller,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, Refusal> {
    let wish = translate(&app, fields).inspect_err(|refusal| count(&app, refusal.problem()))?;
    Box::pin(place(&app, &Envelope { caller, idempotency_key, headers }, wish)).await
}

/// Submits an earlier request again with another prompt, and with the same seed.
pub(super) async fn remix(
    State(app): State<AppState>,
    caller: Caller,
    VideoPath(id): VideoPath,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, Refusal> {
    let source = load(&app, &caller, id).await?;
    let request: VideoRequest = remixed(fields, source.request).inspect_err(|problem| count(&app, problem))?;
    let origin = Origin { remix_of: Some(id), ..source.origin.unwrap_or_default() };
    let wish = Wish { request, origin, names: Names::default(), picture: None };
    Box::pin(place(&app, &Envelope { caller, idempotency_key, headers }, wish)).await
}

fn count(app: &App, problem: &Problem) {
    app.metrics.submission_refused(problem.kind().code());
}

async fn place(app: &App, envelope: &Envelope, wish: Wish) -> Result<Response, Refusal> {
    let Wish { mut request, origin, names, picture } = wish;
    // First, so that a retry that sends the same picture again has the same fingerprint.
    images::resolve::resolve(app, &envelope.caller, &mut request, picture)
        .await
        .map_err(|problem| problem.with_fields(|errors| names.translate(errors)))
        .inspect_err(|problem| count(app, problem))?;
    let fingerprint = fingerprint(envelope.caller.rate_key(), &request, &origin);
    loras::resolve::resolve(app, &envelope.caller, &mut request).await.inspect_err(|problem| count(app, problem))?;
    let invalid = |errors| Problem::fields(names.translate(errors));
    let (mut job, plan) =
        new_job(app, &envelope.caller, request).map_err(invalid).inspect_err(|problem| count(app, problem))?;
    job.traceparent = traceparent(&envelope.headers);
    job.origin = Some(origin);
    job.idempotency_key.clone_from(&envelope.idempotency_key);
    let recognises_retries = envelope.idempotency_key.is_none();
    if recognises_retries {
        let retry_no = retry_no(&envelope.headers);
        (job.payload_hash, job.retry_no) = (fingerprint, Some(retry_no));
        // A refused try created nothing that its retry could return.
        if retry_no > 0 && !app.refusals.take(&fingerprint) {
            let earlier = app.store.adopt_retried(job.tenant_id, &fingerprint, retry_no, WINDOW_S).await;
            if let Some(job) = earlier.map_err(|error| Problem::from_store(&error))? {
                app.metrics.submission_replayed(1);
                return created(app, &envelope.caller, Accepted { job, created: false, rate: None }).await;
            }
        }
    }
    match Box::pin(submit(app, &envelope.caller, job, &plan)).await {
        Ok(accepted) => created(app, &envelope.caller, accepted).await,
        Err(refused) => {
            if recognises_retries && refused.is_certain && is_repeated(refused.problem.kind().status()) {
                app.refusals.note(fingerprint);
            }
            Err(refused.problem.into())
        }
    }
}

async fn created(app: &App, caller: &Caller, accepted: Accepted) -> Result<Response, Refusal> {
    let location = HeaderValue::try_from(format!("/v1/videos/{}", accepted.job.id))
        .expect("a UUID is a header value; this is a bug");
    let mut response = answer(app, caller, accepted.job).await?;
    response.headers_mut().insert(header::LOCATION, location);
    if let Some(rate) = accepted.rate {
        rate.write(response.headers_mut());
    }
    Ok(response)
}
