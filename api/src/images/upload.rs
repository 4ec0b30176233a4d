//! The bytes of a picture, from a client to the object store and a row.
//!
//! A picture is decoded before anything of it is stored, on a blocking thread and only a few at a time. Stored is what the decoder
//! made of it, never what was sent.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use domain::TenantId;
use pictures::{Limits, Picture, Refused};
use store::images::{NewImage, StoredImage};
use uuid::Uuid;

use super::FIELD;
use crate::problem::{Answer, Problem};
use crate::state::App;

/// Decodes a picture and stores it. The same picture of the same tenant is stored once, and kept longer.
///
/// # Errors
/// 413 or 422 for a picture that is not taken, of which nothing is stored; 503 of the object store and the database.
pub(crate) async fn store(app: &App, tenant_id: TenantId, bytes: Bytes) -> Answer<StoredImage> {
    let bytes_max = app.settings.limits.image_bytes_max;
    if bytes.len() > bytes_max {
        return Err(Problem::too_large(FIELD, format!("has {} bytes; at most {bytes_max} are allowed", bytes.len())));
    }
    let picture = decode(app, bytes).await?;
    let known = app.store.keep_image(tenant_id, &picture.sha256).await.map_err(|error| Problem::from_store(&error))?;
    if let Some(known) = known {
        return Ok(known);
    }
    check_quota(app, tenant_id, picture.png.len() as u64).await?;
    put(app, tenant_id, picture).await
}

async fn decode(app: &App, bytes: Bytes) -> Answer<Picture> {
    let settings = &app.settings.limits;
    let limits = Limits { pixels_max: settings.image_pixels_max, memory_max_bytes: settings.image_memory_max_bytes };
    let turn = Arc::clone(&app.decodes).acquire_owned().await.expect("the semaphore is never closed; this is a bug");
    let work = tokio::task::spawn_blocking(move || {
        // A decoder that takes too long keeps its place until it ends.
        let _turn = turn;
        pictures::normalise(&bytes, &limits)
    });
    match tokio::time::timeout(Duration::from_secs(settings.image_decode_s), work).await {
        Ok(Ok(Ok(picture))) => Ok(picture),
        Ok(Ok(Err(Refused::TooLarge(reason)))) => Err(Problem::too_large(FIELD, reason)),
        Ok(Ok(Err(Refused::Unusable(reason)))) => Err(Problem::field(FIELD, reason)),
        Ok(Err(error)) => {
            tracing::error!(%error, "the decoder of a picture panicked");
            Err(Problem::field(FIELD, "cannot be decoded; save it again as a PNG or JPEG"))
        }
        Err(_) => {
            let reason = format!("takes more than {} s to decode; send a smaller picture", settings.image_decode_s);
            Err(Problem::field(FIELD, reason))
        }
    }
}

async fn check_quota(app: &App, tenant_id: TenantId, bytes: u64) -> Answer<()> {
    let most = app.settings.limits.images_tenant_bytes_max;
    let used = app.store.image_bytes(tenant_id).await.map_err(|error| Problem::from_store(&error))?;
    if used.saturating_add(bytes) <= most {
        return Ok(());
    }
    let left = most.saturating_sub(used);
    let reason =
        format!("takes {bytes} bytes as a PNG, but only {left} of your quota are left; delete pictures or jobs first");
    Err(Problem::field(FIELD, reason))
}

/// Writes the files, then the row. What is left without a row is removed here, or by the orphan sweep if this process dies.
async fn put(app: &App, tenant_id: TenantId, picture: Picture) -> Answer<StoredImage> {
    let id = Uuid::now_v7();
    let image = NewImage {
        tenant_id,
        sha256: picture.sha256,
        width: picture.width,
        height: picture.height,
        bytes: picture.png.len() as u64,
    };
    let files = [
        (artifacts::keys::image(tenant_id, id), picture.png),
        (artifacts::keys::thumbnail(tenant_id, id), picture.thumbnail),
    ];
    for (key, bytes) in files {
        if let Err(error) = app.artifacts.put(&key, bytes.into()).await {
            tracing::warn!(key, %error, "a picture could not be stored");
            remove(app, tenant_id, id).await;
            return Err(Problem::unavailable("the object store", 5));
        }
    }
    // After an error the row may exist, so the files stay; without a row they are orphans.
    let stored = app.store.put_image(id, &image).await.map_err(|error| Problem::from_store(&error))?;
    if stored.id != id {
        // The same picture was uploaded twice at the same time, and the other one was first.
        remove(app, tenant_id, id).await;
    }
    Ok(stored)
}

/// Deletes the files of a picture whose row is gone, or was never written.
pub(crate) async fn remove(app: &App, tenant_id: TenantId, id: Uuid) {
    for key in [artifacts::keys::image(tenant_id, id), artifacts::keys::thumbnail(tenant_id, id)] {
        if let Err(error) = app.artifacts.delete(&key).await {
            tracing::warn!(key, %error, "a picture's file was not deleted; the orphan sweep will do it");
        }
    }
}
