//! `GET /v1/videos/{id}/content`: the MP4, or its middle frame as `variant=thumbnail`.

use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use domain::JobStatus;
use serde::Deserialize;

use super::error::Refusal;
use super::video::{VideoPath, load};
use crate::auth::Caller;
use crate::extract::QueryString;
use crate::problem::{Problem, ProblemKind};
use crate::routes::videos::{poster_file, serve, video_file};
use crate::state::AppState;

/// Which file of a video.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ContentQuery {
    variant: Option<String>,
}

/// Sends a file of a completed video, with the same byte ranges and caching as `GET /api/videos/{id}`.
pub(super) async fn content(
    State(app): State<AppState>,
    caller: Caller,
    VideoPath(id): VideoPath,
    QueryString(query): QueryString<ContentQuery>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let job = load(&app, &caller, id).await?;
    let status = job.status;
    let Some(rendered) = job.rendered else { return Err(without_file(status)) };
    let file = match query.variant.as_deref() {
        // Some servers number the outputs of a request.
        None | Some("" | "video" | "0") => video_file(rendered),
        Some("thumbnail") => poster_file(&app, rendered).await?,
        Some("spritesheet") => {
            let detail = "variant: this fleet makes no sprite sheets; use video or thumbnail";
            return Err(Refusal::new(ProblemKind::NotFound, detail, "variant_not_available", Some("variant")));
        }
        Some(other) => {
            return Err(Problem::field("variant", format!("must be video or thumbnail, not '{other}'")).into());
        }
    };
    Ok(serve(&app, file, &method, &headers).await?)
}

/// A 404, because clients repeat a request after a 409 or 5xx.
fn without_file(status: JobStatus) -> Refusal {
    let (code, detail) = match status {
        JobStatus::Failed => ("video_failed", "the video failed; GET /v1/videos/{id} says why".to_owned()),
        JobStatus::Cancelled => ("video_failed", "the video was cancelled".to_owned()),
        waiting => ("video_not_ready", format!("the video is not completed ({waiting}); ask again when it is")),
    };
    Refusal::new(ProblemKind::NotFound, detail, code, None)
}
