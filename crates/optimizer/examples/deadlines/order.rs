//! The order in which the scheduler releases jobs, in memory: start-time fair queueing between tenants, and the earliest place
//! first within a tenant.
//!
//! The fleet keeps this order in SQL (`release_jobs` in `crates/store/src/dispatch.rs`). A test of `store` includes this file and
//! compares both, so that the simulation cannot drift from what the fleet does.

use std::collections::BTreeMap;

/// A place in a tenant's queue: its time in milliseconds, and the job's number, which decides between equal times.
pub(crate) type Place = (i64, u64);

/// Jobs that are counted at most, as `limits.queue_position_max`.
const COUNTED_MAX: usize = 10_000;

/// Waiting jobs of all tenants.
#[derive(Debug, Default)]
pub(crate) struct FairQueue {
    tenants: Vec<Tenant>,
    /// Virtual start of the last released job: a tenant that was idle saves up no share.
    clock: f64,
}

#[derive(Debug)]
struct Tenant {
    weight: f64,
    /// Where its last released job ends in virtual time.
    finish: f64,
    /// Seconds that each waiting job counts.
    jobs: BTreeMap<Place, f64>,
}

impl FairQueue {
    /// Tenants with these weights, without jobs.
    pub(crate) fn new(weights: impl IntoIterator<Item = f64>) -> Self {
        let tenant = |weight| Tenant { weight, finish: 0.0, jobs: BTreeMap::new() };
        Self { tenants: weights.into_iter().map(tenant).collect(), clock: 0.0 }
    }

    /// Adds a job that counts `share_s` seconds.
    pub(crate) fn push(&mut self, tenant: usize, place: Place, share_s: f64) {
        self.tenants[tenant].jobs.insert(place, share_s);
    }

    /// Releases the next job: its tenant and its place.
    pub(crate) fn pop(&mut self) -> Option<(usize, Place)> {
        let first = |(index, tenant): (usize, &Tenant)| {
            let place = *tenant.jobs.keys().next()?;
            Some((tenant.finish.max(self.clock), place, index))
        };
        let heads = self.tenants.iter().enumerate().filter_map(first);
        let (start, place, index) = heads.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)))?;
        self.clock = self.clock.max(start);
        self.release(index, place);
        Some((index, place))
    }

    /// Releases this job out of the order between tenants; it is charged as any other. `false` if it does not wait.
    pub(crate) fn release(&mut self, tenant: usize, place: Place) -> bool {
        let clock = self.clock;
        let tenant = &mut self.tenants[tenant];
        let Some(share_s) = tenant.jobs.remove(&place) else { return false };
        tenant.finish = tenant.finish.max(clock) + share_s.max(1.0) / tenant.weight;
        true
    }

    /// Moves a waiting job to another place of its tenant's queue.
    pub(crate) fn replace(&mut self, tenant: usize, from: Place, to: Place) {
        if let Some(share_s) = self.tenants[tenant].jobs.remove(&from) {
            self.tenants[tenant].jobs.insert(to, share_s);
        }
    }

    /// Where a tenant's share ends in virtual time.
    pub(crate) fn share(&self, tenant: usize) -> f64 {
        self.tenants[tenant].finish.max(self.clock)
    }

    /// Jobs of a tenant before a place, and jobs of all others that fair sharing lets go before them.
    pub(crate) fn ahead(&self, tenant: usize, place: Place) -> u64 {
        let own = self.tenants[tenant].jobs.range(..place).take(COUNTED_MAX).count();
        let weight = self.tenants[tenant].weight;
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "numbers of jobs"
        )]
        let others = |other: &Tenant| other.jobs.len().min(((own + 1) as f64 * other.weight / weight).ceil() as usize);
        let others: usize =
            (0..self.tenants.len()).filter(|index| *index != tenant).map(|index| others(&self.tenants[index])).sum();
        (own + others) as u64
    }
}
