//! What `generate` and `batch` have in common: validation, limits, and the job that goes into the database.

use std::time::Instant;

use axum::http::HeaderMap;
use domain::{FieldError, Plan, VideoRequest};
use store::jobs::NewJob;

use crate::auth::Caller;
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
    let job = NewJob { payload_hash, ..NewJob::new(caller.tenant_id, request, &manifest.id, planned.shape) };
    Ok((job, planned.plan))
}

/// Takes `cost` submissions from the caller's rate and the backlog.
///
/// # Errors
/// 429 with the rate's headers, 503 when the backlog is full, both with `Retry-After`.
pub(crate) async fn admit(app: &App, caller: &Caller, cost: u32) -> Answer<Option<RateState>> {
    let rate = app.rate.take(caller.rate_key(), cost, Instant::now()).map_err(|state| {
        let detail = format!("this key's rate is used up; try again in {} s", state.wait_s);
        let problem = Problem::new(ProblemKind::RateLimited, detail).retry_after(state.wait_s);
        state.headers().into_iter().fold(problem, |problem, (name, value)| problem.with_header(name, value))
    })?;
    match app.backlog.admit(caller.tenant_id, u64::from(cost)).await {
        Ok(()) => Ok(rate),
        Err(problem) => {
            app.rate.give_back(caller.rate_key(), cost);
            Err(problem)
        }
    }
}

/// The `traceparent` of the submission if it is valid; anything else is ignored, as the standard requires.
#[must_use]
pub fn traceparent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("traceparent")?.to_str().ok()?;
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
