//! Names of objects: `<job>/<token>/<what>`. The token makes them unique to one lease, so nothing is ever overwritten.
//! Uploads have names of their own, which belong to no job.

use domain::{JobId, LeaseToken, TenantId};
use uuid::Uuid;

/// Begins the names of uploaded pictures.
const IMAGES: &str = "images";
/// Their files.
const IMAGE_FILES: [&str; 2] = ["picture.png", "thumbnail.jpg"];

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

/// The tokenizers of a model, named by what embeddings depend on. They belong to no job, so the orphan sweep passes over them.
#[must_use]
pub fn tokenizers(encoders_fingerprint: &str) -> String {
    format!("tokenizers/{encoders_fingerprint}.json")
}

/// An uploaded picture, a PNG.
#[must_use]
pub fn image(tenant: TenantId, id: Uuid) -> String {
    format!("{IMAGES}/{tenant}/{id}/{}", IMAGE_FILES[0])
}

/// Its thumbnail, a JPEG.
#[must_use]
pub fn thumbnail(tenant: TenantId, id: Uuid) -> String {
    format!("{IMAGES}/{tenant}/{id}/{}", IMAGE_FILES[1])
}

/// The tenant and the picture that a file belongs to; `None` for every other key.
#[must_use]
pub fn image_of(key: &str) -> Option<(TenantId, Uuid)> {
    let mut parts = key.split('/');
    let (IMAGES, tenant, id, file) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?) else { return None };
    // The remains of an interrupted write have a number behind the name.
    let known = IMAGE_FILES.contains(&file.split('#').next()?) && parts.next().is_none();
    known.then_some((tenant.parse().ok()?, id.parse().ok()?))
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
    fn a_pictures_files_name_its_tenant_and_id() {
        let (tenant, id) = (TenantId::fresh(), Uuid::now_v7());
        for key in [image(tenant, id), thumbnail(tenant, id), format!("{}#7", image(tenant, id))] {
            assert_eq!((image_of(&key), owner(&key)), (Some((tenant, id)), None), "{key}");
        }
        for key in
            [lora("default", "00"), format!("images/{tenant}/{id}/x"), format!("images/{tenant}/{id}"), String::new()]
        {
            assert_eq!(image_of(&key), None, "{key}");
        }
    }

    #[test]
    fn foreign_objects_have_no_owner() {
        let (lora, tokenizers) = (lora("default", "00"), tokenizers("00"));
        for key in
            [lora.as_str(), &tokenizers, "", "readme.txt", "a/b/c", "a/b", "00000000-0000-0000-0000-000000000000/x/y"]
        {
            assert_eq!(owner(key), None, "{key}");
        }
    }
}
