//! The state of the whole fleet as metrics: read from rows by the leader only, in a task of its own, so that a slow read
//! delays neither sweeps nor rounds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use store::StoreError;
use store::jobs::{BacklogDepth, Scope};
use store::ledger::{BudgetState, LedgerTotals};
use store::stats::{Counters, StatsGroup};
use telemetry::{BacklogLevel, BudgetLevels, FleetTotals, GroupTotals, LedgerLevels};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::state::Scheduler;
use crate::timing::pause;

/// Totals add up a row for each tenant, tier and complexity, so they are read less often than the backlog.
const TOTALS_EVERY: Duration = Duration::from_secs(5);
/// After each read comes a pause of at least this many times its duration, so that metrics never take more than a fifth
/// of one connection's time.
const REST: u32 = 4;

/// Reads until the leadership is over.
pub(crate) async fn run(scheduler: &Scheduler, over: &CancellationToken) {
    let every = Duration::from_millis(scheduler.settings.scheduler.sweep_ms.max(1));
    let mut levels = Levels::default();
    let mut wait = every;
    while pause(wait, over).await {
        let begun = Instant::now();
        levels.observe(scheduler).await;
        wait = every.max(begun.elapsed() * REST);
    }
}

/// What was read when.
#[derive(Debug, Default)]
struct Levels {
    totals_at: Option<Instant>,
}

impl Levels {
    /// Reads what is due. What cannot be read keeps its last value, and `fleet_dependency_up` says that it is old.
    async fn observe(&mut self, scheduler: &Scheduler) {
        let metrics = &scheduler.metrics;
        metrics.cost_budget_day_usd.set(scheduler.settings.cost.budget_day_usd);
        metrics.dependency("rabbitmq", scheduler.broker.is_connected());
        metrics.unreadable(scheduler.broker.unreadable());
        metrics.unreadable_rows(store::unreadable_rows());
        let read = self.rows(scheduler).await;
        metrics.dependency("postgres", read.is_ok());
        if let Err(error) = read {
            debug!(%error, "the fleet's levels cannot be read");
        }
        if let Ok(letters) = scheduler.broker.dead_letters().await {
            metrics.dead_letters.set(i64::from(letters));
        }
    }

    async fn rows(&mut self, scheduler: &Scheduler) -> Result<(), StoreError> {
        let depth = scheduler.store.backlog_depth().await?;
        scheduler.metrics.backlog(&depth.iter().map(level).collect::<Vec<_>>());
        if self.totals_at.is_none_or(|at| at.elapsed() >= TOTALS_EVERY) {
            scheduler.metrics.totals(&totals(&scheduler.store.stats_by_group(Scope::Fleet, None).await?));
            scheduler.metrics.ledger(&ledger(&scheduler.store.ledger_totals().await?));
            scheduler.metrics.budgets(budgets(&scheduler.store.budgets(Scope::Fleet).await?));
            self.totals_at = Some(Instant::now());
        }
        Ok(())
    }
}

fn level(depth: &BacklogDepth) -> BacklogLevel {
    BacklogLevel { status: depth.status, tier: depth.tier, jobs: depth.jobs, oldest_s: depth.oldest_s }
}

fn ledger(totals: &LedgerTotals) -> LedgerLevels {
    LedgerLevels {
        first_s: totals.first_gpu_seconds,
        repeated_s: totals.repeated_gpu_seconds,
        saved_steps_s: totals.saved.steps_s,
        saved_step_cache_s: totals.saved.step_cache_s,
        saved_embeddings_s: totals.saved.embeddings_s,
        saved_drafts_s: totals.saved.drafts_s,
        busy_s: totals.busy_s,
        idle_s: (totals.online_s - totals.busy_s).max(0.0),
        idle_usd: (totals.online_usd - totals.busy_usd).max(0.0),
    }
}

fn budgets(states: &[BudgetState]) -> BudgetLevels {
    let mut levels = BudgetLevels::default();
    for BudgetState { budget, used, .. } in states {
        match *used {
            used if used >= budget.amount => levels.spent += 1,
            used if used >= budget.amount * budget.warn_share => levels.warning += 1,
            _ => levels.ok += 1,
        }
    }
    levels
}

/// The models' groups added up: a model is no label, so that the number of series stays small.
fn totals(groups: &[StatsGroup]) -> FleetTotals {
    let mut added: BTreeMap<_, GroupTotals> = BTreeMap::new();
    let mut totals = FleetTotals::default();
    for StatsGroup { tier, complexity, counters, .. } in groups {
        let group = added.entry((*tier, *complexity)).or_default();
        (group.tier, group.complexity) = (*tier, *complexity);
        add(group, counters);
        totals.requeued += counters.requeued;
        totals.handed_back += counters.handed_back;
        totals.retried += counters.retried;
        totals.preempted += counters.preempted;
        totals.deadlines_met += counters.deadlines_met;
        totals.deadlines_missed += counters.deadlines_missed;
        totals.drafted += counters.drafted;
        totals.continued += counters.continued;
        totals.draft_gpu_seconds += counters.draft_gpu_seconds;
    }
    totals.groups = added.into_values().collect();
    totals
}

fn add(group: &mut GroupTotals, counters: &Counters) {
    group.completed += counters.completed;
    group.failed += counters.failed;
    group.cancelled += counters.cancelled;
    group.gpu_seconds += counters.gpu_seconds;
    group.cost_usd += counters.cost_usd;
    group.saved_s += counters.saved_s;
    group.saved_usd += counters.saved_usd;
}

#[cfg(test)]
mod tests {
    use domain::{Complexity, Tier};

    use super::*;

    #[test]
    fn models_are_added_up_and_tiers_kept_apart() {
        let group = |model: &str, tier, completed, cost_usd| StatsGroup {
            model_id: model.to_owned(),
            tier,
            complexity: tier.map(|_| Complexity::Simple),
            counters: Counters { completed, cost_usd, requeued: 1, ..Counters::default() },
        };
        let groups = [
            group("a", Some(Tier::Preview), 2, 0.5),
            group("b", Some(Tier::Preview), 3, 0.25),
            group("a", Some(Tier::Premium), 1, 4.0),
            group("a", None, 0, 0.0),
        ];
        let totals = totals(&groups);
        let of =
            |tier| totals.groups.iter().find(|group| group.tier == tier).map(|group| (group.completed, group.cost_usd));
        assert_eq!(of(Some(Tier::Preview)), Some((5, 0.75)));
        assert_eq!(of(Some(Tier::Premium)), Some((1, 4.0)));
        assert_eq!((totals.groups.len(), totals.requeued), (3, 4));
    }
}
