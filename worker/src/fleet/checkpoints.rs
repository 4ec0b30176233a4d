//! Writes checkpoints to the object store and reads them back.
//!
//! The object is written first, then the row points to it, then the object it pointed to before is deleted. Whatever
//! fails on the way costs at most the work since the last one.

use std::sync::Arc;

use artifacts::keys;
use bytes::Bytes;
use domain::CheckpointRef;
use store::leases::{ResumeOutcome, SavedCheckpoint};
use store::{Lease, StoreError};
use tokio::task::JoinHandle;
use tracing::{Instrument as _, debug, info, warn};

use super::Fleet;
use super::assignment::Assignment;

/// A job's start: from a checkpoint, or from step 0 and why.
#[derive(Debug, Default)]
pub(super) struct Start {
    /// The checkpoint's bytes.
    pub(super) bytes: Option<Vec<u8>>,
    /// Why a checkpoint that the row knew is not used.
    pub(super) dropped_because: Option<String>,
}

/// Fetches the checkpoint that the row points to. One that is missing, damaged or was resumed too often is dropped,
/// not the job.
pub(super) async fn fetch(fleet: &Fleet, job: &Assignment) -> Start {
    let Some(known) = &job.job.checkpoint else { return Start::default() };
    match fleet.store.begin_resume(job.lease, fleet.resumes_max).await {
        Ok(ResumeOutcome::Resume { .. }) => {}
        Ok(ResumeOutcome::None) => return Start::default(),
        Ok(ResumeOutcome::Exhausted { drop }) => {
            remove(fleet, &drop).await;
            return from_step_0("too many runs had already resumed from it".to_owned());
        }
        Err(error) => return from_step_0(format!("the database did not respond: {error}")),
    }
    let reason = match fleet.artifacts.get(&known.key).await {
        Ok(bytes) if blake3::hash(&bytes).to_hex().as_str() == known.checksum => {
            info!(job.id = %job.job.id, step = known.step, "resuming from a checkpoint");
            fleet.metrics.resumes.inc();
            return Start { bytes: Some(bytes.into()), dropped_because: None };
        }
        Ok(_) => "its checksum does not match".to_owned(),
        Err(error) if error.is_missing() => "it is gone from the object store".to_owned(),
        // It may be readable next time, so it is kept.
        Err(error) => return from_step_0(format!("it could not be read: {error}")),
    };
    warn!(job.id = %job.job.id, reason, "checkpoint dropped");
    discard(fleet, job.lease).await;
    from_step_0(reason)
}

fn from_step_0(reason: String) -> Start {
    Start { bytes: None, dropped_because: Some(reason) }
}

/// Stores a checkpoint and points the row to it.
///
/// # Errors
/// The object store's or the database's; the row then points to the one before.
pub(super) async fn store(fleet: &Fleet, lease: Lease, step: u32, bytes: Vec<u8>) -> anyhow::Result<()> {
    let checksum = blake3::hash(&bytes).to_hex().to_string();
    let key = keys::checkpoint(lease.job_id, lease.token, step);
    let size = bytes.len();
    fleet.artifacts.put(&key, Bytes::from(bytes)).await?;
    let checkpoint = CheckpointRef { key: key.clone(), step, checksum, resumes: 0 };
    match fleet.store.save_checkpoint(lease, &checkpoint).await {
        Ok(SavedCheckpoint::Stored { drop }) => {
            fleet.metrics.checkpoints.inc();
            debug!(job.id = %lease.job_id, step, bytes = size, "checkpoint stored");
            if let Some(old) = drop {
                remove(fleet, &old).await;
            }
            Ok(())
        }
        Ok(SavedCheckpoint::NotNewer) => {
            remove(fleet, &key).await;
            Ok(())
        }
        // Whether the row was updated is unknown; the orphan sweep finds out.
        Err(error) => {
            fleet.metrics.stale_writes.inc_by(u64::from(matches!(error, StoreError::LeaseLost { .. })));
            Err(error.into())
        }
    }
}

/// Checkpoints of one run on their way to the object store, one at a time; the newest wins.
pub(super) struct Uploads {
    fleet: Arc<Fleet>,
    lease: Lease,
    running: Option<JoinHandle<()>>,
    waiting: Option<(u32, Vec<u8>)>,
    /// A preview that is on its way too.
    preview: Option<JoinHandle<()>>,
}

impl Uploads {
    pub(super) fn new(fleet: &Arc<Fleet>, lease: Lease) -> Self {
        Self { fleet: Arc::clone(fleet), lease, running: None, waiting: None, preview: None }
    }

    /// Takes the newest checkpoint, in place of one that has not begun.
    pub(super) fn push(&mut self, step: u32, bytes: Vec<u8>) {
        self.waiting = Some((step, bytes));
    }

    /// A preview that must be stored before the job ends, like the checkpoints; it does not keep the job in its worker's slot.
    pub(super) fn with_preview(mut self, preview: Option<JoinHandle<()>>) -> Self {
        self.preview = preview;
        self
    }

    /// Begins the next upload if none is running.
    pub(super) fn go_on(&mut self) {
        if self.running.as_ref().is_none_or(JoinHandle::is_finished) {
            self.running = self.waiting.take().map(|(step, bytes)| {
                let (fleet, lease) = (Arc::clone(&self.fleet), self.lease);
                let storing = async move {
                    if let Err(error) = store(&fleet, lease, step, bytes).await {
                        warn!(job.id = %lease.job_id, error = format!("{error:#}"), "checkpoint not stored");
                    }
                };
                tokio::spawn(storing.in_current_span())
            });
        }
    }

    /// Resolves when all of them are stored or have failed.
    pub(super) async fn finish(mut self) {
        while let Some(running) = self.running.take() {
            // A panic was already reported where it happened.
            drop(running.await);
            self.go_on();
        }
        if let Some(preview) = self.preview {
            drop(preview.await);
        }
    }
}

/// Forgets a checkpoint that cannot be used, in the row and in the store.
pub(super) async fn discard(fleet: &Fleet, lease: Lease) {
    match fleet.store.drop_checkpoint(lease).await {
        Ok(Some(key)) => remove(fleet, &key).await,
        Ok(None) => {}
        Err(error) => warn!(job.id = %lease.job_id, %error, "checkpoint not dropped"),
    }
}

/// Deletes an object that the row no longer points to; the orphan sweep deletes what remains.
pub(super) async fn remove(fleet: &Fleet, key: &str) {
    if let Err(error) = fleet.artifacts.delete(key).await {
        debug!(key, %error, "object not deleted");
    }
}
