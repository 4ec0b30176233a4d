//! Middleware: ends a request that takes longer than the settings allow, for example because its body never arrives.
//!
//! The limit ends when the response begins, so it does not cut off event streams or videos.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::{Problem, ProblemKind};
use crate::state::AppState;

/// Returns 408 when the time limit is exceeded.
pub async fn limit(State(app): State<AppState>, request: Request, next: Next) -> Response {
    // A file takes as long as its sender's line needs.
    let is_upload = request.method() == Method::POST && request.uri().path() == "/api/loras";
    let most_s = if is_upload { app.settings.limits.lora_upload_s } else { app.settings.server.request_timeout_s };
    match tokio::time::timeout(Duration::from_secs(most_s), next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = format!("the request was not received and processed within {most_s} s; send it again");
            Problem::new(ProblemKind::TimedOut, detail).into_response()
        }
    }
}
