//! Deadlines that only a running job's slot can save.
//!
//! [`optimizer::preempt`] decides which run gives its slot to which waiting job; this file reads the rows, makes the move and
//! announces it. The row is what stops the run: its worker reads it at the next renewal of its lease, and the message only makes
//! it look sooner.

use std::collections::BTreeMap;

use broker::FleetEvent;
use domain::PoolId;
use optimizer::preempt::{Run, Urgent, choose};
use store::deadlines::{Preemption, SlotHolder, UrgentJob};
use store::dispatch::PoolLoad;
use store::{Epoch, StoreError};
use tracing::info;

use crate::state::Scheduler;
use crate::timing::seconds;

/// Most released jobs without a deadline that go back to the queue, so that the slot does not go to one of them.
const DISPLACED_MAX: u32 = 100;
/// Most waiting jobs that one sweep looks at.
const URGENT_MAX: u32 = 100;

impl Scheduler {
    /// Takes slots from running jobs for jobs that would miss their deadlines otherwise.
    ///
    /// # Errors
    /// The database's, or the leadership is lost.
    pub(crate) async fn preempt(&self, epoch: Epoch) -> Result<(), StoreError> {
        let settings = &self.settings.scheduler;
        let notice_s = seconds(settings.preempt_notice_s);
        if settings.preempt_notice_s == 0 || settings.preemptions_max == 0 {
            return Ok(());
        }
        // Mostly there is none, and nothing else is read.
        let urgent = self.store.urgent_jobs(notice_s, URGENT_MAX).await?;
        if urgent.is_empty() {
            return Ok(());
        }
        let loads = self.store.pools(self.worker_gone_s()).await?;
        for (pool, jobs) in by_pool(&urgent, &loads) {
            let Some(load) = loads.iter().find(|load| load.pool == pool).filter(|load| is_full(load)) else { continue };
            let runs = self.store.slot_holders(&pool, settings.preemptions_max).await?;
            let urgent: Vec<_> = jobs.iter().map(|job| as_urgent(job)).collect();
            let own = jobs.iter().filter(|job| job.pool.is_some()).count();
            let ahead = (load.scheduled as usize).saturating_sub(own);
            for swap in choose(&urgent, &runs.iter().map(as_run).collect::<Vec<_>>(), ahead, notice_s) {
                self.swap(&pool, jobs[swap.urgent], &runs[swap.run], epoch).await?;
            }
        }
        Ok(())
    }

    async fn swap(&self, pool: &PoolId, job: &UrgentJob, run: &SlotHolder, epoch: Epoch) -> Result<(), StoreError> {
        let settings = &self.settings.scheduler;
        let wish = Preemption {
            job_id: run.job_id,
            token: run.token,
            urgent: job.job_id,
            pool: pool.clone(),
            displace_max: DISPLACED_MAX,
            preemptions_max: settings.preemptions_max,
        };
        let Some(released) = self.store.preempt(&wish, epoch).await? else { return Ok(()) };
        self.metrics.preemptions.inc();
        self.broker.tell(FleetEvent::CancelRequested { job_id: run.job_id, tenant_id: run.tenant_id });
        info!(
            job.id = %run.job_id, for_job.id = %job.job_id, slack_s = job.slack_s, remaining_s = run.remaining_s,
            "preempting a running job for a job with a deadline"
        );
        self.announcer.announce(&released).await;
        Ok(())
    }
}

fn is_full(load: &PoolLoad) -> bool {
    load.workers > 0 && load.running >= load.slots
}

fn as_urgent(job: &UrgentJob) -> Urgent {
    Urgent { slack_s: job.slack_s, tenant: job.tenant_id.0.as_u128(), share: job.share }
}

fn as_run(run: &SlotHolder) -> Run {
    let tenant = run.tenant_id.0.as_u128();
    Run { remaining_s: run.remaining_s, may_yield: run.may_yield, tenant, share: run.share }
}

/// The waiting jobs by the pool whose slots they could use: the one that they are released to, or the smallest that holds them. Jobs
/// for which another pool has a free slot are left out: they get that one.
fn by_pool<'a>(urgent: &'a [UrgentJob], loads: &[PoolLoad]) -> BTreeMap<PoolId, Vec<&'a UrgentJob>> {
    let mut pools: BTreeMap<PoolId, Vec<&UrgentJob>> = BTreeMap::new();
    for job in urgent {
        let need_bytes = job.memory_bytes.unsigned_abs();
        let fits =
            |load: &&PoolLoad| load.workers > 0 && load.pool.model_id() == job.model_id && load.pool.holds(need_bytes);
        let all_full = loads.iter().filter(fits).all(is_full);
        let smallest = loads.iter().filter(fits).min_by_key(|load| load.pool.memory_bytes());
        let smallest = smallest.filter(|_| all_full).map(|load| load.pool.clone());
        if let Some(pool) = job.pool.clone().or(smallest) {
            pools.entry(pool).or_default().push(job);
        }
    }
    pools
}

#[cfg(test)]
mod tests {
    use domain::{JobId, TenantId};

    use super::*;

    fn load(gib: u64, running: u32) -> PoolLoad {
        PoolLoad {
            pool: PoolId::of_worker("m", gib << 30),
            workers: 1,
            slots: 1,
            running,
            scheduled: 0,
            adapter_sets: 0,
            batch_max: 1,
            batch_tokens: 0,
            memory_bytes: gib << 30,
        }
    }

    fn job(pool: Option<PoolId>) -> UrgentJob {
        let (job_id, tenant_id, memory_bytes) = (JobId::fresh(), TenantId::DEFAULT, 20 << 30);
        UrgentJob { job_id, tenant_id, model_id: "m".to_owned(), memory_bytes, pool, slack_s: 10.0, share: 0.0 }
    }

    #[test]
    fn a_job_is_urgent_for_the_smallest_pool_that_holds_it_unless_one_has_a_free_slot() {
        let chosen = |urgent: &[UrgentJob], loads: &[PoolLoad]| by_pool(urgent, loads).into_keys().collect::<Vec<_>>();
        let small = load(8, 1).pool;
        assert_eq!(chosen(&[job(None)], &[load(8, 1), load(24, 1), load(80, 1)]), [load(24, 1).pool]);
        assert_eq!(chosen(&[job(None)], &[load(24, 1), load(80, 0)]), []);
        assert_eq!(chosen(&[job(None)], &[load(8, 1)]), [], "no pool holds it");
        assert_eq!(chosen(&[job(Some(small.clone()))], &[load(24, 0)]), [small], "it is released already");
    }
}
