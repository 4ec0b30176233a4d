//! `/api/images`: pictures that videos begin from.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use store::images::{DeleteImage, StoredImage};
use uuid::Uuid;

use crate::auth::Caller;
use crate::dto::image::ImageView;
use crate::form;
use crate::images::{FIELD, upload};
use crate::problem::{Answer, Problem, ProblemBody, ProblemKind};
use crate::routes::videos::{File, serve};
use crate::state::{App, AppState};

/// The bytes of a picture: the body itself, or the only part of a form.
#[derive(Debug)]
pub(crate) struct PictureBody(Bytes);

impl<S: Send + Sync> FromRequest<S> for PictureBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !form::is_form(request.headers()) {
            return Bytes::from_request(request, state).await.map(Self).map_err(|rejection| {
                if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                    Problem::too_large(FIELD, "is larger than this server accepts")
                } else {
                    Problem::new(ProblemKind::Malformed, "the body could not be read to its end")
                }
            });
        }
        let mut form = form::open(request, state).await?;
        let Some(part) = form::next(&mut form).await? else {
            return Err(Problem::field(FIELD, "is missing; send the picture as the part image of the form"));
        };
        let bytes = part.bytes().await.map_err(|error| form::unreadable(&error))?;
        if let Some(part) = form::next(&mut form).await? {
            let name = form::name(&part)?;
            return Err(Problem::field(&name, "is not known here; the form has one part, the picture"));
        }
        Ok(Self(bytes))
    }
}

/// Stores a picture: the body is the file, or a form with the file as its only part.
///
/// PNG, JPEG and WebP are taken. The picture is turned upright, transparent parts are laid on white, metadata are dropped, and the
/// result is stored as a PNG that only you can use. Uploading the same picture again returns the same id.
#[utoipa::path(
    post, path = "/api/images", tag = "images",
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The file"),
    responses(
        (status = 201, description = "Stored", body = ImageView),
        (status = 413, description = "The file or its picture is larger than the limit", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The file is not a picture of an allowed format, or the quota is used up", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn put_image(
    State(app): State<AppState>,
    caller: Caller,
    PictureBody(bytes): PictureBody,
) -> Answer<Response> {
    let stored = upload::store(&app, caller.tenant_id, bytes).await?;
    tracing::info!(image.id = %stored.id, width = stored.image.width, height = stored.image.height, "picture stored");
    let view = ImageView::new(stored, app.settings.scheduler.image_ttl_s);
    let location = HeaderValue::try_from(&view.url).expect("a path with a UUID is a header value; this is a bug");
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(view)).into_response())
}

/// Returns a picture as it is stored.
#[utoipa::path(
    get, path = "/api/images/{id}", tag = "images", params(("id" = Uuid, Path), ("Range" = Option<String>, Header)),
    responses(
        (status = 200, description = "The whole picture", content_type = "image/png"),
        (status = 206, description = "The requested bytes", content_type = "image/png"),
        (status = 304, description = "The client already has it"),
        (status = 404, description = "The picture does not exist or is not yours", body = ProblemBody, content_type = "application/problem+json"),
        (status = 416, description = "The range begins after the end of the file", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_image(
    State(app): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Answer<Response> {
    let stored = find(&app, &caller, &id).await?;
    let key = artifacts::keys::image(stored.image.tenant_id, stored.id);
    send(&app, key, "image/png", (&method, &headers)).await
}

/// Returns a small JPEG of a picture, for lists.
#[utoipa::path(
    get, path = "/api/images/{id}/thumbnail", tag = "images", params(("id" = Uuid, Path), ("Range" = Option<String>, Header)),
    responses(
        (status = 200, description = "The whole thumbnail", content_type = "image/jpeg"),
        (status = 206, description = "The requested bytes", content_type = "image/jpeg"),
        (status = 304, description = "The client already has it"),
        (status = 404, description = "The picture does not exist or is not yours", body = ProblemBody, content_type = "application/problem+json"),
        (status = 416, description = "The range begins after the end of the file", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn thumbnail(
    State(app): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Answer<Response> {
    let stored = find(&app, &caller, &id).await?;
    let key = artifacts::keys::thumbnail(stored.image.tenant_id, stored.id);
    send(&app, key, "image/jpeg", (&method, &headers)).await
}

/// Deletes a picture that no job uses. One that jobs use is removed with the last of them.
#[utoipa::path(
    delete, path = "/api/images/{id}", tag = "images", params(("id" = Uuid, Path)),
    responses(
        (status = 204, description = "Deleted"),
        (status = 404, description = "The picture does not exist or is not yours", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "A job uses it", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn delete_image(
    State(app): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer<StatusCode> {
    let id = read_id(&id)?;
    match app.store.delete_image(caller.scope(), id).await.map_err(|error| Problem::from_store(&error))? {
        DeleteImage::Deleted(tenant_id) => {
            upload::remove(&app, tenant_id, id).await;
            Ok(StatusCode::NO_CONTENT)
        }
        DeleteImage::InUse => {
            let detail =
                "jobs use this picture; it is removed with the last of them, when the retention of deleted jobs ends";
            Err(Problem::new(ProblemKind::Conflict, detail))
        }
        DeleteImage::NotFound => Err(no_image()),
    }
}

fn read_id(text: &str) -> Answer<Uuid> {
    text.parse().map_err(|_| no_image())
}

fn no_image() -> Problem {
    Problem::new(ProblemKind::NotFound, "no picture of yours has this id; it may have expired: upload it again")
}

async fn find(app: &App, caller: &Caller, id: &str) -> Answer<StoredImage> {
    let found = app.store.images(caller.scope(), &[read_id(id)?]).await;
    found.map_err(|error| Problem::from_store(&error))?.pop().ok_or_else(no_image)
}

async fn send(
    app: &App,
    key: String,
    kind: &'static str,
    (method, headers): (&Method, &HeaderMap),
) -> Answer<Response> {
    let size = app.artifacts.size(&key).await.map_err(|error| {
        if error.is_missing() {
            tracing::error!(%error, "the row of a picture refers to an object that is not in the object store");
            return Problem::new(ProblemKind::NotFound, "the picture's file is missing; delete it and upload it again");
        }
        tracing::warn!(%error, "object store failed");
        Problem::unavailable("the object store", 5)
    })?;
    serve(app, File { key, size, kind }, method, headers).await
}
