//! `GET /api/usage`: GPU seconds, dollars and savings, grouped as the caller wants, as JSON or CSV.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use chrono::{Datelike, Days, NaiveDate};
use domain::{Clock, FieldError, SystemClock};
use serde::Deserialize;
use store::jobs::Scope;
use store::ledger::{GroupBy, UsageFilter};
use utoipa::{IntoParams, ToSchema};

use crate::auth::Caller;
use crate::csv;
use crate::dto::usage::{UsageRowView, UsageSumsView, UsageView, WorkerUsageView};
use crate::extract::QueryString;
use crate::problem::{Answer, Problem, ProblemBody};
use crate::state::{App, AppState};

/// Longest range, days: two years.
const DAYS_MAX: u64 = 732;
/// Most rows of a response.
const ROWS_MAX: u32 = 10_000;
/// The words of `group_by`.
const GROUPS: [&str; 7] = ["day", "month", "tenant", "key", "model", "tier", "worker"];

/// Format of the response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FormatWord {
    /// JSON.
    #[default]
    Json,
    /// CSV with a header line. Rows of workers follow those of usage; `kind` tells them apart.
    Csv,
}

/// Range, groups and format.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UsageQuery {
    /// First day (UTC), such as 2026-11-01; default: the first day of the current month.
    from: Option<String>,
    /// Last day (UTC), included; default: today.
    to: Option<String>,
    /// What to group by, separated by commas: `day` or `month`, `tenant`, `key`, `model`, `tier`, `worker`; default `day`. `worker`
    /// groups the workers' time, and requires an admin key.
    group_by: Option<String>,
    /// `json` (default) or `csv`.
    #[param(inline)]
    format: Option<FormatWord>,
}

/// Returns GPU seconds, dollars and savings by day, month, tenant, key, model or tier: the caller's own, or those of the whole fleet
/// for admins, who also see the time of the workers, idle time included. The numbers are counted when runs end, so this is fast for
/// any number of jobs, and they stay when jobs are deleted.
#[utoipa::path(
    get, path = "/api/usage", tag = "usage", params(UsageQuery),
    responses(
        (status = 200, description = "JSON, or CSV with `format=csv`", content((UsageView = "application/json"), (String = "text/csv"))),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "A parameter is invalid, or there are too many rows"),
    )
)]
pub(crate) async fn usage(
    State(app): State<AppState>,
    caller: Caller,
    QueryString(query): QueryString<UsageQuery>,
) -> Answer<Response> {
    let view = read(&app, &caller, &query).await?;
    if query.format.unwrap_or_default() == FormatWord::Json {
        return Ok(Json(view).into_response());
    }
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8; header=present"));
    let name = HeaderValue::from_static("attachment; filename=\"usage.csv\"");
    Ok(([kind, (header::CONTENT_DISPOSITION, name)], table(&view)).into_response())
}

async fn read(app: &App, caller: &Caller, query: &UsageQuery) -> Answer<UsageView> {
    let (from, to) = range(query)?;
    let groups = groups(query.group_by.as_deref().unwrap_or("day"))?;
    let scope = caller.scope();
    // Without keys there is one tenant, whom everything belongs to.
    let sees_workers = scope == Scope::Fleet || !app.keys_required;
    if groups.contains(&"worker") && !sees_workers {
        return Err(Problem::field("group_by", "grouping by worker requires an admin key; workers serve all tenants"));
    }
    let has = |word: &str| groups.contains(&word);
    let by = GroupBy {
        day: has("day"),
        month: has("month"),
        tenant: has("tenant"),
        key: has("key"),
        model: has("model"),
        tier: has("tier"),
    };
    let filter = UsageFilter { scope, from, to, limit: ROWS_MAX + 1 };
    let rows = app.store.usage(filter, by).await.map_err(|error| Problem::from_store(&error))?;
    let workers = match sees_workers {
        true => Some(app.store.worker_usage(filter, by, has("worker")).await),
        false => None,
    };
    let workers = workers.transpose().map_err(|error| Problem::from_store(&error))?;
    let most = rows.len().max(workers.as_ref().map_or(0, Vec::len));
    if most > ROWS_MAX as usize {
        let reason = format!("gives more than {ROWS_MAX} rows; group by fewer fields or months, or ask for fewer days");
        return Err(Problem::field("group_by", reason));
    }
    let rows: Vec<UsageRowView> = rows.into_iter().map(UsageRowView::from).collect();
    let total = rows.iter().fold(UsageSumsView::default(), |sum, row| sum.plus(&row.sums));
    let workers = workers.map(|workers| workers.into_iter().map(WorkerUsageView::from).collect());
    Ok(UsageView { from, to, group_by: groups, rows, total, workers })
}

/// First and last day.
fn range(query: &UsageQuery) -> Answer<(NaiveDate, NaiveDate)> {
    let today = SystemClock.now().date_naive();
    let mut wrong = Vec::new();
    let mut read = |name: &str, text: &Option<String>, default: NaiveDate| match text {
        None => default,
        Some(text) => text.parse().unwrap_or_else(|_| {
            wrong.push(FieldError::new(name, "must be a date such as 2026-11-28"));
            default
        }),
    };
    let to = read("to", &query.to, today);
    let from = read("from", &query.from, to.with_day(1).unwrap_or(to));
    if wrong.is_empty() && from > to {
        wrong.push(FieldError::new("from", "must not be after `to`"));
    }
    if wrong.is_empty() && from.checked_add_days(Days::new(DAYS_MAX)).is_some_and(|end| end <= to) {
        wrong.push(FieldError::new("from", format!("must be less than {DAYS_MAX} days before `to`")));
    }
    if wrong.is_empty() { Ok((from, to)) } else { Err(Problem::fields(wrong)) }
}

fn groups(text: &str) -> Answer<Vec<&'static str>> {
    let mut found = Vec::new();
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let Some(known) = GROUPS.into_iter().find(|known| *known == word) else {
            let reason = format!("'{word}' is not one of {}", GROUPS.join(", "));
            return Err(Problem::field("group_by", reason));
        };
        if !found.contains(&known) {
            found.push(known);
        }
    }
    if found.contains(&"day") && found.contains(&"month") {
        return Err(Problem::field("group_by", "use either `day` or `month`"));
    }
    Ok(found)
}

/// The rows as CSV.
fn table(view: &UsageView) -> String {
    let mut lines = csv::Lines::new(&[
        "kind",
        "period",
        "tenant",
        "key_id",
        "key",
        "model",
        "tier",
        "worker",
        "runs",
        "videos",
        "gpu_seconds",
        "cost_usd",
        "repeated_runs",
        "repeated_gpu_seconds",
        "repeated_cost_usd",
        "lost_steps",
        "saved_adaptive_steps_s",
        "saved_adaptive_steps_usd",
        "saved_step_cache_s",
        "saved_step_cache_usd",
        "saved_embedding_cache_s",
        "saved_embedding_cache_usd",
        "saved_drafts_s",
        "saved_drafts_usd",
        "online_s",
        "online_usd",
        "idle_s",
        "idle_usd",
    ]);
    for row in &view.rows {
        lines.push(&usage_cells(row));
    }
    for row in view.workers.iter().flatten() {
        lines.push(&worker_cells(row));
    }
    lines.text()
}

fn usage_cells(row: &UsageRowView) -> Vec<String> {
    let word = |text: &Option<String>| text.clone().unwrap_or_default();
    let sums = &row.sums;
    let mut cells = vec![
        "usage".to_owned(),
        word(&row.period),
        word(&row.tenant),
        row.key_id.map(|id| id.to_string()).unwrap_or_default(),
        word(&row.key),
        word(&row.model),
        word(&row.tier),
        String::new(),
        sums.runs.to_string(),
        sums.videos.to_string(),
        sums.gpu_seconds.to_string(),
        sums.cost_usd.to_string(),
        sums.repeated_runs.to_string(),
        sums.repeated_gpu_seconds.to_string(),
        sums.repeated_cost_usd.to_string(),
        sums.lost_steps.to_string(),
    ];
    let saved = &sums.saved;
    for amount in [saved.adaptive_steps, saved.step_cache, saved.embedding_cache, saved.drafts] {
        cells.extend([amount.gpu_seconds.to_string(), amount.usd.to_string()]);
    }
    cells
}

fn worker_cells(row: &WorkerUsageView) -> Vec<String> {
    let word = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut cells = vec![String::new(); 28];
    cells[0] = "worker".to_owned();
    cells[1] = word(&row.period);
    cells[5] = word(&row.model);
    cells[7] = word(&row.worker);
    cells[8] = row.runs.to_string();
    cells[9] = row.videos.to_string();
    cells[10] = row.busy_s.to_string();
    cells[11] = (row.online_usd - row.idle_usd).to_string();
    cells[12] = row.repeated_runs.to_string();
    cells[13] = row.repeated_gpu_seconds.to_string();
    cells[14] = row.repeated_cost_usd.to_string();
    cells[15] = row.lost_steps.to_string();
    let times = [row.online_s, row.online_usd, row.idle_s, row.idle_usd];
    for (cell, time) in cells[24..].iter_mut().zip(times) {
        *cell = time.to_string();
    }
    cells
}
