//! A preview on its way to the watchers: made into a small file, stored, and published.
//!
//! The object is written first, then the row points to it, then the object it pointed to before is deleted. Nothing of a run
//! depends on it. It shows the content of the video, so it belongs to the same owner and is deleted with it.

use anyhow::Context;
use artifacts::keys;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker::FleetEvent;
use bytes::Bytes;
use domain::Preview;
use store::StoreError;

use super::assignment::Assignment;
use super::{Fleet, checkpoints};
use crate::engine::PreviewFrames;
use crate::webp;

/// Stores and publishes a preview.
///
/// # Errors
/// Encoding, the object store, or the database; the row then points to the one before.
pub(super) async fn show(fleet: &Fleet, job: &Assignment, step: u32, frames: PreviewFrames) -> anyhow::Result<()> {
    let seconds = job.job.shape.duration_s();
    let file = tokio::task::spawn_blocking(move || webp::animated(&frames, seconds)).await.context("encode")??;
    let key = keys::preview(job.lease.job_id, job.lease.token, step);
    fleet.artifacts.put(&key, Bytes::from(file.clone())).await?;
    match fleet.store.save_preview(job.lease, &key, step).await {
        Ok(Some(old)) => checkpoints::remove(fleet, &old).await,
        Ok(None) => {}
        // Whether the row was updated is unknown; the orphan sweep finds out.
        Err(error) => {
            fleet.metrics.stale_writes.inc_by(u64::from(matches!(error, StoreError::LeaseLost { .. })));
            return Err(error.into());
        }
    }
    fleet.metrics.previews.inc();
    fleet.broker.tell(FleetEvent::Preview(Preview {
        job_id: job.job.id,
        tenant_id: job.job.tenant_id,
        step,
        steps: job.plan.steps,
        webp: STANDARD.encode(&file),
    }));
    Ok(())
}
