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
/// How often unused pictures are looked for: the search passes over every old picture that jobs use.
const IMAGES_EVERY: Duration = Duration::from_secs(60);
/// Batches of one kind of work in one round: the rest of a large backlog waits for the next round. Two thousand jobs a second can
/// be deleted and purged this way.
const BATCHES_MAX: u32 = 50;
/// Objects that are deleted at the same time.
const DELETES_MAX: usize = 16;
/// Hours of statistics that are added up in one statement.
const ROLL_UP_HOURS: u32 = 24;

/// Tidies until the leadership is over. Nothing here is urgent, so a failure only waits for the next time.
pub(crate) async fn run(scheduler: &Scheduler, epoch: Epoch, over: &CancellationToken) {
    let orphans_every = every(scheduler.settings.scheduler.orphan_sweep_s);
    let mut orphans_at = Instant::now() + orphans_every;
    let mut images_at = Instant::now();
    loop {
        // A failover does not restart the fleet, so the leader looks again and again.
        if let Err(error) = scheduler.store.follow_history().await {
            warn!(%error, "cannot determine whether the database has failed over; events may appear out of order after a failover");
        }
        if let Err(error) = scheduler.reflect(epoch).await {
            warn!(%error, "nothing learnt from the newest runs; trying again later");
        }
        if let Err(error) = roll_up(scheduler, over).await {
            warn!(%error, "hours of statistics not added up; the fleet's statistics are right, but slower to read");
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
    // A picture leaves with its last job.
    let mut images_due = Instant::now() >= *images_at;
    for _ in 0..BATCHES_MAX {
        let purged = scheduler.store.purge_deleted(keep_s, BATCH).await?;
        // The rows are gone already: what cannot be deleted now is an orphan later.
        let jobs = purged.len();
        images_due |= jobs > 0;
        purged.iter().for_each(|job| info!(job.id = %job.job_id, "deleted job purged"));
        remove_all(scheduler, purged.into_iter().flat_map(|job| job.objects).collect()).await;
        if over.is_cancelled() || jobs < BATCH as usize {
            break;
        }
    }
    for _ in 0..BATCHES_MAX {
        let keys = scheduler.store.drop_stale_checkpoints(keep_s, BATCH).await?;
        let jobs = keys.len();
        remove_all(scheduler, keys).await;
        if over.is_cancelled() || jobs < BATCH as usize {
            break;
        }
    }
    if images_due {
        remove_images(scheduler).await?;
        *images_at = Instant::now() + IMAGES_EVERY;
    }
    let limit = BATCH * 10;
    let events_keep_s = seconds(settings.events_retention_s);
    in_batches(over, limit, || scheduler.store.purge_events(events_keep_s, limit)).await?;
    let log_keep_s = seconds(scheduler.settings.webhooks.log_retention_s);
    in_batches(over, limit, || scheduler.store.purge_deliveries(log_keep_s, limit)).await?;
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
        remove_all(scheduler, vec![keys::image(tenant_id, id), keys::thumbnail(tenant_id, id)]).await;
        info!(image.id = %id, "removed a picture that no job uses");
    }
    Ok(())
}

/// Calls a statement that handles up to `limit` rows until it handles fewer. Returns the number of all rows.
async fn in_batches<F>(
    over: &CancellationToken,
    limit: u32,
    mut statement: impl FnMut() -> F,
) -> Result<u64, StoreError>
where
    F: Future<Output = Result<u64, StoreError>>,
{
    let mut handled = 0;
    for _ in 0..BATCHES_MAX {
        let batch = statement().await?;
        handled += batch;
        if over.is_cancelled() || batch < u64::from(limit) {
            break;
        }
    }
    Ok(handled)
}

/// Adds up hours of statistics that are over: one each hour, and all past ones after an upgrade.
async fn roll_up(scheduler: &Scheduler, over: &CancellationToken) -> Result<(), StoreError> {
    for _ in 0..BATCHES_MAX {
        let more = scheduler.store.roll_up_stats(ROLL_UP_HOURS).await?.is_some();
        if over.is_cancelled() || !more {
            break;
        }
    }
    Ok(())
}

/// Deletes jobs that ended more than `keep_s` seconds ago, as their owners could.
async fn delete_finished(scheduler: &Scheduler, keep_s: f64, over: &CancellationToken) -> Result<(), StoreError> {
    let deleted = in_batches(over, BATCH, || scheduler.store.delete_finished(keep_s, BATCH)).await?;
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
        let removed = orphans.len() as u64;
        remove_all(scheduler, orphans).await;
        scheduler.metrics.orphans_removed.inc_by(removed);
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

async fn remove_all(scheduler: &Scheduler, keys: Vec<String>) {
    let remove_one = |key: String| async move { remove(scheduler, &key).await };
    futures::stream::iter(keys).for_each_concurrent(DELETES_MAX, remove_one).await;
}

async fn remove(scheduler: &Scheduler, key: &str) {
    if let Err(error) = scheduler.artifacts.delete(key).await {
        warn!(key, %error, "object not deleted");
    }
}
