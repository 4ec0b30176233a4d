//! What nobody tells the scheduler: leases that ran out, workers that fell silent, releases that nobody claimed.

use std::time::{Duration, Instant};

use domain::lifecycle::AttemptLimits;
use store::leases::RetryPolicy;
use store::{Epoch, StoreError};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::levels::Levels;
use crate::state::Scheduler;
use crate::timing::{pause, seconds};

/// Silent workers are shown as gone for this long before they are forgotten, seconds.
const FORGET_S: f64 = 86_400.0;

/// Sweeps until the leadership is over.
pub(crate) async fn run(scheduler: &Scheduler, epoch: Epoch, over: &CancellationToken) {
    let every = Duration::from_millis(scheduler.settings.scheduler.sweep_ms.max(1));
    let mut sight = Sight::default();
    let mut levels = Levels::default();
    while pause(every, over).await {
        match sweep(scheduler, epoch, &mut sight).await {
            Ok(()) => {}
            Err(StoreError::NotLeader { .. }) => return over.cancel(),
            Err(error) => {
                // A database that was away may have kept workers from renewing: their time begins anew.
                sight = Sight::default();
                warn!(%error, "sweep not finished");
            }
        }
        levels.observe(scheduler).await;
    }
}

/// How long this sweeper has seen the database up without a gap.
#[derive(Debug, Default)]
struct Sight {
    since: Option<Instant>,
    last: Option<Instant>,
}

impl Sight {
    /// Notes that the database answers now. A gap longer than `gap_max` starts anew.
    fn up(&mut self, now: Instant, gap_max: Duration) {
        if self.last.is_none_or(|last| now - last > gap_max) {
            self.since = Some(now);
        }
        self.last = Some(now);
    }

    /// Whether the database has been seen up for `time`.
    fn covers(&self, now: Instant, time: Duration) -> bool {
        self.since.is_some_and(|since| now - since >= time)
    }
}

async fn sweep(scheduler: &Scheduler, epoch: Epoch, sight: &mut Sight) -> Result<(), StoreError> {
    let settings = &scheduler.settings;
    let (lease_s, limit) = (settings.worker.lease_s, settings.scheduler.sweep_batch);
    scheduler.store.ping().await?;
    sight.up(Instant::now(), Duration::from_millis(settings.scheduler.sweep_ms) + Duration::from_secs(lease_s) / 2);
    if sight.covers(Instant::now(), Duration::from_secs(lease_s)) {
        let lost = scheduler.store.expire_leases(seconds(lease_s), retries(scheduler), limit, epoch).await?;
        for job in lost {
            scheduler.metrics.leases_expired.inc();
            warn!(job.id = %job.job_id, status = %job.status, "lease ran out; its worker died, hung or was cut off");
        }
    }
    let gone = scheduler.store.give_up_silent_workers(scheduler.worker_gone_s(), FORGET_S).await?;
    if gone > 0 {
        scheduler.metrics.workers_silent.inc_by(gone);
        warn!(workers = gone, "workers fell silent");
    }
    let taken_back = scheduler.store.unrelease_dead_pools(scheduler.worker_gone_s(), limit, epoch).await?;
    if !taken_back.is_empty() {
        info!(jobs = taken_back.len(), "releases to pools without workers taken back");
    }
    let again = scheduler.reannounce(epoch).await?;
    scheduler.metrics.reannounced.inc_by(again as u64);
    Ok(())
}

fn retries(scheduler: &Scheduler) -> RetryPolicy {
    let settings = &scheduler.settings.scheduler;
    RetryPolicy {
        limits: AttemptLimits { attempts_max: settings.attempts_max, attempts_total_max: settings.attempts_total_max },
        backoff_s: seconds(settings.backoff_min_s),
        backoff_max_s: seconds(settings.backoff_max_s),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_expires_until_the_database_was_seen_up_for_a_lease() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let (lease, gap) = (Duration::from_secs(30), Duration::from_secs(10));
        let mut sight = Sight::default();
        assert!(!sight.covers(at(0), lease));
        for s in (0..=28).step_by(2) {
            sight.up(at(s), gap);
        }
        assert!(!sight.covers(at(29), lease));
        assert!(sight.covers(at(30), lease));
        // A gap, as long as an outage that nobody saw: the time begins anew.
        sight.up(at(60), gap);
        assert!(!sight.covers(at(61), lease));
        assert!(sight.covers(at(90), lease));
    }
}
