//! `/v1`: OpenAI's Videos API, so that clients written for it or for its other self-hosted servers work with this fleet.
//!
//! Rules: everything here is a translation. A request becomes a [`VideoRequest`] and is submitted as one of `/api` is; a job
//! becomes a `video` object. No handler has a path into the store of its own, so keys, tenants, limits, idempotency and deletion
//! are those of `/api`. Errors have OpenAI's shape (`error`), beside the members of RFC 9457.
//!
//! # Reading order
//! [`routes`]: every path; [`fields`]: what a form or JSON body holds; [`request`]: fields to a request; [`video`]: a job to a
//! `video`; [`retries`]: how a repeated submission without an idempotency key is recognised; [`error`]: error responses.
//!
//! [`VideoRequest`]: domain::VideoRequest

mod content;
mod create;
mod error;
mod fields;
mod known;
mod length;
mod list;
mod models;
mod names;
mod request;
mod retries;
mod size;
mod video;

use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use utoipa_axum::router::OpenApiRouter;

use crate::problem::{Problem, ProblemKind};
use crate::state::AppState;

pub(crate) use error::translate;
pub(crate) use retries::Refusals;

/// Every path below `/v1`. They are not part of the OpenAPI description: their types belong to OpenAI's.
pub(crate) fn routes(picture_body_max: usize) -> OpenApiRouter<AppState> {
    let create = post(create::create).layer(DefaultBodyLimit::max(picture_body_max));
    OpenApiRouter::new()
        .route("/v1/videos", create.get(list::list))
        .route("/v1/videos/edits", post(no_video_input))
        .route("/v1/videos/extensions", post(no_video_input))
        .route("/v1/videos/characters", post(no_video_input))
        .route("/v1/videos/{id}", get(video::retrieve).delete(video::delete))
        .route("/v1/videos/{id}/content", get(content::content))
        .route("/v1/videos/{id}/remix", post(create::remix))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{id}", get(models::retrieve))
}

/// Parts of OpenAI's API that take a video.
async fn no_video_input() -> Problem {
    let detail = "this fleet takes no videos; POST /v1/videos renders one from a text, or from a text and a picture";
    Problem::new(ProblemKind::NotFound, detail)
}
