//! `GET /v1/videos`: pages of videos, continued after the last id of the page before.

use axum::Json;
use axum::extract::State;
use domain::{FieldError, JobId};
use serde::{Deserialize, Serialize};
use store::jobs::{JobFilter, JobPage};

use super::error::Refusal;
use super::video::{Video, remaining_s};
use crate::auth::Caller;
use crate::extract::QueryString;
use crate::problem::Problem;
use crate::state::{App, AppState};

/// Videos on a page if the request does not say, and at most.
const PAGE_DEFAULT: u32 = 20;
const PAGE_MAX: u32 = 100;

/// Position and direction.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    after: Option<String>,
    limit: Option<u32>,
    order: Option<Order>,
}

/// By time of submission.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Order {
    #[default]
    Desc,
    Asc,
}

/// One page.
#[derive(Debug, Serialize)]
pub(super) struct VideoList {
    object: &'static str,
    data: Vec<Video>,
    first_id: Option<JobId>,
    last_id: Option<JobId>,
    has_more: bool,
}

/// Lists videos, newest first unless `order` is `asc`.
pub(super) async fn list(
    State(app): State<AppState>,
    caller: Caller,
    QueryString(query): QueryString<ListQuery>,
) -> Result<Json<VideoList>, Refusal> {
    let most = PAGE_MAX.min(app.settings.limits.page_max);
    let limit = query.limit.unwrap_or(PAGE_DEFAULT.min(most));
    let mut wrong = Vec::new();
    if limit == 0 || limit > most {
        wrong.push(FieldError::new("limit", format!("must be between 1 and {most}")));
    }
    let mut after = query.after.as_deref().map(str::parse::<JobId>).transpose().unwrap_or_else(|_| {
        wrong.push(FieldError::new("after", "must be the id of a video, the last_id of the page before"));
        None
    });
    if !wrong.is_empty() {
        return Err(Problem::fields(wrong).into());
    }
    let order = query.order.unwrap_or_default();
    // Clients take an empty page for the end, so pages on which everything was deleted are skipped.
    let page = loop {
        let page = read(&app, &caller, order, after, limit).await?;
        if !page.jobs.is_empty() || page.next.is_none() {
            break page;
        }
        after = page.next;
    };
    let has_more = page.next.is_some();
    let video = |job| {
        let remaining_s = remaining_s(&app, &job);
        Video::new(job, remaining_s)
    };
    let (first_id, last_id) = (page.jobs.first().map(|job| job.id), page.jobs.last().map(|job| job.id));
    let data = page.jobs.into_iter().map(video).collect();
    Ok(Json(VideoList { object: "list", data, first_id, last_id, has_more }))
}

async fn read(app: &App, caller: &Caller, order: Order, after: Option<JobId>, limit: u32) -> Result<JobPage, Problem> {
    let (scope, scan_max) = (caller.scope(), app.settings.limits.list_scan_max);
    let page = match order {
        Order::Desc => app.store.list(scope, &JobFilter::default(), after, limit, scan_max).await,
        Order::Asc => app.store.list_oldest_first(scope, after, limit, scan_max).await,
    };
    page.map_err(|error| Problem::from_store(&error))
}
