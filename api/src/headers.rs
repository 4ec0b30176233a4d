//! Response headers that hold for everything this process serves.
//!
//! Rule: no answer may make a browser talk to another origin, be framed, or guess a type. The API's browsable page is
//! the one exception: its bundle sets inline styles.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

/// For the page and every answer of the API.
const CSP: &str = "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; \
                   base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// For the browsable page of the API alone.
const CSP_DOCS: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; \
                        base-uri 'none'; frame-ancestors 'none'";
/// Where the browsable page of the API lies.
pub(crate) const DOCS_PATH: &str = "/api/docs";

const PERMISSIONS: HeaderName = HeaderName::from_static("permissions-policy");

/// Middleware: adds the security headers to every answer.
pub(crate) async fn secure(request: Request, next: Next) -> Response {
    let csp = if request.uri().path().starts_with(DOCS_PATH) { CSP_DOCS } else { CSP };
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(csp));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(PERMISSIONS, HeaderValue::from_static("camera=(), microphone=(), geolocation=()"));
    // What the API says is for this caller and for now; videos and hashed assets say otherwise themselves.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
