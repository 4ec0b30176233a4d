//! `/api/webhooks/deliveries`: what was sent to webhooks, and sending it again.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use domain::{FieldError, JobId};
use serde::Deserialize;
use store::webhooks::{DeliveryFilter, DeliveryState};
use utoipa::IntoParams;

use crate::auth::Caller;
use crate::dto::webhook::{DeliveryListView, DeliveryView};
use crate::extract::QueryString;
use crate::problem::{Answer, Problem, ProblemBody, ProblemKind};
use crate::state::AppState;

/// Deliveries per page if the request does not set `limit`.
const PAGE_DEFAULT: u32 = 50;

/// Filters and position of a page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogQuery {
    /// Only deliveries of this job's events.
    job_id: Option<String>,
    /// Only deliveries in this state: `pending`, `delivered` or `failed`.
    state: Option<String>,
    /// Number of deliveries on the page; default 50. A page may be longer by the other deliveries of its last event.
    limit: Option<u32>,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// Lists deliveries, newest event first.
#[utoipa::path(
    get, path = "/api/webhooks/deliveries", tag = "webhooks", params(LogQuery),
    responses(
        (status = 200, body = DeliveryListView),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "A parameter is invalid"),
    )
)]
pub(crate) async fn list(
    State(app): State<AppState>,
    caller: Caller,
    QueryString(query): QueryString<LogQuery>,
) -> Answer<Json<DeliveryListView>> {
    let limit_max = app.settings.limits.page_max;
    let limit = query.limit.unwrap_or(PAGE_DEFAULT.min(limit_max));
    let mut wrong = Vec::new();
    if limit == 0 || limit > limit_max {
        wrong.push(FieldError::new("limit", format!("must be between 1 and {limit_max}")));
    }
    let job_id = query.job_id.as_deref().map(str::parse::<JobId>).transpose();
    let state = query.state.as_deref().map(str::parse::<DeliveryState>).transpose();
    let before = query.cursor.as_deref().map(str::parse::<i64>).transpose();
    wrong.extend(job_id.is_err().then(|| FieldError::new("job_id", "must be the id of a job")));
    wrong.extend(state.as_ref().err().map(|reason| FieldError::new("state", reason.clone())));
    wrong.extend(before.is_err().then(|| FieldError::new("cursor", "must be the next_cursor of a previous page")));
    let (Ok(job_id), Ok(state), Ok(before), true) = (job_id, state, before, wrong.is_empty()) else {
        return Err(Problem::fields(wrong));
    };
    let filter = DeliveryFilter { job_id, state, before };
    let found = app.store.deliveries(caller.scope(), filter, limit).await;
    let found = found.map_err(|error| Problem::from_store(&error))?;
    let full = found.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let next_cursor = found.last().filter(|_| full).map(|last| last.seq.to_string());
    Ok(Json(DeliveryListView { deliveries: found.into_iter().map(DeliveryView::from).collect(), next_cursor }))
}

/// Sends a delivery again, with the same `webhook-id`, whether it was delivered, given up or is still to be sent. It may arrive
/// after later events of its job.
#[utoipa::path(
    post, path = "/api/webhooks/deliveries/{delivery_id}/redeliver", tag = "webhooks",
    params(("delivery_id" = uuid::Uuid, Path)),
    responses(
        (status = 202, description = "It is sent soon"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "The delivery does not exist, or its time in the log is over"),
    )
)]
pub(crate) async fn redeliver(
    State(app): State<AppState>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
) -> Answer<StatusCode> {
    let unknown = || {
        let detail = "there is no delivery with this id; GET /api/webhooks/deliveries lists yours";
        Problem::new(ProblemKind::NotFound, detail)
    };
    let id = id.ok().and_then(|Path(text)| text.parse().ok()).ok_or_else(unknown)?;
    match app.store.redeliver(caller.scope(), id).await.map_err(|error| Problem::from_store(&error))? {
        true => Ok(StatusCode::ACCEPTED),
        false => Err(unknown()),
    }
}
