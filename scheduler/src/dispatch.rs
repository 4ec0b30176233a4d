//! Releases planned jobs to the pools that have room, in fair order, and announces them in the pools' queues.
//!
//! Only jobs that the guarded UPDATE returned are announced, and only after its commit. Lost messages are repeated by
//! re-announcing, so a failed publish does not undo the release.

use broker::JobReady;
use futures::future::join_all;
use store::affinity::Affinity;
use store::dispatch::{PoolLoad, Released};
use store::{Epoch, StoreError};
use telemetry::PoolLevel;
use tracing::{info, warn};

use crate::state::Scheduler;
use crate::timing::seconds;

/// Most jobs that one statement releases.
const RELEASE_MAX: u32 = 250;

/// Most jobs that are released beyond the lookahead because a pool's workers have merged different adapters: a worker that becomes
/// free should find a job for its own among those that wait.
const SETS_LOOKAHEAD_MAX: u32 = 64;

impl Scheduler {
    /// Releases jobs to every pool that has room. Returns the number of released jobs.
    ///
    /// # Errors
    /// An error of the database, or the leadership was lost.
    pub(crate) async fn dispatch(&self, epoch: Epoch) -> Result<usize, StoreError> {
        let mut released = 0;
        let loads = self.store.pools(self.worker_gone_s()).await?;
        self.metrics.pools(&loads.iter().map(level).collect::<Vec<_>>());
        for load in loads {
            released += self.fill(&load, epoch).await?;
        }
        Ok(released)
    }

    /// Releases as many jobs to a pool as it has room for, in statements of at most [`RELEASE_MAX`] jobs. So no statement grows with
    /// the fleet, and workers receive the first jobs before the last ones are chosen.
    async fn fill(&self, load: &PoolLoad, epoch: Epoch) -> Result<usize, StoreError> {
        let delay_s = seconds(self.settings.scheduler.affinity_delay_max_s);
        // Where no worker has merged anything, no order saves a swap.
        let matching = delay_s > 0.0 && load.adapter_sets > 0;
        let more = if matching { load.adapter_sets.saturating_sub(1).min(SETS_LOOKAHEAD_MAX) } else { 0 };
        let room = load.room(self.settings.scheduler.lookahead + more);
        let mut released = 0;
        while released < room {
            let limit = (room - released).min(RELEASE_MAX);
            let jobs = if matching {
                let affinity = self.affinity(load, delay_s).await?;
                self.store.release_matching(&load.pool, limit, &affinity, epoch).await?
            } else {
                self.store.release(&load.pool, limit, epoch).await?
            };
            if jobs.is_empty() {
                break;
            }
            released += u32::try_from(jobs.len()).unwrap_or(u32::MAX);
            self.metrics.released.inc_by(jobs.len() as u64);
            self.announce(&jobs).await;
        }
        Ok(released as usize)
    }

    /// Half of the delay is for the order of releases, the other half for released jobs that wait for a worker that matches.
    async fn affinity(&self, load: &PoolLoad, delay_s: f64) -> Result<Affinity, StoreError> {
        let merged = self.store.merged(&load.pool, self.worker_gone_s()).await?;
        Ok(Affinity { merged, round_s: delay_s / 2.0 * f64::from(load.slots) })
    }

    /// Announces again the released jobs that no worker has claimed for a while, with a growing interval for each job.
    ///
    /// # Errors
    /// An error of the database, or the leadership was lost.
    pub(crate) async fn reannounce(&self, epoch: Epoch) -> Result<usize, StoreError> {
        let settings = &self.settings.scheduler;
        let (first_s, max_s) = (seconds(settings.reannounce_min_s), seconds(settings.reannounce_max_s));
        let due = self.store.reannounce_due(first_s, max_s, settings.sweep_batch, epoch).await?;
        self.announce(&due).await;
        Ok(due.len())
    }

    /// Announces all jobs concurrently, started in order. If RabbitMQ does not respond, this costs one timeout in total instead of one
    /// per job.
    async fn announce(&self, jobs: &[Released]) {
        join_all(jobs.iter().map(|job| self.announce_one(job))).await;
    }

    async fn announce_one(&self, job: &Released) {
        let ready = JobReady { job_id: job.job_id, dispatch_no: job.dispatch_no, pool: job.pool.clone() };
        match self.broker.publish_ready(ready, None).await {
            Ok(()) => info!(job.id = %job.job_id, pool = %job.pool, dispatch_no = job.dispatch_no, "job released"),
            Err(error) => {
                self.metrics.announce_failures.inc();
                warn!(job.id = %job.job_id, %error, "release not announced; workers find it by polling");
            }
        }
    }
}

fn level(load: &PoolLoad) -> PoolLevel<'_> {
    PoolLevel { pool: load.pool.as_str(), workers: load.workers, slots: load.slots, running: load.running }
}
