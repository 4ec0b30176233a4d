//! What all submissions have in common: validation, limits, and the job that goes into the database.

use std::time::Instant;

use axum::http::HeaderMap;
use domain::{FieldError, Job, Plan, VideoRequest};
use store::jobs::{InsertOutcome, NewJob};

use crate::admission::check_deadline;
use crate::auth::Caller;
use crate::candidates;
use crate::ingest::IngestError;
use crate::limits::RateState;
use crate::problem::{Answer, Problem, ProblemKind};
use crate::state::App;

/// Validates a request against the limits and its model; answers the job and the plan that it will probably get.
///
/// # Errors
/// Everything that is wrong with the request's fields.
pub fn new_job(app: &App, caller: &Caller, mut request: VideoRequest) -> Result<(NewJob, Plan), Vec<FieldError>> {
    let manifest = app.models.for_new_job(request.model.as_deref()).map_err(|error| vec![error])?;
    let shape = request.validate(&app.request_limits, &manifest)?;
    let payload_hash = request.payload_hash();
    request.fill_guidance(&manifest);
    let planned = app.planner().plan(&request, &manifest, shape);
    let quota_s = caller.key_id().map(|_| planned.plan.estimate_s * planned.plan.draft_share());
    let job = NewJob {
        payload_hash,
        key_id: caller.key_id(),
        quota_s,
        ..NewJob::new(caller.tenant_id, request, &manifest.id, planned.shape)
    };
    Ok((job, planned.plan))
}

/// Takes `cost` submissions from the caller's rate and the backlog, if no budget of its tenant is used up.
///
/// # Errors
/// 402 for a budget, 429 with the rate's headers, 503 when the backlog is full, both with `Retry-After`.
pub(crate) async fn admit(app: &App, caller: &Caller, cost: u32) -> Answer<Option<RateState>> {
    app.budgets.admit(caller.tenant_id).await?;
    let rate = app.rate.take(caller.rate_key(), cost, Instant::now()).map_err(|state| {
        let detail = format!("this key has exceeded its submission rate; try again in {} s", state.wait_s);
        let problem = Problem::new(ProblemKind::RateLimited, detail).retry_after(state.wait_s);
        state.headers().into_iter().fold(problem, |problem, (name, value)| problem.with_header(name, value))
    })?;
    match app.backlog.admit(caller.tenant_id, u64::from(cost)).await {
        Ok(()) => Ok(rate),
        Err(problem) => {
            give_back(app, caller, rate, cost);
            Err(problem)
        }
    }
}

/// Gives back `cost` submissions of the caller's rate if the request took them: a repetition passes an empty bucket without any.
pub(crate) fn give_back(app: &App, caller: &Caller, taken: Option<RateState>, cost: u32) {
    if taken.is_some() {
        app.rate.give_back(caller.rate_key(), cost);
    }
}

/// Takes what new jobs need of their key's quota.
///
/// # Errors
/// 429 when the quota is used up.
pub(crate) async fn charge_quota(app: &App, jobs: &[NewJob]) -> Answer<()> {
    match jobs.first().and_then(|job| job.key_id) {
        Some(key_id) => app.quotas.admit(key_id, jobs.iter().filter_map(|job| job.quota_s).sum()).await,
        None => Ok(()),
    }
}

/// All limits on new jobs of one request: rate, backlog, quota and deadline. `rate` is set once its submissions are taken, even if a
/// later limit refuses the request.
async fn admit_request(
    app: &App,
    caller: &Caller,
    jobs: &[NewJob],
    plan: &Plan,
    rate: &mut Option<RateState>,
) -> Answer<()> {
    *rate = admit(app, caller, u32::try_from(jobs.len()).unwrap_or(u32::MAX)).await?;
    check_deadline(app, caller.tenant_id, (&jobs[0].request, plan), jobs.len() as u64 - 1, "deadline_s").await?;
    charge_quota(app, jobs).await
}

/// A submission that is committed.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The job.
    pub(crate) job: Job,
    /// False if the job existed before, under the same idempotency key.
    pub(crate) created: bool,
    /// State of the caller's rate; `None` without a limit.
    pub(crate) rate: Option<RateState>,
}

/// A submission that was not accepted.
#[derive(Debug)]
pub(crate) struct NotAccepted {
    /// Why.
    pub(crate) problem: Problem,
    /// Whether it is certain that no job was created. It is not when the response of the database was lost.
    pub(crate) is_certain: bool,
}

impl From<NotAccepted> for Problem {
    fn from(refused: NotAccepted) -> Self {
        refused.problem
    }
}

/// Submits a job with its forecast plan, or all candidates that it asks for: applies the limits, which only a repeated request
/// passes, and waits for the commit. Returns the first candidate.
///
/// # Errors
/// 402, 429 and 503 of the limits; 422 if the idempotency key belongs to another request or the deadline is to be kept and cannot be;
/// errors of the database.
pub(crate) async fn submit(app: &App, caller: &Caller, job: NewJob, plan: &Plan) -> Result<Accepted, NotAccepted> {
    let refuse = |problem: Problem, is_certain: bool| {
        app.metrics.submission_refused(problem.kind().code());
        NotAccepted { problem, is_certain }
    };
    let jobs = candidates::spread(job);
    let cost = u32::try_from(jobs.len()).unwrap_or(u32::MAX);
    let mut rate = None;
    if let Err(refusal) = admit_request(app, caller, &jobs, plan, &mut rate).await {
        match is_repeated(app, &jobs[0]).await {
            Ok(true) => {}
            Ok(false) => return Err(refuse(refusal, true)),
            Err(problem) => return Err(refuse(problem, true)),
        }
    }
    let commit = app.traces.child(jobs[0].traceparent.as_deref(), "commit");
    let written = match <[NewJob; 1]>::try_from(jobs) {
        Ok([job]) => app.ingest.submit(job).await.map_err(|error| {
            let is_certain = !matches!(error, IngestError::Store(_));
            refuse(not_written(&error), is_certain)
        }),
        // Boxed, because nearly no submission has candidates.
        Err(jobs) => Box::pin(candidates::insert(app, &jobs)).await.map_err(|problem| refuse(problem, false)),
    };
    match written.inspect_err(|refused| commit.fail(refused.problem.kind().code()))? {
        InsertOutcome::Created(job) => {
            commit.set("fleet.job.id", job.id.to_string());
            app.metrics.submission_accepted(u64::from(cost));
            tracing::debug!(job.id = %job.id, "job accepted");
            Ok(Accepted { job: *job, created: true, rate })
        }
        InsertOutcome::Replayed(job) => {
            app.metrics.submission_replayed(u64::from(cost));
            give_back(app, caller, rate, cost);
            Ok(Accepted { job: *job, created: false, rate })
        }
        InsertOutcome::KeyReused => {
            give_back(app, caller, rate, cost);
            Err(refuse(key_reused(), true))
        }
    }
}

/// Whether a job with this idempotency key exists.
async fn is_repeated(app: &App, job: &NewJob) -> Answer<bool> {
    let Some(key) = &job.idempotency_key else { return Ok(false) };
    let earlier = app.store.get_by_key(job.tenant_id, key).await.map_err(|error| Problem::from_store(&error))?;
    Ok(earlier.is_some())
}

/// The problem of a key that was used for another payload.
#[must_use]
pub(crate) fn key_reused() -> Problem {
    let detail = "this Idempotency-Key was used for another request; send a fresh one for a new request";
    Problem::new(ProblemKind::KeyReused, detail)
}

/// The problem of a submission that could not be written.
fn not_written(error: &IngestError) -> Problem {
    match error {
        IngestError::QueueFull(_) => {
            Problem::new(ProblemKind::BacklogFull, format!("{error}; try again in 1 s")).retry_after(1)
        }
        IngestError::Stopped => Problem::unavailable("this server is stopping and", 1),
        IngestError::Store(error) => Problem::from_store(error),
    }
}

/// The header that names the span of the caller (W3C Trace Context).
pub(crate) const TRACEPARENT: &str = "traceparent";

/// The `traceparent` of the submission if it is valid; anything else is ignored, as the standard requires.
#[must_use]
pub fn traceparent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(TRACEPARENT)?.to_str().ok()?;
    let parts: Vec<_> = text.split('-').collect();
    let lengths = [2, 32, 16, 2];
    let hex = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let zero = |part: &str| part.bytes().all(|b| b == b'0');
    let valid = parts.len() == 4
        && parts.iter().zip(lengths).all(|(part, length)| part.len() == length && hex(part))
        && parts[0] != "ff"
        && !zero(parts[1])
        && !zero(parts[2]);
    valid.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_real_traceparent_is_taken() {
        let read = |text: &'static str| {
            traceparent(&HeaderMap::from_iter([("traceparent".parse().unwrap(), text.parse().unwrap())]))
        };
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(read(good).as_deref(), Some(good));
        for bad in [
            "",
            "00-1-2-3",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
