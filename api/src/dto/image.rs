//! Pictures as JSON.

use chrono::{DateTime, Duration, Utc};
use domain::model::RenderShape;
use domain::{ImageCrop, ImageUse};
use serde::Serialize;
use store::images::StoredImage;
use utoipa::ToSchema;
use uuid::Uuid;

/// An uploaded picture.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ImageView {
    /// Id for the request's `image`.
    pub id: Uuid,
    /// Width in pixels, after its orientation was applied.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Size of the stored PNG.
    pub bytes: u64,
    /// SHA-256 of the stored PNG.
    pub sha256: String,
    /// Path of the stored PNG.
    pub url: String,
    /// Path of a small JPEG of it.
    pub thumbnail_url: String,
    /// When it will be removed unless a job uses it by then. Uploading it again postpones this.
    pub expires_at: DateTime<Utc>,
}

impl ImageView {
    /// Creates the view; `ttl_s` is how long unused pictures are kept.
    #[must_use]
    pub(crate) fn new(stored: StoredImage, ttl_s: u64) -> Self {
        let ttl = i64::try_from(ttl_s).ok().and_then(Duration::try_seconds);
        let expires_at = ttl.and_then(|ttl| stored.kept_since.checked_add_signed(ttl));
        Self {
            id: stored.id,
            width: stored.image.width,
            height: stored.image.height,
            bytes: stored.image.bytes,
            sha256: stored.image.sha256,
            url: path(stored.id),
            thumbnail_url: thumbnail_path(stored.id),
            expires_at: expires_at.unwrap_or(DateTime::<Utc>::MAX_UTC),
        }
    }
}

/// The picture that a job's video begins from.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct JobImageView {
    /// Path of the stored PNG.
    pub url: String,
    /// Path of a small JPEG of it.
    pub thumbnail_url: String,
    /// The part that the video shows, in pixels of the picture: the largest one with the video's aspect, at its centre.
    pub crop: Option<ImageCrop>,
}

impl JobImageView {
    /// The view for a video of this shape.
    #[must_use]
    pub(crate) fn new(image: &ImageUse, shape: &RenderShape) -> Self {
        Self { url: path(image.id), thumbnail_url: thumbnail_path(image.id), crop: crop(image, shape) }
    }
}

/// The part of a picture that a video of this shape shows.
#[must_use]
pub(crate) fn crop(image: &ImageUse, shape: &RenderShape) -> Option<ImageCrop> {
    Some(ImageCrop::of((image.width?, image.height?), shape))
}

fn path(id: Uuid) -> String {
    format!("/api/images/{id}")
}

fn thumbnail_path(id: Uuid) -> String {
    format!("/api/images/{id}/thumbnail")
}
