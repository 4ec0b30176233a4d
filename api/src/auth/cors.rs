//! Pages of other sites that may use the API, as a setting. None by default.
//!
//! A browser lets a page read responses of another site only if that site says so. The cookie of a sign-in is never sent along,
//! so such a page needs a key of its own.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::state::AppState;

/// Headers that a page may send. Those of the second line on are sent by OpenAI's JavaScript client; earlier versions of it set
/// `user-agent`, which some browsers allow.
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, idempotency-key, last-event-id, range, \
     openai-beta, openai-organization, openai-project, user-agent, x-stainless-arch, \
     x-stainless-custom-poll-interval, x-stainless-helper-method, x-stainless-lang, x-stainless-os, \
     x-stainless-package-version, x-stainless-poll-helper, x-stainless-retry-count, x-stainless-runtime, \
     x-stainless-runtime-version, x-stainless-timeout",
);
/// Headers that a page may read. That client reads `openai-poll-after-ms`, `retry-after` and `x-should-retry`.
const RESPONSE_HEADERS: HeaderValue = HeaderValue::from_static(
    "content-range, etag, location, openai-poll-after-ms, retry-after, x-request-id, x-should-retry",
);
/// Methods of the API.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE");
/// How long a browser remembers the response to its question, seconds.
const REMEMBER_S: HeaderValue = HeaderValue::from_static("600");

/// Middleware: answers the questions of browsers, and lets allowed pages read responses.
pub(crate) async fn share(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let origins = &app.settings.server.cors_origins;
    if origins.is_empty() {
        return next.run(request).await;
    }
    let Some(origin) = allowed(origins, request.headers()) else { return next.run(request).await };
    let asks =
        request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if asks { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if asks {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, REMEMBER_S);
    } else {
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS);
    }
    response
}

/// The origin of a request, if it is one of `origins`.
#[must_use]
pub(crate) fn allowed(origins: &[String], headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    let text = origin.to_str().ok()?;
    origins.iter().any(|one| one.eq_ignore_ascii_case(text)).then(|| origin.clone())
}
