//! Middleware: one span and one measurement for each request.
//!
//! It never logs a query string or a body, because both may contain a prompt. Metrics are labelled with the route's pattern
//! instead of the path, so that ids do not become labels.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

use crate::state::AppState;

/// Measures a request and logs its outcome.
pub async fn observe(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    // All paths without a route share one label, so that a scanner cannot create an unbounded number of series.
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str);
    let route = crate::prefix::strip(route, &app.settings.server.path_prefix).to_owned();
    let id = request.headers().get("x-request-id").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let span = tracing::info_span!("request", http.method = %method, http.route = %route, request.id = %id);
    let response = next.run(request).instrument(span.clone()).await;
    let (status, seconds) = (response.status(), begun.elapsed().as_secs_f64());
    app.metrics.request(&route, method.as_str(), status.as_u16(), seconds);
    let duration_ms = seconds * 1000.0;
    if status.is_server_error() {
        tracing::warn!(parent: &span, status = status.as_u16(), duration_ms, "request failed");
    } else {
        tracing::debug!(parent: &span, status = status.as_u16(), duration_ms, "request completed");
    }
    response
}
