//! `GET /api/videos/{id}` and `/poster`: the finished video and its middle frame, with support for byte ranges.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::{JobId, Rendered};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::auth::Caller;
use crate::extract::{JobPath, QueryString};
use crate::problem::{Answer, Problem, ProblemBody, ProblemKind};
use crate::range::{Wanted, wanted};
use crate::state::{App, AppState};

/// Options of a video request.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct VideoQuery {
    /// True makes browsers save the video instead of playing it.
    download: Option<bool>,
}

/// Returns the MP4 of a completed job.
#[utoipa::path(
    get, path = "/api/videos/{job_id}", tag = "videos",
    params(("job_id" = uuid::Uuid, Path), VideoQuery, ("Range" = Option<String>, Header)),
    responses(
        (status = 200, description = "The whole video", content_type = "video/mp4"),
        (status = 206, description = "The requested bytes", content_type = "video/mp4"),
        (status = 304, description = "The client already has the current file"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "The job does not exist or has no video yet"),
        (status = 416, body = ProblemBody, content_type = "application/problem+json", description = "The range begins after the end of the file"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "A parameter is invalid"),
    )
)]
pub async fn video(
    State(app): State<AppState>,
    caller: Caller,
    JobPath(job_id): JobPath,
    QueryString(query): QueryString<VideoQuery>,
    method: Method,
    headers: HeaderMap,
) -> Answer<Response> {
    let rendered = rendered(&app, &caller, job_id).await?;
    let mut response = serve(&app, video_file(rendered), &method, &headers).await?;
    if query.download == Some(true) {
        let name = format!("attachment; filename=\"{job_id}.mp4\"");
        let name = HeaderValue::try_from(name).expect("a UUID is a header value; this is a bug");
        response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// Returns the middle frame of a completed job as a JPEG.
#[utoipa::path(
    get, path = "/api/videos/{job_id}/poster", tag = "videos",
    params(("job_id" = uuid::Uuid, Path)),
    responses(
        (status = 200, description = "The whole poster", content_type = "image/jpeg"),
        (status = 206, description = "The requested bytes", content_type = "image/jpeg"),
        (status = 304, description = "The client already has the current file"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "The job does not exist or has no video yet"),
        (status = 416, body = ProblemBody, content_type = "application/problem+json", description = "The range begins after the end of the file"),
    )
)]
pub async fn poster(
    State(app): State<AppState>,
    caller: Caller,
    JobPath(job_id): JobPath,
    method: Method,
    headers: HeaderMap,
) -> Answer<Response> {
    let rendered = rendered(&app, &caller, job_id).await?;
    let file = poster_file(&app, rendered).await?;
    serve(&app, file, &method, &headers).await
}

/// The video of a job that the caller may see.
async fn rendered(app: &App, caller: &Caller, job_id: JobId) -> Answer<Rendered> {
    let job = app.store.get(caller.scope(), job_id).await.map_err(|error| Problem::from_store(&error))?;
    let job = job.filter(|job| job.deleted_at.is_none()).ok_or_else(Problem::no_job)?;
    let status = job.status;
    job.rendered.ok_or_else(|| {
        Problem::new(ProblemKind::NotFound, format!("the job is {status} and has no video; a completed job has one"))
    })
}

/// A stored file that is sent to clients.
#[derive(Debug)]
pub(crate) struct File {
    /// Its key.
    pub(crate) key: String,
    /// Bytes.
    pub(crate) size: u64,
    /// Media type.
    pub(crate) kind: &'static str,
}

/// The MP4.
pub(crate) fn video_file(rendered: Rendered) -> File {
    let size = u64::try_from(rendered.video_bytes).unwrap_or_default();
    File { key: rendered.video_key, size, kind: "video/mp4" }
}

/// The first frame.
///
/// # Errors
/// The object store's, as a problem.
pub(crate) async fn poster_file(app: &App, rendered: Rendered) -> Answer<File> {
    let size = app.artifacts.size(&rendered.poster_key).await.map_err(|error| from_artifacts(&error))?;
    Ok(File { key: rendered.poster_key, size, kind: "image/jpeg" })
}

/// Returns the file, or the requested part of it.
///
/// # Errors
/// 416 for a range outside the file, 404 if it is missing, 503 if the object store fails.
pub(crate) async fn serve(app: &App, file: File, method: &Method, headers: &HeaderMap) -> Answer<Response> {
    // A key contains the token of the run that wrote the object, so the same key always means the same bytes.
    let etag = HeaderValue::try_from(format!("\"{}\"", &blake3::hash(file.key.as_bytes()).to_hex()[..32]))
        .expect("hex digits are a header value; this is a bug");
    if is_known(headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    // If the client has another version of the file, a range would not fit what it has, so it gets the whole file.
    let same = headers.get(header::IF_RANGE).is_none_or(|known| known == etag);
    let range = headers.get(header::RANGE).filter(|_| same).and_then(|value| value.to_str().ok());
    let (status, part) = match wanted(range, file.size) {
        Wanted::Whole => (StatusCode::OK, 0..file.size),
        Wanted::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Wanted::Outside => {
            let total = HeaderValue::try_from(format!("bytes */{}", file.size))
                .expect("digits are a header value; this is a bug");
            let detail = format!("the range must begin before the end of the file, which has {} bytes", file.size);
            return Err(
                Problem::new(ProblemKind::RangeNotSatisfiable, detail).with_header(header::CONTENT_RANGE, total)
            );
        }
    };
    let length = part.end - part.start;
    let content_range = format!("bytes {}-{}/{}", part.start, part.end.saturating_sub(1), file.size);
    let body = if method == Method::HEAD || length == 0 {
        Body::empty()
    } else {
        let bytes = app.artifacts.get_range(&file.key, part).await.map_err(|error| from_artifacts(&error))?;
        Body::from_stream(bytes)
    };
    let mut response = (status, body).into_response();
    let answer = response.headers_mut();
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.kind));
    answer.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    answer.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    answer.insert(header::ETAG, etag);
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=86400"));
    if status == StatusCode::PARTIAL_CONTENT {
        let value = HeaderValue::try_from(content_range).expect("digits are a header value; this is a bug");
        answer.insert(header::CONTENT_RANGE, value);
    }
    Ok(response)
}

/// Whether the client already has this version. A tag that a proxy has made weak is accepted, because equal tags mean equal bytes
/// here.
fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let lists = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = lists.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == etag.as_bytes())
}

/// The problem of an object that cannot be read.
pub(crate) fn from_artifacts(error: &artifacts::ArtifactError) -> Problem {
    if error.is_missing() {
        tracing::error!(error = %error, "a job row refers to an object that is not in the object store");
        return Problem::new(
            ProblemKind::NotFound,
            "the job's file is missing from the object store; submit the request again to render it again",
        );
    }
    tracing::warn!(error = %error, "object store failed");
    Problem::unavailable("the object store", 5)
}
