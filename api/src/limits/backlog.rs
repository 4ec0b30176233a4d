//! The backlog limit: how many jobs may be waiting. It bounds the table and keeps queue times and their estimates realistic.
//!
//! Counting rows for every submission would cost more than the submission itself. So the count is read again only when it is
//! older than `FRESH`, or older than `FRESH_WHEN_FULL` and at the limit. In between, this replica adds the jobs it admits
//! itself. Several replicas together may therefore exceed the limit by what they admit within that time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use domain::TenantId;
use store::Store;
use store::jobs::Scope;
use tokio::sync::Mutex;

use crate::problem::{Answer, Problem, ProblemKind};

/// Age up to which a count is used without reading it again.
const FRESH: Duration = Duration::from_secs(1);
/// The same for a count at the limit. It is shorter, so that freed room is used soon, but not zero, so that many rejected
/// clients do not each trigger a count.
const FRESH_WHEN_FULL: Duration = Duration::from_millis(100);
/// `Retry-After` of a rejected submission, in seconds: about the time in which a small fleet finishes a few jobs.
const RETRY_AFTER_S: u64 = 10;

/// The backlog limit and the counts it is checked against.
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

/// Number of tenants whose counts are kept in memory; beyond it all are forgotten and read again.
const TENANTS_MAX: usize = 1_000;

impl Backlog {
    /// At most `all_max` waiting jobs in total and `tenant_max` per tenant; a `tenant_max` of 0 means no limit per tenant.
    #[must_use]
    pub fn new(store: Store, all_max: u64, tenant_max: u64) -> Self {
        Self { store, all_max, tenant_max, counts: Mutex::default() }
    }

    /// Admits `cost` more jobs.
    ///
    /// # Errors
    /// 503 if the fleet's backlog is full, 429 if the tenant's is.
    pub(crate) async fn admit(&self, tenant_id: TenantId, cost: u64) -> Answer<()> {
        let mut counts = self.counts.lock().await;
        let all = self.current(counts.all, Scope::Fleet, cost, self.all_max).await?;
        counts.all = Some(all);
        if all.jobs + cost > self.all_max {
            let detail = format!(
                "{} jobs are already waiting (limit {}); try again in {RETRY_AFTER_S} s",
                all.jobs, self.all_max
            );
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
                let detail = format!(
                    "{} of your jobs are already waiting (limit {}); try again when some have finished",
                    own.jobs, self.tenant_max
                );
                return Err(Problem::new(ProblemKind::RateLimited, detail).retry_after(RETRY_AFTER_S));
            }
            counts.tenants.entry(tenant_id).and_modify(|own| own.jobs += cost);
        }
        counts.all = Some(Count { jobs: all.jobs + cost, at: all.at });
        Ok(())
    }

    /// The count to decide by: the known one, or a fresh one if the known one is too old.
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
