//! What can wait: retention, pictures that no job uses, orphaned objects, and learning from finished runs.

use std::time::{Duration, Instant};

use artifacts::{ObjectInfo, keys};
use futures::StreamExt;
use store::images::ImageFile;
use store::sweep::StoredObject;
use store::{Epoch, StoreError};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::state::Scheduler;
use crate::timing::{every, pause, seconds};

/// Pause between two rounds of the janitor; each kind of work has its own rhythm beyond that.
const PAUSE: Duration = Duration::from_secs(5);
/// Rows and objects handled in one go.
const BATCH: u32 = 200;
/// Days for which the use of keys is kept; quotas need the current day only.
const KEY_USAGE_DAYS: i32 = 35;
/// How often unused pictures are looked for: the search passes over every old picture that jobs use.
const IMAGES_EVERY: Duration = Duration::from_secs(60);
/// Batches of finished jobs that are deleted in one round: the rest of a large backlog waits for the next round.
const DELETE_BATCHES_MAX: u32 = 50;

/// Tidies until the leadership is over. Nothing here is urgent, so a failure only waits for the next time.
pub(crate) async fn run(scheduler: &Scheduler, epoch: Epoch, over: &CancellationToken) {
    let orphans_every = every(scheduler.settings.scheduler.orphan_sweep_s);
    let mut orphans_at = Instant::now() + orphans_every;
    let mut images_at = Instant::now();
    loop {
        // A failover does not restart the fleet, so the leader looks again and again.
        if let Err(error) = scheduler.store.follow_history().await {
            warn!(%error, "cannot tell whether the database has failed over; events may appear out of order after a failover");
        }
        if let Err(error) = scheduler.reflect(epoch).await {
            warn!(%error, "nothing learnt this time");
        }
        if let Err(error) = retention(scheduler, &mut images_at, over).await {
            warn!(error = format!("{error:#}"), "retention not finished");
        }
        if Instant::now() >= orphans_at {
            orphans_at = Instant::now() + orphans_every;
            if let Err(error) = orphans(scheduler, over).await {
                warn!(error = format!("{error:#}"), "orphan sweep not finished");
            }
        }
        if !pause(PAUSE, over).await {
            return;
        }
    }
}

/// Removes what its owners deleted long ago, checkpoints of jobs that ended long ago, pictures without jobs, old events and sessions.
async fn retention(scheduler: &Scheduler, images_at: &mut Instant, over: &CancellationToken) -> anyhow::Result<()> {
    let settings = &scheduler.settings.scheduler;
    let keep_s = seconds(settings.retention_s);
    if settings.finished_retention_s > 0 {
        delete_finished(scheduler, seconds(settings.finished_retention_s), over).await?;
    }
    let purged = scheduler.store.purge_deleted(keep_s, BATCH).await?;
    // A picture leaves with its last job.
    let images_due = !purged.is_empty() || Instant::now() >= *images_at;
    for purged in purged {
        // The row is gone already: what cannot be deleted now is an orphan later.
        for key in &purged.objects {
            remove(scheduler, key).await;
        }
        info!(job.id = %purged.job_id, "deleted job purged");
    }
    for key in scheduler.store.drop_stale_checkpoints(keep_s, BATCH).await? {
        remove(scheduler, &key).await;
    }
    if images_due {
        remove_images(scheduler).await?;
        *images_at = Instant::now() + IMAGES_EVERY;
    }
    scheduler.store.purge_events(seconds(settings.events_retention_s), BATCH * 10).await?;
    scheduler.store.purge_deliveries(seconds(scheduler.settings.webhooks.log_retention_s), BATCH * 10).await?;
    scheduler.store.purge_key_usage(KEY_USAGE_DAYS).await?;
    scheduler.store.purge_sessions().await?;
    Ok(())
}

/// Removes pictures that no job uses and whose time is over. If a job took one of them at this moment, the next time finds the others.
async fn remove_images(scheduler: &Scheduler) -> Result<(), StoreError> {
    let keep_s = seconds(scheduler.settings.scheduler.image_ttl_s);
    let expired = match scheduler.store.expire_images(keep_s, BATCH).await {
        Err(StoreError::ImageReference(_)) => return Ok(()),
        expired => expired?,
    };
    for (tenant_id, id) in expired {
        remove(scheduler, &keys::image(tenant_id, id)).await;
        remove(scheduler, &keys::thumbnail(tenant_id, id)).await;
        info!(image.id = %id, "picture removed that no job uses");
    }
    Ok(())
}

/// Deletes jobs that ended more than `keep_s` seconds ago, as their owners could.
async fn delete_finished(scheduler: &Scheduler, keep_s: f64, over: &CancellationToken) -> Result<(), StoreError> {
    let mut deleted = 0;
    for _ in 0..DELETE_BATCHES_MAX {
        if over.is_cancelled() {
            break;
        }
        let batch = scheduler.store.delete_finished(keep_s, BATCH).await?;
        deleted += batch;
        if batch < u64::from(BATCH) {
            break;
        }
    }
    if deleted > 0 {
        info!(jobs = deleted, "deleted jobs that finished long ago");
    }
    Ok(())
}

/// Removes objects that no row knows, once they are older than the longest upload or run can be.
async fn orphans(scheduler: &Scheduler, over: &CancellationToken) -> anyhow::Result<()> {
    let grace = chrono::Duration::seconds(i64::try_from(scheduler.settings.scheduler.orphan_grace_s)?);
    // By the database's clock, as leases are: a scheduler whose own is ahead must not delete what is being uploaded.
    let (now, _) = scheduler.store.server_times().await?;
    let old_before = now - grace;
    let old = |object: &ObjectInfo| object.written_at < old_before;
    let mut chunks = scheduler.artifacts.list().chunks(BATCH as usize);
    while let Some(chunk) = chunks.next().await {
        if over.is_cancelled() {
            return Ok(());
        }
        let objects = chunk.into_iter().collect::<Result<Vec<_>, _>>()?;
        let (images, others): (Vec<_>, Vec<_>) =
            objects.into_iter().filter(old).partition(|object| keys::image_of(&object.key).is_some());
        let candidates: Vec<_> = others.into_iter().filter_map(owned).collect();
        let mut orphans = scheduler.store.orphans(&candidates).await?;
        let images: Vec<_> = images.into_iter().filter_map(image_file).collect();
        orphans.extend(scheduler.store.orphaned_images(&images).await?);
        for key in orphans {
            remove(scheduler, &key).await;
            scheduler.metrics.orphans_removed.inc();
        }
    }
    Ok(())
}

/// Objects that are not named like ours are not ours to delete.
fn owned(object: ObjectInfo) -> Option<StoredObject> {
    let (job_id, token) = keys::owner(&object.key)?;
    Some(StoredObject { key: object.key, job_id, token })
}

fn image_file(object: ObjectInfo) -> Option<ImageFile> {
    let (tenant_id, id) = keys::image_of(&object.key)?;
    Some(ImageFile { key: object.key, tenant_id, id })
}

async fn remove(scheduler: &Scheduler, key: &str) {
    if let Err(error) = scheduler.artifacts.delete(key).await {
        warn!(key, %error, "object not deleted");
    }
}
