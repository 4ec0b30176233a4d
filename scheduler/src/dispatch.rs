//! Releases planned jobs to the pools that have room, in fair order, and announces them in the pools' queues.
//!
//! Only jobs that the guarded UPDATE returned are announced, and only after its commit. Lost messages are repeated by
//! re-announcing, so a failed publish does not undo the release.

use std::collections::BTreeMap;

use optimizer::batch;
use optimizer::several::Devices;
use store::affinity::Affinity;
use store::companions::Seats;
use store::dispatch::{PoolLoad, Released};
use store::{Epoch, StoreError};
use telemetry::PoolLevel;
use tracing::{info, warn};

use crate::state::Scheduler;
use crate::timing::seconds;

/// Most jobs that one statement releases.
pub(crate) const RELEASE_MAX: u32 = 250;

/// Most jobs that are released beyond the lookahead because a pool's workers have merged different adapters: a worker that becomes
/// free should find a job for its own among those that wait.
const SETS_LOOKAHEAD_MAX: u32 = 64;

impl Scheduler {
    /// Releases jobs to every pool that has room. Returns the number of released jobs.
    ///
    /// # Errors
    /// An error of the database, or the leadership was lost.
    pub(crate) async fn dispatch(&self, epoch: Epoch) -> Result<usize, StoreError> {
        let given_up = self.store.give_up_deadlines(RELEASE_MAX, epoch).await?;
        if given_up > 0 {
            info!(jobs = given_up, "deadlines that cannot be met any more have no effect on the order");
        }
        let mut released = 0;
        let loads = self.store.pools(self.worker_gone_s()).await?;
        self.metrics.pools(&loads.iter().map(level).collect::<Vec<_>>());
        self.note(&loads);
        let mut models: BTreeMap<&str, Vec<&PoolLoad>> = BTreeMap::new();
        for load in &loads {
            models.entry(load.pool.model_id()).or_default().push(load);
        }
        // The other models go on if the releases of one fail.
        let mut failed = None;
        for (model, pools) in &models {
            match self.fill_model(pools, epoch).await {
                Ok(jobs) => released += jobs,
                Err(error @ StoreError::NotLeader { .. }) => return Err(error),
                Err(error) => {
                    warn!(%error, model, "cannot release jobs of this model; trying again");
                    failed = Some(error);
                }
            }
        }
        failed.map_or(Ok(released), Err)
    }

    /// Releases jobs to all pools of a model.
    async fn fill_model(&self, pools: &[&PoolLoad], epoch: Epoch) -> Result<usize, StoreError> {
        if Self::is_divided(pools) {
            return self.fill_divided(pools, epoch).await;
        }
        let mut released = 0;
        for load in pools {
            released += self.fill(load, epoch).await?;
        }
        Ok(released)
    }

    /// Lets planning know what the workers can do.
    fn note(&self, loads: &[PoolLoad]) {
        self.texts.add_together(loads.iter().filter(|load| load.batch_max > 1).map(|load| load.pool.model_id()));
        let live = loads.iter().filter(|load| load.workers > 0).map(|load| &load.pool);
        let devices = Devices::by_model(live);
        if self.planner().devices != devices {
            self.change_planner(|planner| planner.devices = devices);
        }
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
            self.send_out(load, jobs, epoch).await?;
        }
        Ok(released as usize)
    }

    /// Adds companions to released jobs, then announces those jobs. In this order a worker that claims one finds its companions.
    pub(crate) async fn send_out(&self, load: &PoolLoad, jobs: Vec<Released>, epoch: Epoch) -> Result<(), StoreError> {
        let taken_along = self.take_along(load, &jobs, epoch).await;
        self.metrics.released.inc_by(jobs.len() as u64);
        self.announcer.announce_beside(jobs).await;
        self.metrics.released.inc_by(taken_along?);
        Ok(())
    }

    /// Releases companions of released jobs to a pool whose workers render several jobs at once. They are not announced: the worker
    /// that claims a job looks for them. Returns how many.
    async fn take_along(&self, load: &PoolLoad, jobs: &[Released], epoch: Epoch) -> Result<u64, StoreError> {
        if load.batch_max <= 1 || load.pool.devices() > 1 {
            return Ok(0);
        }
        let models = self.models();
        let Some(manifest) = models.get(load.pool.model_id()) else { return Ok(0) };
        let seats = self.store.leads(jobs).await?.into_iter().map(|lead| {
            let [width, height, frames] = lead.size;
            let tokens = manifest.geometry.tokens(width, height, frames);
            let most = batch::limit(tokens, load.batch_max, load.batch_tokens, load.memory_bytes, &manifest.memory);
            Seats { lead: lead.job_id, key: lead.key, free: most - 1 }
        });
        let seats: Vec<_> = seats.filter(|one| one.free > 0).collect();
        let taken_along = self.store.release_companions(&load.pool, &seats, epoch).await?;
        if taken_along > 0 {
            info!(pool = %load.pool, jobs = taken_along, "jobs released to be rendered together with others");
        }
        Ok(taken_along)
    }

    /// Half of the delay is for the order of releases, the other half for released jobs that wait for a worker that matches.
    async fn affinity(&self, load: &PoolLoad, delay_s: f64) -> Result<Affinity, StoreError> {
        let merged = self.store.merged(&load.pool, self.worker_gone_s()).await?;
        Ok(Affinity { merged, round_s: delay_s / 2.0 * f64::from(load.slots) })
    }
}

fn level(load: &PoolLoad) -> PoolLevel<'_> {
    PoolLevel { pool: load.pool.as_str(), workers: load.workers, slots: load.slots, running: load.running }
}
