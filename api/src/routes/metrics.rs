//! `GET /metrics`: metrics for Prometheus.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use store::keys::Role;

use crate::auth::Caller;
use crate::problem::{Answer, Problem, ProblemKind};
use crate::state::{App, AppState};

/// The metrics on the API's own port. If keys are required, this needs an admin key, because every client can reach this port.
pub async fn metrics(State(app): State<AppState>, caller: Caller) -> Answer<Response> {
    if caller.role != Role::Admin {
        return Err(Problem::new(
            ProblemKind::Forbidden,
            "metrics require an admin key; to read them without one, set server.metrics_port",
        ));
    }
    Ok(render(&app))
}

/// The metrics on a separate port, which must not be published.
pub(crate) async fn metrics_alone(State(app): State<AppState>) -> Response {
    render(&app)
}

fn render(app: &App) -> Response {
    let usage = app.store.pool_usage();
    app.metrics.database_pool(usage.used, usage.open);
    app.metrics.event_streams.set(i64::try_from(app.streams.open()).unwrap_or(i64::MAX));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render()).into_response()
}
