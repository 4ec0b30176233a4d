//! `GET /api/jobs/{id}/events` and `GET /api/events`: changes and progress of jobs, as server-sent events.

use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use domain::EventCursor;
use serde::Deserialize;
use store::events::EventScope;
use store::jobs::Scope;
use utoipa::IntoParams;

use crate::auth::Caller;
use crate::extract::{JobPath, QueryString};
use crate::live::{StreamOptions, open};
use crate::problem::{Answer, Problem, ProblemBody};
use crate::state::{App, AppState};

/// Start of a stream.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// Id of the last event received, for clients that cannot send the `Last-Event-ID` header. The header takes precedence.
    last_event_id: Option<String>,
}

/// Streams a job's events from its submission, or after `Last-Event-ID`, until the job ends.
///
/// `state` events have an id and the data `{"job_id", "kind", "detail", "at"}`. `progress` events have no id and the data
/// `{"job_id", "stage", "step", "steps", "skipped", "remaining_s"}`. `preview` events have no id and the data `{"job_id", "step",
/// "steps", "image"}`, where `image` is an animated WebP as a data URL. One `ready` event follows the past events. `ping` events have no
/// id and the data `{}`; one begins the stream, and one follows each 15 s of silence (`server.sse_keepalive_s`). The response is 204 if
/// the job has ended and the client has received all its events.
#[utoipa::path(
    get, path = "/api/jobs/{job_id}/events", tag = "events",
    params(("job_id" = uuid::Uuid, Path), EventsQuery, ("Last-Event-ID" = Option<String>, Header)),
    responses(
        (status = 200, description = "The event stream", content_type = "text/event-stream"),
        (status = 204, description = "The job has ended and all its events were received"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "The job does not exist"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "A parameter is invalid"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "Too many event streams are open, or the database is unavailable"),
    )
)]
pub(crate) async fn job_events(
    State(app): State<AppState>,
    caller: Caller,
    JobPath(job_id): JobPath,
    QueryString(query): QueryString<EventsQuery>,
    headers: HeaderMap,
) -> Answer<Response> {
    let options = options(&app, &caller, query, &headers)?;
    let job = app.store.get(caller.scope(), job_id).await.map_err(|error| Problem::from_store(&error))?;
    job.ok_or_else(Problem::no_job)?;
    open(app.store.clone(), &app.tail, EventScope::Job(job_id), options).await
}

/// Streams the events of all jobs that the caller may see, from now on or after `Last-Event-ID`.
#[utoipa::path(
    get, path = "/api/events", tag = "events",
    params(EventsQuery, ("Last-Event-ID" = Option<String>, Header)),
    responses(
        (status = 200, description = "The event stream, which does not end", content_type = "text/event-stream"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "A parameter is invalid"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "Too many event streams are open, or the database is unavailable"),
    )
)]
pub(crate) async fn all_events(
    State(app): State<AppState>,
    caller: Caller,
    QueryString(query): QueryString<EventsQuery>,
    headers: HeaderMap,
) -> Answer<Response> {
    let scope = match caller.scope() {
        Scope::Fleet => EventScope::Fleet,
        Scope::Tenant(tenant_id) => EventScope::Tenant(tenant_id),
    };
    let options = options(&app, &caller, query, &headers)?;
    open(app.store.clone(), &app.tail, scope, options).await
}

fn options(app: &App, caller: &Caller, query: EventsQuery, headers: &HeaderMap) -> Answer<StreamOptions> {
    let header = headers.get("last-event-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let after = header
        .or(query.last_event_id)
        .filter(|text| !text.is_empty())
        .map(|text| text.parse::<EventCursor>())
        .transpose()
        .map_err(|error| Problem::field("Last-Event-ID", error.to_string()))?;
    let place = app.streams.take(caller.tenant_id)?;
    Ok(StreamOptions {
        after,
        keepalive: Duration::from_secs(app.settings.server.sse_keepalive_s),
        page: crate::state::EVENTS_PAGE,
        stop: app.stop.soft().clone(),
        place,
        access: app.access.watch(&caller.proof),
    })
}
