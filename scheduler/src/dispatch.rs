//! Releases planned jobs to the pools that have room, fairest first, and rings the pools' queues.
//!
//! Only what the guarded UPDATE answered is announced, and only after its commit. A message that gets lost is made good
//! by re-announcing, so a publish that fails here is no reason to take anything back.

use broker::JobReady;
use futures::future::join_all;
use store::dispatch::{PoolLoad, Released};
use store::{Epoch, StoreError};
use telemetry::PoolLevel;
use tracing::{info, warn};

use crate::state::Scheduler;
use crate::timing::seconds;

impl Scheduler {
    /// Fills every pool's room; answers how many jobs were released.
    ///
    /// # Errors
    /// The database's, or the leadership is gone.
    pub(crate) async fn dispatch(&self, epoch: Epoch) -> Result<usize, StoreError> {
        let settings = &self.settings.scheduler;
        let mut released = 0;
        let loads = self.store.pools(self.worker_gone_s()).await?;
        self.metrics.pools(&loads.iter().map(level).collect::<Vec<_>>());
        for load in loads {
            let room = load.room(settings.lookahead);
            if room == 0 {
                continue;
            }
            let jobs = self.store.release(&load.pool, room, epoch).await?;
            released += jobs.len();
            self.metrics.released.inc_by(jobs.len() as u64);
            self.announce(&jobs).await;
        }
        Ok(released)
    }

    /// Announces again what nobody has claimed for a while, backing off per job.
    ///
    /// # Errors
    /// The database's, or the leadership is gone.
    pub(crate) async fn reannounce(&self, epoch: Epoch) -> Result<usize, StoreError> {
        let settings = &self.settings.scheduler;
        let (first_s, max_s) = (seconds(settings.reannounce_min_s), seconds(settings.reannounce_max_s));
        let due = self.store.reannounce_due(first_s, max_s, settings.sweep_batch, epoch).await?;
        self.announce(&due).await;
        Ok(due.len())
    }

    /// All at once, in their order: a RabbitMQ that does not answer then costs one timeout and not one for each job.
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
