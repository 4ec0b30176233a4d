//! Releases to workers with one device and to workers with several, where a model has both. `optimizer::several` has the rule.

use optimizer::several::{Devices, Fleet, Kind, Part, divide};
use store::dispatch::PoolLoad;
use store::split::Split;
use store::{Epoch, StoreError};

use crate::dispatch::RELEASE_MAX;
use crate::state::Scheduler;

/// Most waiting jobs that are counted: more only repeat that every slot has one.
const COUNTED_MAX: u32 = 4_000;
/// Most jobs that one statement releases. Fewer than [`RELEASE_MAX`], because it looks for tenants twice, once in each class.
const SPLIT_MAX: u32 = 100;

impl Scheduler {
    /// The pools of a model whose jobs have to be divided: they hold the same jobs, and their workers have different numbers of devices.
    /// Where the memory differs, too, one pool may be the only one for some jobs, so each takes all that it holds.
    pub(crate) fn is_divided(pools: &[&PoolLoad]) -> bool {
        let alive = || pools.iter().filter(|load| load.workers > 0);
        let Some(first) = alive().next() else { return false };
        alive().all(|load| load.pool.memory_bytes() == first.pool.memory_bytes())
            && alive().any(|load| load.pool.devices() != first.pool.devices())
    }

    /// Releases as many jobs to the pools of one model as they have room for, each kind of worker its part.
    pub(crate) async fn fill_divided(&self, pools: &[&PoolLoad], epoch: Epoch) -> Result<usize, StoreError> {
        let mut alive: Vec<PoolLoad> =
            pools.iter().filter(|load| load.workers > 0).map(|load| (*load).clone()).collect();
        let Some(range) = Devices::over(alive.iter().map(|load| load.pool.devices())) else { return Ok(0) };
        let replays = self.fill_replays(&mut alive, epoch).await?;
        let (few, many): (Vec<&PoolLoad>, Vec<&PoolLoad>) =
            alive.iter().partition(|load| load.pool.devices() == range.least);
        let (first, models, planner) = (&alive[0], self.models(), self.planner());
        let Some(manifest) = models.get(first.pool.model_id()) else { return Ok(replays) };
        if alive.iter().all(|load| load.room(self.settings.scheduler.lookahead) == 0) {
            return Ok(replays);
        }
        let slots: u32 = alive.iter().map(|load| load.slots).sum();
        let waiting =
            self.store.waiting_by_tier(&first.pool, slots.saturating_add(RELEASE_MAX).min(COUNTED_MAX)).await?;
        let division = divide(&Fleet {
            few: kind(&few),
            many: kind(&many),
            premium: waiting.premium,
            others: waiting.others,
            few_s: planner.baseline_s(manifest, range.least),
            many_s: planner.baseline_s(manifest, range.most),
        });
        let many = self.fill_part(&many, division.many, epoch).await?;
        Ok(replays + many + self.fill_part(&few, division.few, epoch).await?)
    }

    /// Releases replays to the pools whose workers may render them, and counts them there.
    async fn fill_replays(&self, pools: &mut [PoolLoad], epoch: Epoch) -> Result<usize, StoreError> {
        let mut released = 0;
        for load in pools {
            let room = load.room(self.settings.scheduler.lookahead).min(SPLIT_MAX);
            let jobs = self.store.release_replays(&load.pool, room, epoch).await?;
            if jobs.is_empty() {
                continue;
            }
            load.scheduled = load.scheduled.saturating_add(u32::try_from(jobs.len()).unwrap_or(u32::MAX));
            released += jobs.len();
            self.send_out(load, jobs, epoch).await?;
        }
        Ok(released)
    }

    async fn fill_part(&self, pools: &[&PoolLoad], mut part: Part, epoch: Epoch) -> Result<usize, StoreError> {
        let mut released = 0;
        for load in pools {
            let mut room = load.room(self.settings.scheduler.lookahead);
            while room > 0 && (part.premium > 0 || part.others > 0) {
                let most = Split { premium: part.premium, others: part.others, limit: room.min(SPLIT_MAX) };
                let jobs = self.store.release_split(&load.pool, most, epoch).await?;
                if jobs.is_empty() {
                    break;
                }
                let moved = u32::try_from(jobs.len()).unwrap_or(u32::MAX);
                room = room.saturating_sub(moved);
                // Which tiers they are of is not known here; what this leaves out, the next round releases.
                part.premium = part.premium.saturating_sub(moved);
                part.others = part.others.saturating_sub(moved);
                released += jobs.len();
                self.send_out(load, jobs, epoch).await?;
            }
        }
        Ok(released)
    }
}

fn kind(pools: &[&PoolLoad]) -> Kind {
    let sum = |of: fn(&PoolLoad) -> u32| -> u32 { pools.iter().map(|load| of(load)).sum() };
    Kind {
        slots: sum(|load| load.slots),
        free: sum(PoolLoad::free),
        queued: sum(|load| (load.running + load.scheduled).saturating_sub(load.slots)),
    }
}

#[cfg(test)]
mod tests {
    use domain::PoolId;

    use super::*;

    fn load(gib: u64, devices: u32, workers: u32) -> PoolLoad {
        PoolLoad {
            pool: PoolId::of_devices("m", gib << 30, devices),
            workers,
            slots: workers,
            running: 0,
            scheduled: 0,
            adapter_sets: 0,
            batch_max: 1,
            batch_tokens: 0,
            memory_bytes: gib << 30,
        }
    }

    #[test]
    fn only_live_pools_that_hold_the_same_jobs_are_divided() {
        let (one, two, small) = (load(80, 1, 1), load(80, 2, 1), load(24, 1, 1));
        assert!(Scheduler::is_divided(&[&one, &two]));
        assert!(!Scheduler::is_divided(&[&one]) && !Scheduler::is_divided(&[&two]) && !Scheduler::is_divided(&[]));
        assert!(!Scheduler::is_divided(&[&one, &load(80, 2, 0)]), "no worker with two devices is alive");
        assert!(!Scheduler::is_divided(&[&small, &two]), "some jobs fit only one of them");
    }
}
