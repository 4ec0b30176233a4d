//! Finds what no message reports: expired leases, silent workers, releases that no worker claimed, jobs of
//! models that nobody has registered, drafts that nobody continued, replays that no worker can render, candidates that wait for a
//! choice, and deadlines that only a running job's slot can save.

use std::time::{Duration, Instant};

use domain::lifecycle::AttemptLimits;
use store::leases::RetryPolicy;
use store::{Epoch, StoreError};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::sight::Sight;
use crate::state::Scheduler;
use crate::timing::{pause, seconds};

/// Silent workers are shown as gone for this long before they are forgotten, seconds.
const FORGET_S: f64 = 86_400.0;

/// Statements of one kind that a sweep runs at most, so that a mass failure is handled within seconds and no sweep goes
/// on without end.
pub(crate) const PASSES_MAX: u32 = 100;

/// Sweeps until the leadership is over. `sight` is kept up to date by [`crate::sight`], on a connection of its own, so a slow
/// sweep does not look like a database that is down.
pub(crate) async fn run(scheduler: &Scheduler, epoch: Epoch, sight: &Sight, over: &CancellationToken) {
    let every = Duration::from_millis(scheduler.settings.scheduler.sweep_ms.max(1));
    while pause(every, over).await {
        match sweep(scheduler, epoch, sight, over).await {
            Ok(()) => {}
            Err(StoreError::NotLeader { .. }) => return over.cancel(),
            Err(error) => warn!(%error, "sweep not finished; the next one continues"),
        }
    }
}

async fn sweep(scheduler: &Scheduler, epoch: Epoch, sight: &Sight, over: &CancellationToken) -> Result<(), StoreError> {
    let lease = Duration::from_secs(scheduler.settings.worker.lease_s);
    for _ in 0..PASSES_MAX {
        if over.is_cancelled() || !sight.covers(Instant::now(), lease) {
            break;
        }
        if !expire_leases(scheduler, epoch).await? {
            break;
        }
    }
    let gone = scheduler.store.give_up_silent_workers(scheduler.worker_gone_s(), FORGET_S).await?;
    if gone > 0 {
        scheduler.metrics.workers_silent.inc_by(gone);
        warn!(workers = gone, "workers stopped sending heartbeats");
    }
    for _ in 0..PASSES_MAX {
        if over.is_cancelled() || !take_back_releases(scheduler, epoch).await? {
            break;
        }
    }
    for _ in 0..PASSES_MAX {
        if over.is_cancelled() || !fail_unknown_models(scheduler, epoch).await? {
            break;
        }
    }
    for _ in 0..PASSES_MAX {
        if over.is_cancelled() || !expire_drafts(scheduler, epoch).await? {
            break;
        }
    }
    for _ in 0..PASSES_MAX {
        if over.is_cancelled() || !cancel_unmatched_replays(scheduler, epoch).await? {
            break;
        }
    }
    scheduler.judge(epoch).await?;
    scheduler.preempt(epoch).await?;
    scheduler.reannounce(epoch, over).await
}

/// Ends leases that ran out, up to the batch limit; `true` when there may be more.
async fn expire_leases(scheduler: &Scheduler, epoch: Epoch) -> Result<bool, StoreError> {
    let (lease_s, limit) = (scheduler.settings.worker.lease_s, scheduler.settings.scheduler.sweep_batch);
    let lost = scheduler.store.expire_leases(seconds(lease_s), retries(scheduler), limit, epoch).await?;
    for job in &lost {
        scheduler.metrics.leases_expired.inc();
        warn!(job.id = %job.job_id, status = %job.status, "lease expired: its worker died, hung or lost its connection");
    }
    Ok(lost.len() >= limit as usize)
}

/// Fails jobs whose model stays unknown, up to the batch limit; `true` when there may be more.
async fn fail_unknown_models(scheduler: &Scheduler, epoch: Epoch) -> Result<bool, StoreError> {
    let settings = &scheduler.settings.scheduler;
    let failed = scheduler
        .store
        .fail_unknown_models(seconds(settings.unknown_model_grace_s), settings.sweep_batch, epoch)
        .await?;
    if !failed.is_empty() {
        warn!(jobs = failed.len(), "failed jobs of models that no process has registered");
    }
    Ok(failed.len() >= settings.sweep_batch as usize)
}

/// Cancels drafts that nobody continued in time, up to the batch limit; `true` when there may be more.
async fn expire_drafts(scheduler: &Scheduler, epoch: Epoch) -> Result<bool, StoreError> {
    let settings = &scheduler.settings.scheduler;
    let expired = scheduler.store.expire_drafts(seconds(settings.draft_ttl_s), settings.sweep_batch, epoch).await?;
    if !expired.is_empty() {
        info!(jobs = expired.len(), "cancelled drafts that were not continued in time");
    }
    Ok(expired.len() >= settings.sweep_batch as usize)
}

/// Cancels replays that no worker may claim, up to the batch limit; `true` when there may be more.
async fn cancel_unmatched_replays(scheduler: &Scheduler, epoch: Epoch) -> Result<bool, StoreError> {
    let limit = scheduler.settings.scheduler.sweep_batch;
    let cancelled = scheduler.store.cancel_unmatched_replays(scheduler.worker_gone_s(), limit, epoch).await?;
    if !cancelled.is_empty() {
        info!(jobs = cancelled.len(), "cancelled replays that no worker online could render to the same bytes");
    }
    Ok(cancelled.len() >= limit as usize)
}

/// Takes back releases to pools that have no workers, up to the batch limit; `true` when there may be more.
async fn take_back_releases(scheduler: &Scheduler, epoch: Epoch) -> Result<bool, StoreError> {
    let limit = scheduler.settings.scheduler.sweep_batch;
    let taken_back = scheduler.store.unrelease_dead_pools(scheduler.worker_gone_s(), limit, epoch).await?;
    if !taken_back.is_empty() {
        info!(jobs = taken_back.len(), "took back jobs that were released to pools without workers");
    }
    Ok(taken_back.len() >= limit as usize)
}

fn retries(scheduler: &Scheduler) -> RetryPolicy {
    let settings = &scheduler.settings.scheduler;
    RetryPolicy {
        limits: AttemptLimits { attempts_max: settings.attempts_max, attempts_total_max: settings.attempts_total_max },
        backoff_s: seconds(settings.backoff_min_s),
        backoff_max_s: seconds(settings.backoff_max_s),
    }
}
