//! Response headers of everything that this process serves.
//!
//! Rule: no response may make a browser contact another origin, be shown in a frame, or have its type guessed. The browsable API
//! documentation is the one exception: its bundle sets inline styles.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

/// For the page and every response of the API.
const CSP: &str = "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; \
                   base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// Only for the browsable API documentation.
const CSP_DOCS: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; \
                        base-uri 'none'; frame-ancestors 'none'";
/// Path of the browsable API documentation.
pub(crate) const DOCS_PATH: &str = "/api/docs";

const PERMISSIONS: HeaderName = HeaderName::from_static("permissions-policy");

/// Middleware: adds the security headers to every response.
pub(crate) async fn secure(request: Request, next: Next) -> Response {
    let csp = if request.uri().path().starts_with(DOCS_PATH) { CSP_DOCS } else { CSP };
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(csp));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(PERMISSIONS, HeaderValue::from_static("camera=(), microphone=(), geolocation=()"));
    // A response of the API depends on the caller and the time. Videos and hashed assets set their own value.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
