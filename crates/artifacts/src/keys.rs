//! Names of objects: `<job>/<token>/<what>`. The token makes them unique to one lease, so nothing is ever overwritten.

use domain::{JobId, LeaseToken};

/// The MP4.
#[must_use]
pub fn video(job: JobId, token: LeaseToken) -> String {
    format!("{job}/{token}/video.mp4")
}

/// The poster, a JPEG.
#[must_use]
pub fn poster(job: JobId, token: LeaseToken) -> String {
    format!("{job}/{token}/poster.jpg")
}

/// A preview after `step` steps, an animated WebP.
#[must_use]
pub fn preview(job: JobId, token: LeaseToken, step: u32) -> String {
    format!("{job}/{token}/preview-{step}.webp")
}

/// A checkpoint after `step` steps.
#[must_use]
pub fn checkpoint(job: JobId, token: LeaseToken, step: u32) -> String {
    format!("{job}/{token}/checkpoint-{step}.safetensors")
}

/// An adapter of a model, named by its content. It belongs to no job, so the orphan sweep passes over it.
#[must_use]
pub fn lora(model_id: &str, fingerprint: &str) -> String {
    format!("loras/{model_id}/{fingerprint}.safetensors")
}

/// The job and the lease that an object belongs to; `None` for a key that this crate did not make.
#[must_use]
pub fn owner(key: &str) -> Option<(JobId, LeaseToken)> {
    let mut parts = key.split('/');
    let (job, token, name) = (parts.next()?, parts.next()?, parts.next()?);
    let whole = parts.next().is_none() && !name.is_empty();
    whole.then_some((job.parse().ok()?, token.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_names_its_owner() {
        let (job, token) = (JobId::fresh(), LeaseToken::fresh());
        for key in [video(job, token), poster(job, token), checkpoint(job, token, 7), preview(job, token, 7)] {
            assert_eq!(owner(&key), Some((job, token)), "{key}");
        }
    }

    #[test]
    fn foreign_objects_have_no_owner() {
        let lora = lora("default", "00");
        for key in [lora.as_str(), "", "readme.txt", "a/b/c", "a/b", "00000000-0000-0000-0000-000000000000/x/y"] {
            assert_eq!(owner(key), None, "{key}");
        }
    }
}
