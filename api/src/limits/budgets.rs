//! Budgets: a tenant that has used up a budget submits nothing more until its period ends.
//!
//! The database is asked for each tenant once per `FRESH`, so a submission rarely waits for it. Within that time, and for jobs that
//! were accepted before, a tenant may spend more than its budget.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use domain::TenantId;
use store::Store;
use store::ledger::SpentBudget;
use tokio::sync::Mutex;

use crate::problem::{Answer, Problem, ProblemKind};

/// Age up to which a decision is used without asking again.
const FRESH: Duration = Duration::from_secs(2);
/// Number of tenants whose decisions are kept in memory; beyond it all are forgotten.
const TENANTS_MAX: usize = 1_000;

/// What is known of tenants' budgets.
#[derive(Debug)]
pub struct Budgets {
    store: Store,
    known: Mutex<HashMap<TenantId, Known>>,
}

#[derive(Debug, Clone)]
struct Known {
    spent: Option<SpentBudget>,
    at: Instant,
}

impl Budgets {
    /// Budgets as the database has them.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, known: Mutex::default() }
    }

    /// Asks the database again for the next submission.
    pub async fn forget(&self) {
        self.known.lock().await.clear();
    }

    /// Admits a submission of a tenant.
    ///
    /// # Errors
    /// 402 if one of its budgets is used up and stops submissions.
    pub(crate) async fn admit(&self, tenant_id: TenantId) -> Answer<()> {
        let mut known = self.known.lock().await;
        let fresh = known.get(&tenant_id).filter(|known| known.at.elapsed() < FRESH).cloned();
        let spent = match fresh {
            Some(fresh) => fresh.spent,
            None => {
                let spent = self.store.spent_budget(tenant_id).await.map_err(|error| Problem::from_store(&error))?;
                if known.len() >= TENANTS_MAX {
                    known.clear();
                }
                known.insert(tenant_id, Known { spent: spent.clone(), at: Instant::now() });
                spent
            }
        };
        spent.map_or(Ok(()), |spent| Err(problem(&spent)))
    }
}

fn problem(spent: &SpentBudget) -> Problem {
    let SpentBudget { budget, used, renews_at } = spent;
    let unit = budget.unit.as_str().replace('_', " ");
    let detail = format!(
        "the budget of {} {unit} per {} is used up ({used:.2} {unit} used); ask an administrator to raise it, or submit again \
         after {}",
        budget.amount,
        budget.period,
        renews_at.format("%Y-%m-%d %H:%M UTC")
    );
    Problem::new(ProblemKind::BudgetSpent, detail)
}
