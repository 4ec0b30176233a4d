//! How many jobs may wait: a bound that keeps the table, the queue wait and the promises honest.
//!
//! Counting rows for every submission would cost more than the submission. The count is read again when it is older than
//! `FRESH`, and whenever it says "full"; in between this replica adds what it admits itself. Several replicas together
//! may therefore exceed the bound by what they admit within that time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use domain::TenantId;
use store::Store;
use store::jobs::Scope;
use tokio::sync::Mutex;

use crate::problem::{Answer, Problem, ProblemKind};

/// Age up to which a count is believed.
const FRESH: Duration = Duration::from_secs(1);
/// Age up to which a count that says "full" is believed, so that a crowd of refused clients does not count in turns.
const FRESH_WHEN_FULL: Duration = Duration::from_millis(100);
/// What a refused client is told to wait, seconds: a few jobs' worth of a small fleet.
const RETRY_AFTER_S: u64 = 10;

/// The bound.
#[derive(Debug)]
pub struct Backlog {
    store: Store,
    all_max: u64,
    tenant_max: u64,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: Option<Count>,
    tenants: HashMap<TenantId, Count>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    jobs: u64,
    at: Instant,
}

/// Tenants whose counts are remembered.
const TENANTS_MAX: usize = 1_000;

impl Backlog {
    /// At most `all_max` waiting jobs in all and `tenant_max` of one tenant; 0 for the latter sets no limit.
    #[must_use]
    pub fn new(store: Store, all_max: u64, tenant_max: u64) -> Self {
        Self { store, all_max, tenant_max, counts: Mutex::default() }
    }

    /// Makes room for `cost` more jobs.
    ///
    /// # Errors
    /// 503 when the fleet's backlog is full, 429 when the tenant's is.
    pub(crate) async fn admit(&self, tenant_id: TenantId, cost: u64) -> Answer<()> {
        let mut counts = self.counts.lock().await;
        let all = self.current(counts.all, Scope::Fleet, cost, self.all_max).await?;
        counts.all = Some(all);
        if all.jobs + cost > self.all_max {
            let detail =
                format!("{} jobs wait already, and {} may; try again in {RETRY_AFTER_S} s", all.jobs, self.all_max);
            return Err(Problem::new(ProblemKind::BacklogFull, detail).retry_after(RETRY_AFTER_S));
        }
        if self.tenant_max > 0 {
            let scope = Scope::Tenant(tenant_id);
            let own = self.current(counts.tenants.get(&tenant_id).copied(), scope, cost, self.tenant_max).await?;
            if counts.tenants.len() >= TENANTS_MAX {
                counts.tenants.clear();
            }
            counts.tenants.insert(tenant_id, own);
            if own.jobs + cost > self.tenant_max {
                let detail =
                    format!("{} of your jobs wait already, and {} may; try again later", own.jobs, self.tenant_max);
                return Err(Problem::new(ProblemKind::RateLimited, detail).retry_after(RETRY_AFTER_S));
            }
            counts.tenants.entry(tenant_id).and_modify(|own| own.jobs += cost);
        }
        counts.all = Some(Count { jobs: all.jobs + cost, at: all.at });
        Ok(())
    }

    /// The count to decide by: the remembered one, or a fresh one where that is too old.
    async fn current(&self, known: Option<Count>, scope: Scope, cost: u64, max: u64) -> Answer<Count> {
        let now = Instant::now();
        if let Some(count) = known {
            let age = now.duration_since(count.at);
            let full = count.jobs + cost > max;
            if age < FRESH_WHEN_FULL || (!full && age < FRESH) {
                return Ok(count);
            }
        }
        let jobs = self.store.backlog_count(scope, max).await.map_err(|error| Problem::from_store(&error))?;
        Ok(Count { jobs, at: now })
    }
}
