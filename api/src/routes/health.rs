//! `/livez`, `/readyz` and `GET /api/health`.
//!
//! Live means that the process responds. Ready means that it accepts requests. It stays ready without Postgres, because a clear
//! 503 is better for clients than a balancer without any replica. Health shows all dependencies, for people and dashboards.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;

/// Result of a probe.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatusView {
    /// `ok`.
    pub status: &'static str,
}

/// Liveness probe: the process responds.
#[utoipa::path(get, path = "/livez", tag = "health", responses((status = 200, body = StatusView)))]
pub(crate) async fn livez() -> Json<StatusView> {
    Json(StatusView { status: "ok" })
}

/// Readiness probe: the process accepts requests.
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses(
        (status = 200, body = StatusView),
        (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "The process is starting or stopping"),
    )
)]
pub(crate) async fn readyz(State(app): State<AppState>) -> Response {
    if app.is_ready() {
        Json(StatusView { status: "ok" }).into_response()
    } else {
        Problem::try_later("this server is starting or stopping", 1).into_response()
    }
}

/// Health of the API process and its dependencies.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HealthView {
    /// `ok`, `degraded` (slower, but nothing is lost) or `unavailable` (the database is unavailable).
    pub status: &'static str,
    /// Version of the API process.
    pub version: &'static str,
    /// State of each dependency.
    pub checks: ChecksView,
    /// Number of live workers.
    pub workers: u32,
}

/// State of each dependency.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChecksView {
    /// Postgres.
    pub database: CheckView,
    /// RabbitMQ.
    pub broker: CheckView,
    /// Redis.
    pub cache: CheckView,
}

/// State of one dependency.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CheckView {
    /// `ok`, `down` or `off`.
    pub status: &'static str,
    /// Consequence of the outage; absent when the dependency is up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'static str>,
}

impl CheckView {
    fn of(up: bool, meaning: &'static str) -> Self {
        if up { Self { status: "ok", detail: None } } else { Self { status: "down", detail: Some(meaning) } }
    }
}

/// Returns the health of the process and its dependencies. The status is 503 only if the database is unavailable.
#[utoipa::path(
    get, path = "/api/health", tag = "health",
    responses((status = 200, body = HealthView), (status = 503, body = HealthView, description = "The database is unavailable"))
)]
pub async fn health(State(app): State<AppState>) -> Response {
    let (database, cache) = tokio::join!(app.store.ping_writable(), app.cache.ping());
    let database = database.is_ok();
    let broker = *app.broker.health().borrow();
    let cache_on = app.settings.cache.enabled;
    let cache = match cache_on {
        true => CheckView::of(cache, "every prompt is encoded again; videos are not affected"),
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
                "jobs cannot be accepted or shown until it is available again; accepted jobs are not lost",
            ),
            broker: CheckView::of(
                broker,
                "jobs are accepted and rendered, with a delay, because processes poll the database instead",
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
