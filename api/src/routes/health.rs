//! `/livez`, `/readyz` and `GET /api/health`.
//!
//! Alive means that the process answers. Ready means that it takes requests; it stays ready without Postgres, since a
//! clear 503 is better than no answer. Health is the whole picture, for people and dashboards.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;

/// One word.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatusView {
    /// `ok`.
    pub status: &'static str,
}

/// The process answers.
#[utoipa::path(get, path = "/livez", tag = "health", responses((status = 200, body = StatusView)))]
pub(crate) async fn livez() -> Json<StatusView> {
    Json(StatusView { status: "ok" })
}

/// The process takes requests.
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses(
        (status = 200, body = StatusView),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "Starting or stopping"),
    )
)]
pub(crate) async fn readyz(State(app): State<AppState>) -> Response {
    if app.is_ready() {
        Json(StatusView { status: "ok" }).into_response()
    } else {
        Problem::unavailable("this server is starting or stopping and", 1).into_response()
    }
}

/// The whole picture.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HealthView {
    /// `ok`, `degraded` (slower, nothing lost) or `unavailable` (the database is away).
    pub status: &'static str,
    /// Version of the API process.
    pub version: &'static str,
    /// Each dependency.
    pub checks: ChecksView,
    /// Workers that were heard of lately.
    pub workers: u32,
}

/// Each dependency, `ok` or what its absence means.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChecksView {
    /// Postgres.
    pub database: CheckView,
    /// RabbitMQ.
    pub broker: CheckView,
    /// Redis.
    pub cache: CheckView,
}

/// One dependency.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CheckView {
    /// `ok`, `down` or `off`.
    pub status: &'static str,
    /// What that means; absent when all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'static str>,
}

impl CheckView {
    fn of(up: bool, meaning: &'static str) -> Self {
        if up { Self { status: "ok", detail: None } } else { Self { status: "down", detail: Some(meaning) } }
    }
}

/// Shows how the process and its dependencies are. 503 only when nothing can be accepted.
#[utoipa::path(
    get, path = "/api/health", tag = "health",
    responses((status = 200, body = HealthView), (status = 503, body = HealthView, description = "The database is away"))
)]
pub async fn health(State(app): State<AppState>) -> Response {
    let (database, cache) = tokio::join!(app.store.ping_writable(), app.cache.ping());
    let database = database.is_ok();
    let broker = *app.broker.health().borrow();
    let cache_on = app.settings.cache.enabled;
    let cache = match cache_on {
        true => CheckView::of(cache, "prompts are encoded anew; videos are the same"),
        false => CheckView { status: "off", detail: None },
    };
    let status = match (database, broker && cache.status != "down") {
        (false, _) => "unavailable",
        (true, false) => "degraded",
        (true, true) => "ok",
    };
    let view = HealthView {
        status,
        version: env!("CARGO_PKG_VERSION"),
        checks: ChecksView {
            database: CheckView::of(
                database,
                "nothing can be accepted or shown until it is back; nothing accepted is lost",
            ),
            broker: CheckView::of(
                broker,
                "jobs are accepted and rendered; everything is found by polling, a little later",
            ),
            cache,
        },
        workers: app.pools().iter().map(|load| load.workers).sum(),
    };
    if database {
        Json(view).into_response()
    } else {
        let retry = (header::RETRY_AFTER, HeaderValue::from_static("2"));
        (StatusCode::SERVICE_UNAVAILABLE, [retry], Json(view)).into_response()
    }
}
