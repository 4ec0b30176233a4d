//! Middleware: one span and one measurement for each request.
//!
//! Never logs a query string or a body: both may hold a prompt. The route's pattern is the metrics' label, so ids are none.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

use crate::state::AppState;

/// Counts and times a request.
pub async fn observe(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    // What matches no route is one label, whatever the scanner tries.
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let id = request.headers().get("x-request-id").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let span = tracing::info_span!("request", http.method = %method, http.route = %route, request.id = %id);
    let response = next.run(request).instrument(span.clone()).await;
    let (status, seconds) = (response.status(), begun.elapsed().as_secs_f64());
    app.metrics.request(&route, method.as_str(), status.as_u16(), seconds);
    let duration_ms = seconds * 1000.0;
    if status.is_server_error() {
        tracing::warn!(parent: &span, status = status.as_u16(), duration_ms, "request answered with an error");
    } else {
        tracing::debug!(parent: &span, status = status.as_u16(), duration_ms, "request answered");
    }
    response
}
