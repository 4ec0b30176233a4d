//! The picture that a job's video begins from: fetched from the object store, checked by its hash, decoded.

use std::sync::Arc;

use domain::{FailureAction, ImageUse};
use pictures::{Limits, Pixels};
use tracing::debug;

use super::Fleet;
use super::assignment::{Assignment, Ended};
use super::heart::HeldLease;
use crate::engine::FirstFrame;

/// Most pixels of a picture. Its hash shows that the API stored it and applied its own, lower limit, so this one only bounds the
/// memory of a worker whose settings differ.
const LIMITS: Limits = Limits { pixels_max: 1 << 28, memory_max_bytes: 1 << 30 };

/// The job's picture; `None` for text alone.
///
/// # Errors
/// [`Ended`]: interrupted, or failed with the reason for the user.
pub(super) async fn fetch(
    fleet: &Fleet,
    job: &Assignment,
    lease: &HeldLease,
) -> Result<Option<Arc<FirstFrame>>, Ended> {
    let Some(image) = job.job.request.image.as_ref().and_then(|image| image.stored()) else { return Ok(None) };
    let key = artifacts::keys::image(job.job.tenant_id, image.id);
    let stored = tokio::select! {
        stored = fleet.artifacts.get(&key) => stored.map_err(|error| unreadable(&error))?,
        _ = lease.until_interrupted() => return Err(Ended::Interrupted { checkpoint: None }),
    };
    let wanted = image.clone();
    let decoding = tokio::task::spawn_blocking(move || decode(&stored, &wanted));
    let frame = tokio::select! {
        frame = decoding => frame.unwrap_or_else(|error| Err(format!("the decoder failed: {error}"))),
        _ = lease.until_interrupted() => return Err(Ended::Interrupted { checkpoint: None }),
    };
    let frame = frame.map_err(|reason| {
        let reason =
            format!("the stored picture cannot be used ({reason}); upload it again and submit the request again");
        Ended::failed("invalid_image", reason, FailureAction::Fail)
    })?;
    debug!(job.id = %job.job.id, width = frame.width, height = frame.height, "picture fetched");
    Ok(Some(Arc::new(frame)))
}

fn unreadable(error: &artifacts::ArtifactError) -> Ended {
    if error.is_missing() {
        let reason = "the picture is gone from the object store; upload it again and submit the request again";
        return Ended::failed("image_missing", reason.to_owned(), FailureAction::Fail);
    }
    Ended::failed("storage_failed", format!("the picture could not be read: {error}"), FailureAction::Retry)
}

fn decode(stored: &[u8], wanted: &ImageUse) -> Result<FirstFrame, String> {
    let hash = pictures::sha256(stored);
    if wanted.sha256.as_ref() != Some(&hash) {
        return Err("it is damaged: its hash is not that of the upload".to_owned());
    }
    let Pixels { width, height, rgb } = pictures::decode(stored, &LIMITS).map_err(|refused| refused.to_string())?;
    Ok(FirstFrame { width, height, rgb })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture as the API stores it, and how a job names it.
    fn stored() -> (Vec<u8>, ImageUse) {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/pictures/tests/fixtures/turned.jpg");
        let limits = Limits { pixels_max: 1 << 20, memory_max_bytes: 1 << 24 };
        let picture = pictures::normalise(&std::fs::read(file).unwrap(), &limits).unwrap();
        let id = "018f3c5e-0000-7000-8000-000000000001";
        let image = serde_json::json!({ "id": id, "sha256": picture.sha256, "width": 32, "height": 48 });
        (picture.png, serde_json::from_value(image).unwrap())
    }

    #[test]
    fn a_stored_picture_becomes_the_first_frame_upright_and_whole() {
        let (png, image) = stored();
        let frame = decode(&png, &image).unwrap();
        assert_eq!((frame.width, frame.height, frame.rgb.len()), (32, 48, 32 * 48 * 3));
    }

    #[test]
    fn a_picture_that_is_not_the_uploaded_one_is_refused() {
        let (mut png, image) = stored();
        *png.last_mut().unwrap() ^= 1;
        assert!(decode(&png, &image).unwrap_err().contains("damaged"));
        let (png, image) = stored();
        assert!(decode(&png, &ImageUse { sha256: None, ..image }).unwrap_err().contains("damaged"));
    }

    #[test]
    fn a_missing_picture_fails_the_job_and_a_failing_store_tries_again() {
        let missing = artifacts::ArtifactError::Missing { key: "images/x".to_owned() };
        let late = artifacts::ArtifactError::Timeout { seconds: 30 };
        for (error, code, action) in
            [(missing, "image_missing", FailureAction::Fail), (late, "storage_failed", FailureAction::Retry)]
        {
            let Ended::Failed { failure, action: found } = unreadable(&error) else { panic!("{error}") };
            assert_eq!((failure.code.as_str(), found), (code, action));
        }
    }
}
