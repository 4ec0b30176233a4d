//! Middleware: ends a request that takes longer than the settings allow, for example because its body never arrives.
//!
//! The limit ends when the response begins, so it does not cut off event streams or videos. Uploads of adapters and pictures have a
//! longer one, which still ends those whose sender has stopped.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::{Problem, ProblemKind};
use crate::state::AppState;

/// A submission of this length or more may hold a picture, bytes. A shorter one needs 70 kbit/s to arrive within the usual limit.
const WITH_PICTURE_MIN: u64 = 256 << 10;

/// Returns 408 when the time limit is exceeded.
pub async fn limit(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let settings = &app.settings;
    let most_s = if is_upload(&request) { settings.limits.lora_upload_s } else { settings.server.request_timeout_s };
    match tokio::time::timeout(Duration::from_secs(most_s), next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format!("the request was not received and processed within {most_s} s; send it again");
            Problem::new(ProblemKind::TimedOut, detail).into_response()
        }
    }
}

/// Whether the body is a file or may hold one, which takes as long as its sender's line needs.
fn is_upload<B>(request: &axum::http::Request<B>) -> bool {
    if request.method() != Method::POST {
        return false;
    }
    match request.uri().path() {
        "/api/loras" | "/api/images" => true,
        "/api/generate" | "/v1/videos" => {
            let length = request.headers().get(header::CONTENT_LENGTH);
            let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
            // Without a length it may be a picture, too.
            length.is_none_or(|length| length >= WITH_PICTURE_MIN)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bodies_that_may_hold_a_file_have_the_longer_limit() {
        let upload = |method: &str, path: &str, length: Option<u64>| {
            let mut request = axum::http::Request::builder().method(method).uri(path);
            if let Some(length) = length {
                request = request.header(header::CONTENT_LENGTH, length.to_string());
            }
            is_upload(&request.body(()).unwrap())
        };
        assert!(upload("POST", "/api/loras?name=a", Some(9)) && upload("POST", "/api/images", Some(9)));
        for path in ["/api/generate", "/v1/videos"] {
            assert!(upload("POST", path, Some(WITH_PICTURE_MIN)) && upload("POST", path, None), "{path}");
            assert!(!upload("POST", path, Some(WITH_PICTURE_MIN - 1)) && !upload("GET", path, None), "{path}");
        }
        assert!(!upload("POST", "/api/generate/batch", Some(1 << 22)) && !upload("GET", "/api/images/1", None));
    }
}
