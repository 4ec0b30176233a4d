//! What a request says about its picture, turned into a stored picture of the caller.
//!
//! The content's hash is what identifies a video, so it is filled in here, before the idempotency hash is computed.

use axum::body::Bytes;
use domain::{FieldError, ImageSource, ImageUse, VideoRequest};
use store::images::StoredImage;
use store::jobs::Scope;
use uuid::Uuid;

use super::{FIELD, data_url, upload};
use crate::auth::Caller;
use crate::problem::{Answer, Problem};
use crate::state::App;

/// Fills in the stored picture of a request. `file` is one that came with it. A picture that comes with the request is stored only
/// if everything else about the request is right.
///
/// # Errors
/// 422 and 413 about the field `image`, or about any field if a picture came with the request; 503 of the stores.
pub(crate) async fn resolve(app: &App, caller: &Caller, request: &mut VideoRequest, file: Option<Bytes>) -> Answer<()> {
    let inline = match (&request.image, file) {
        (Some(_), Some(_)) => return Err(Problem::field(FIELD, "is given twice; send a file or a value")),
        (None, Some(file)) => {
            request.image = Some(ImageSource::Named("a file".to_owned()));
            Some(file)
        }
        (Some(ImageSource::Named(text)), None) => match data_url::read(text) {
            Some(Ok(bytes)) => Some(bytes.into()),
            Some(Err(reason)) => return Err(Problem::field(FIELD, reason)),
            None => None,
        },
        _ => None,
    };
    let Some(bytes) = inline else {
        return resolve_all(app, caller, std::slice::from_mut(request), |_| String::new()).await;
    };
    let manifest = app.models.for_new_job(request.model.as_deref()).map_err(|error| Problem::fields(vec![error]))?;
    request.validate(&app.request_limits, &manifest).map_err(Problem::fields)?;
    request.image = Some(used(&upload::store(app, caller.tenant_id, bytes).await?));
    Ok(())
}

/// The same for the requests of a batch, whose errors name the request. They can only name stored pictures.
///
/// # Errors
/// As [`resolve`].
pub(crate) async fn resolve_batch(app: &App, caller: &Caller, requests: &mut [VideoRequest]) -> Answer<()> {
    resolve_all(app, caller, requests, |index| format!("requests[{index}].")).await
}

async fn resolve_all(
    app: &App,
    caller: &Caller,
    requests: &mut [VideoRequest],
    prefix: impl Fn(usize) -> String,
) -> Answer<()> {
    let mut wrong = Vec::new();
    let mut wanted = Vec::new();
    for (index, request) in requests.iter().enumerate() {
        match request.image.as_ref().map(id_of) {
            None => {}
            Some(Ok(id)) => wanted.push((index, id)),
            Some(Err(reason)) => wrong.push(FieldError::new(&format!("{}{FIELD}", prefix(index)), reason)),
        }
    }
    let ids: Vec<Uuid> = wanted.iter().map(|(_, id)| *id).collect();
    let known = match ids.as_slice() {
        [] => Vec::new(),
        ids => {
            let found = app.store.images(Scope::Tenant(caller.tenant_id), ids).await;
            found.map_err(|error| Problem::from_store(&error))?
        }
    };
    for (index, id) in wanted {
        match fill(&mut requests[index], known.iter().find(|stored| stored.id == id)) {
            Ok(()) => {}
            Err(error) => wrong.push(FieldError { field: format!("{}{}", prefix(index), error.field), ..error }),
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(Problem::fields(wrong)) }
}

/// The id that a request names.
fn id_of(image: &ImageSource) -> Result<Uuid, String> {
    let text = match image {
        ImageSource::Stored(image) => return Ok(image.id),
        ImageSource::Named(text) => text.trim(),
    };
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    Err(if text.contains("://") {
        "is a URL, and this server fetches none; upload the file with POST /api/images and send its id, or send a data URL"
    } else if data_url::read(text).is_some() {
        "is a data URL, which only POST /api/generate takes; upload the file with POST /api/images and send its id"
    } else {
        "must be the id of an uploaded picture (POST /api/images), or a data URL"
    }
    .to_owned())
}

fn fill(request: &mut VideoRequest, found: Option<&StoredImage>) -> Result<(), FieldError> {
    let Some(found) = found else {
        let reason = "names no picture of yours; it may have expired: upload it again with POST /api/images";
        return Err(FieldError::new(FIELD, reason));
    };
    let given = request.image.as_ref().and_then(|image| image.stored()?.sha256.as_ref());
    if given.is_some_and(|given| *given != found.image.sha256) {
        let reason = format!("is not that of the picture, which is {}; leave it out", found.image.sha256);
        return Err(FieldError::new("image.sha256", reason));
    }
    request.image = Some(used(found));
    Ok(())
}

fn used(stored: &StoredImage) -> ImageSource {
    ImageSource::Stored(ImageUse {
        id: stored.id,
        sha256: Some(stored.image.sha256.clone()),
        width: Some(stored.image.width),
        height: Some(stored.image.height),
    })
}
