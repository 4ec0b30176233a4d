//! `GET /api/jobs`: pages of jobs, newest first.

use axum::Json;
use axum::extract::State;
use domain::{FieldError, JobId, JobStatus, Tier};
use serde::{Deserialize, Serialize};
use store::jobs::JobFilter;
use utoipa::{IntoParams, ToSchema};

use crate::auth::Caller;
use crate::dto::job::JobView;
use crate::extract::QueryString;
use crate::problem::{Answer, Problem, ProblemBody};
use crate::state::AppState;

/// Jobs per page if the request does not set `limit`.
const PAGE_DEFAULT: u32 = 50;

/// Filters and position of a page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Only jobs in these states, separated by commas.
    status: Option<String>,
    /// Only jobs whose prompt contains this text, ignoring case.
    q: Option<String>,
    /// Only jobs of this model.
    model: Option<String>,
    /// Only jobs that run in this tier.
    tier: Option<Tier>,
    /// True returns deleted jobs instead of the others.
    deleted: Option<bool>,
    /// Most jobs on the page; default 50.
    limit: Option<u32>,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// One page.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobListView {
    /// The jobs, newest first.
    pub jobs: Vec<JobView>,
    /// Send this as `cursor` to get the next page; null on the last page. With a filter, a page may be short or even empty although
    /// more pages follow.
    pub next_cursor: Option<String>,
}

/// Lists jobs, newest first.
#[utoipa::path(
    get, path = "/api/jobs", tag = "jobs", params(ListQuery),
    responses(
        (status = 200, body = JobListView),
        (status = 422, description = "A parameter is invalid", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list_jobs(
    State(app): State<AppState>,
    caller: Caller,
    QueryString(query): QueryString<ListQuery>,
) -> Answer<Json<JobListView>> {
    let limits = &app.settings.limits;
    let mut wrong = Vec::new();
    let limit = query.limit.unwrap_or(PAGE_DEFAULT.min(limits.page_max));
    if limit == 0 || limit > limits.page_max {
        wrong.push(FieldError::new("limit", format!("must be between 1 and {}", limits.page_max)));
    }
    let statuses = statuses(query.status.as_deref()).unwrap_or_else(|error| {
        wrong.push(error);
        Vec::new()
    });
    let before = query.cursor.as_deref().map(str::parse::<JobId>).transpose().unwrap_or_else(|_| {
        wrong.push(FieldError::new("cursor", "must be the next_cursor of a previous page"));
        None
    });
    // Postgres rejects text with a NUL character even in a comparison; without this check it would be an internal error.
    for (field, text) in [("q", &query.q), ("model", &query.model)] {
        if text.as_ref().is_some_and(|text| text.contains('\0')) {
            wrong.push(FieldError::new(field, "must not contain the NUL character"));
        }
    }
    if !wrong.is_empty() {
        return Err(Problem::fields(wrong));
    }
    let filter = JobFilter {
        statuses,
        prompt_contains: query.q.filter(|text| !text.is_empty()),
        model_id: query.model,
        tier: query.tier,
        deleted: query.deleted.unwrap_or(false),
    };
    let page = app
        .store
        .list(caller.scope(), &filter, before, limit, limits.list_scan_max)
        .await
        .map_err(|error| Problem::from_store(&error))?;
    let jobs = app.views(page.jobs).await;
    Ok(Json(JobListView { jobs, next_cursor: page.next.map(|id| id.to_string()) }))
}

fn statuses(text: Option<&str>) -> Result<Vec<JobStatus>, FieldError> {
    let words = text.unwrap_or_default().split(',').map(str::trim).filter(|word| !word.is_empty());
    words
        .map(|word| {
            word.parse().map_err(|error: domain::tier::UnknownWord| FieldError::new("status", error.to_string()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_separated_by_commas() {
        assert_eq!(statuses(Some("queued, running")).unwrap(), [JobStatus::Queued, JobStatus::Running]);
        assert_eq!(statuses(None).unwrap(), []);
        assert_eq!(statuses(Some("done")).unwrap_err().field, "status");
    }
}
