//! Middleware: one span and one measurement for each request, and the trace that its jobs continue.
//!
//! It never logs a query string or a body, because both may contain a prompt. Metrics are labelled with the route's pattern
//! instead of the path, so that ids do not become labels.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;
use telemetry::TraceSpan;
use tracing::Instrument as _;

use crate::state::AppState;
use crate::submission::{TRACEPARENT, traceparent};

/// Measures a request and logs its outcome.
pub async fn observe(State(app): State<AppState>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    // All paths without a route share one label, so that a scanner cannot create an unbounded number of series.
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str);
    let route = crate::prefix::strip(route, &app.settings.server.path_prefix).to_owned();
    let id = request.headers().get("x-request-id").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let span = tracing::info_span!(
        "request", http.method = %method, http.route = %route, request.id = %id, trace_id = tracing::field::Empty
    );
    let traced = trace(&app, &mut request, &route);
    if let Some(trace_id) = traced.trace_id() {
        span.record("trace_id", trace_id);
    }
    let response = next.run(request).instrument(span.clone()).await;
    let (status, seconds) = (response.status(), begun.elapsed().as_secs_f64());
    traced.set("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        traced.fail(status.as_str());
    }
    app.metrics.request(&route, method.as_str(), status.as_u16(), seconds);
    let duration_ms = seconds * 1000.0;
    if status.is_server_error() {
        tracing::warn!(parent: &span, status = status.as_u16(), duration_ms, "request failed");
    } else {
        tracing::debug!(parent: &span, status = status.as_u16(), duration_ms, "request completed");
    }
    response
}

/// Begins the trace of a request that changes something, or whose client traces it. The request then carries this span as its
/// `traceparent`, so that its jobs continue below it. Streams and polls without one would only be noise.
fn trace(app: &AppState, request: &mut Request, route: &str) -> TraceSpan {
    if !app.traces.is_on() {
        return TraceSpan::default();
    }
    let parent = traceparent(request.headers());
    if parent.is_none() && request.method().is_safe() {
        return TraceSpan::default();
    }
    let method = request.method().as_str().to_owned();
    let span = app.traces.request(parent.as_deref(), format!("{method} {route}"));
    span.set("http.request.method", method);
    span.set("http.route", route.to_owned());
    if let Some(value) = span.traceparent().and_then(|text| HeaderValue::try_from(text).ok()) {
        request.headers_mut().insert(TRACEPARENT, value);
    }
    span
}
