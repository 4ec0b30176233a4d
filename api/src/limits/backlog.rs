//! The backlog limit: how many jobs may be waiting. It bounds the table and keeps queue times and their estimates realistic.
//!
//! Counting rows for every submission would cost more than the submission itself. So the count is read again only when it is
//! older than `FRESH`, or older than `FRESH_WHEN_FULL` and at the limit. In between, this replica adds the jobs it admits
//! itself. Several replicas together may therefore exceed the limit by what they admit within that time.
//!
//! One submission at a time counts; the others meanwhile use the count before, so a slow database delays no submission but the
//! first. After each count comes a pause of several times its duration.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use domain::TenantId;
use store::Store;
use store::jobs::Scope;
use tokio::sync::Mutex as AsyncMutex;

use crate::problem::{Answer, Problem, ProblemKind};

/// Age up to which a count is used without reading it again.
const FRESH: Duration = Duration::from_secs(1);
/// The same for a count at the limit. It is shorter, so that freed room is used soon, but not zero, so that many rejected
/// clients do not each trigger a count.
const FRESH_WHEN_FULL: Duration = Duration::from_millis(100);
/// A count is used for at least this many times as long as it took, so that counting takes a small part of a connection's time.
const REST: u32 = 10;
/// `Retry-After` of a rejected submission, in seconds: about the time in which a small fleet finishes a few jobs.
const RETRY_AFTER_S: u64 = 10;

/// The backlog limit and the counts it is checked against.
#[derive(Debug)]
pub struct Backlog {
    store: Store,
    all_max: u64,
    tenant_max: u64,
    counts: Mutex<Counts>,
    /// Held while counting.
    counting: AsyncMutex<()>,
}

#[derive(Debug, Default)]
struct Counts {
    all: Option<Count>,
    tenants: HashMap<TenantId, Count>,
}

impl Counts {
    fn of(&mut self, scope: Scope) -> Option<&mut Count> {
        match scope {
            Scope::Fleet => self.all.as_mut(),
            Scope::Tenant(tenant) => self.tenants.get_mut(&tenant),
        }
    }

    fn set(&mut self, scope: Scope, count: Count) {
        match scope {
            Scope::Fleet => self.all = Some(count),
            Scope::Tenant(tenant) => {
                if self.tenants.len() >= TENANTS_MAX {
                    self.tenants.clear();
                }
                self.tenants.insert(tenant, count);
            }
        }
    }
}

/// The number of waiting jobs, and when it was counted.
#[derive(Debug, Clone, Copy)]
struct Count {
    jobs: u64,
    /// All jobs that this replica has admitted since the scope was first counted.
    admitted: u64,
    at: Instant,
    /// How long the count took.
    took: Duration,
}

impl Count {
    fn usable(&self, now: Instant, cost: u64, max: u64) -> bool {
        let full = self.jobs + cost > max;
        let fresh = if full { FRESH_WHEN_FULL } else { FRESH };
        now.saturating_duration_since(self.at) < fresh.max(self.took * REST)
    }
}

/// Number of tenants whose counts are kept in memory; beyond it all are forgotten and read again.
const TENANTS_MAX: usize = 1_000;

impl Backlog {
    /// At most `all_max` waiting jobs in total and `tenant_max` per tenant; a `tenant_max` of 0 means no limit per tenant.
    #[must_use]
    pub fn new(store: Store, all_max: u64, tenant_max: u64) -> Self {
        Self { store, all_max, tenant_max, counts: Mutex::default(), counting: AsyncMutex::default() }
    }

    /// Admits `cost` more jobs.
    ///
    /// # Errors
    /// 503 if the fleet's backlog is full, 429 if the tenant's is.
    pub(crate) async fn admit(&self, tenant_id: TenantId, cost: u64) -> Answer<()> {
        let own = Scope::Tenant(tenant_id);
        self.refresh(Scope::Fleet, cost, self.all_max).await?;
        if self.tenant_max > 0 {
            self.refresh(own, cost, self.tenant_max).await?;
        }
        // From here on without waiting, so that no other submission takes the same place.
        let mut counts = self.counts();
        let all = counts.of(Scope::Fleet).map_or(0, |count| count.jobs);
        if all + cost > self.all_max {
            let detail =
                format!("{all} jobs are already waiting (limit {}); try again in {RETRY_AFTER_S} s", self.all_max);
            return Err(Problem::new(ProblemKind::BacklogFull, detail).retry_after(RETRY_AFTER_S));
        }
        if self.tenant_max > 0 {
            let jobs = counts.of(own).map_or(0, |count| count.jobs);
            if jobs + cost > self.tenant_max {
                let detail = format!(
                    "{jobs} of your jobs are already waiting (limit {}); try again when some have finished",
                    self.tenant_max
                );
                return Err(Problem::new(ProblemKind::RateLimited, detail).retry_after(RETRY_AFTER_S));
            }
        }
        for scope in [Scope::Fleet, own] {
            if let Some(count) = counts.of(scope) {
                count.jobs += cost;
                count.admitted += cost;
            }
        }
        Ok(())
    }

    /// Counts again if the known count is too old and no other submission is counting.
    async fn refresh(&self, scope: Scope, cost: u64, max: u64) -> Answer<()> {
        let known = self.counts().of(scope).copied();
        if known.is_some_and(|count| count.usable(Instant::now(), cost, max)) {
            return Ok(());
        }
        let _counting = match (known, self.counting.try_lock()) {
            (_, Ok(counting)) => counting,
            (Some(_), Err(_)) => return Ok(()),
            // Nothing is known yet, so wait until it is.
            (None, Err(_)) => {
                let counting = self.counting.lock().await;
                if self.counts().of(scope).is_some() {
                    return Ok(());
                }
                counting
            }
        };
        let begun = Instant::now();
        let admitted = self.counts().of(scope).map_or(0, |count| count.admitted);
        let jobs = self.store.backlog_count(scope, max).await.map_err(|error| Problem::from_store(&error))?;
        let mut counts = self.counts();
        // What was admitted meanwhile may not be among the rows yet.
        let now_admitted = counts.of(scope).map_or(admitted, |count| count.admitted);
        let jobs = jobs + (now_admitted - admitted.min(now_admitted));
        counts.set(scope, Count { jobs, admitted: now_admitted, at: begun, took: begun.elapsed() });
        Ok(())
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_rests_for_a_multiple_of_its_time() {
        let at = Instant::now();
        let after = |ms| at + Duration::from_millis(ms);
        let count = |jobs, took_ms| Count { jobs, admitted: 0, at, took: Duration::from_millis(took_ms) };
        assert!(count(5, 1).usable(after(999), 1, 10) && !count(5, 1).usable(after(1_000), 1, 10));
        assert!(count(10, 1).usable(after(99), 1, 10) && !count(10, 1).usable(after(100), 1, 10));
        assert!(count(10, 500).usable(after(4_999), 1, 10) && !count(10, 500).usable(after(5_000), 1, 10));
    }
}
