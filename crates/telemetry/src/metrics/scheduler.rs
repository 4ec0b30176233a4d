//! The metrics of a scheduler process: its own work and, while it leads, the state of the whole fleet.
//!
//! Levels and totals of the fleet are counted from rows, so they survive restarts. Only the leader exports them: when it stops
//! leading, its levels become zero and its totals disappear, and the next leader exports them instead.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use domain::{Complexity, JobStatus, Plan, Tier};
use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
};

use super::declare::{SHORT_S, STEPS, metrics, raise, raise_amount};

/// Label of jobs that have no plan yet.
const UNPLANNED: &str = "unplanned";

/// The waiting or running jobs in one state and tier.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BacklogLevel {
    /// Their state.
    pub status: JobStatus,
    /// Their tier; `None` until planned.
    pub tier: Option<Tier>,
    /// Number of jobs.
    pub jobs: u64,
    /// Age of the oldest job, in seconds.
    pub oldest_s: f64,
}

/// A pool's load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLevel<'a> {
    /// Its name.
    pub pool: &'a str,
    /// Number of live workers.
    pub workers: u32,
    /// Number of their slots.
    pub slots: u32,
    /// Number of slots that have a job.
    pub running: u32,
}

/// Totals of one tier and complexity since the fleet was set up.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct GroupTotals {
    /// `None`: ended before it was planned.
    pub tier: Option<Tier>,
    /// `None`: ended before it was planned.
    pub complexity: Option<Complexity>,
    /// Jobs with a video.
    pub completed: i64,
    /// Jobs that failed.
    pub failed: i64,
    /// Jobs that were cancelled.
    pub cancelled: i64,
    /// Device time of completed jobs, in seconds.
    pub gpu_seconds: f64,
    /// Its cost, in US dollars.
    pub cost_usd: f64,
    /// Net saved device time, in seconds; may be negative.
    pub saved_s: f64,
    /// Its value, in US dollars; may be negative.
    pub saved_usd: f64,
}

/// Totals of the fleet since it was set up.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FleetTotals {
    /// Totals by tier and complexity; each pair occurs once.
    pub groups: Vec<GroupTotals>,
    /// Jobs queued again after a failure or a lost worker.
    pub requeued: i64,
    /// Jobs handed back by workers that were stopping.
    pub handed_back: i64,
    /// Jobs retried by their owner.
    pub retried: i64,
    /// Runs that were preempted for a job with a deadline.
    pub preempted: i64,
    /// Videos finished by their deadline.
    pub deadlines_met: i64,
    /// Videos finished after their deadline.
    pub deadlines_missed: i64,
    /// Runs that paused after their first steps.
    pub drafted: i64,
    /// Drafts that were continued.
    pub continued: i64,
    /// Device time of the runs that paused, in seconds.
    pub draft_gpu_seconds: f64,
}

/// Totals of the cost ledger since it began.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LedgerLevels {
    /// Device time of runs that repeat nothing, in seconds.
    pub first_s: f64,
    /// Device time of runs after a fault of the same job, in seconds.
    pub repeated_s: f64,
    /// Saved by fewer steps than the model's default, in seconds; may be negative, as the next two.
    pub saved_steps_s: f64,
    /// Saved by the step cache, in seconds.
    pub saved_step_cache_s: f64,
    /// Saved by cached embeddings, in seconds.
    pub saved_embeddings_s: f64,
    /// Saved by drafts that nobody continued, in seconds.
    pub saved_drafts_s: f64,
    /// Time that workers ran jobs, in seconds.
    pub busy_s: f64,
    /// Time that workers had no job, in seconds.
    pub idle_s: f64,
    /// Price of that time, in US dollars.
    pub idle_usd: f64,
}

/// Numbers of budgets by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BudgetLevels {
    /// Below the share at which they warn.
    pub ok: u64,
    /// Above that share.
    pub warning: u64,
    /// Used up.
    pub spent: u64,
}

metrics! {
    /// Metrics of one scheduler process.
    pub struct SchedulerMetrics for "scheduler" {
        /// 1 while this scheduler is the leader. The sum over all schedulers should be 1.
        leading: IntGauge = "fleet_scheduler_leading";
        /// Planned jobs.
        plans: IntCounterVec = "fleet_jobs_planned_total", labels &["tier", "complexity", "reason"];
        /// Denoising steps that were planned.
        steps_planned: HistogramVec = "fleet_steps_planned", labels &["tier"], buckets STEPS;
        /// Jobs released to a worker pool.
        pub released: IntCounter = "fleet_jobs_released_total";
        /// Releases announced again because no worker had claimed them and their messages were missing.
        pub reannounced: IntCounter = "fleet_jobs_reannounced_total";
        /// Releases that could not be published to RabbitMQ. Workers find them by polling.
        pub announce_failures: IntCounter = "fleet_announce_failures_total";
        /// Expired leases: the worker crashed, hung or lost its connection.
        pub leases_expired: IntCounter = "fleet_leases_expired_total";
        /// Messages in the dead-letter queue, which no process could parse.
        pub dead_letters: IntGauge = "fleet_dead_letters";
        /// Duration of a planning and dispatch round, in seconds.
        pub round_seconds: Histogram = "fleet_scheduler_round_duration_seconds", buckets SHORT_S;
        /// Objects deleted from the object store because no database row refers to them.
        pub orphans_removed: IntCounter = "fleet_orphans_removed_total";
        /// Jobs that are waiting, running or drafted, by state.
        jobs: IntGaugeVec = "fleet_jobs", labels &["state"];
        /// Waiting jobs by tier; 'unplanned' jobs have no tier yet.
        backlog: IntGaugeVec = "fleet_backlog_jobs", labels &["tier"];
        /// Age of the oldest waiting job, in seconds, by tier.
        oldest_waiting_seconds: GaugeVec = "fleet_backlog_oldest_age_seconds", labels &["tier"];
        /// Slots of live workers, by pool and state: used or free.
        slots: IntGaugeVec = "fleet_worker_slots", labels &["pool", "state"];
        /// Live workers, by pool.
        workers: IntGaugeVec = "fleet_workers", labels &["pool"];
        /// Median of |estimate - run| / run over recent runs, by model.
        pub estimate_error_ratio: GaugeVec = "fleet_estimate_error_ratio", labels &["model"];
        /// Denoising steps that learning has removed from plans.
        pub learned_steps_lower: IntGaugeVec = "fleet_learned_steps_lower", labels &["model", "tier", "complexity"];
        /// End of the last completed round, as a Unix timestamp in seconds.
        pub last_round_timestamp_seconds: Gauge = "fleet_scheduler_last_round_timestamp_seconds";
        /// Finished jobs since the fleet was set up. A job that its owner retries counts again.
        jobs_finished: IntCounterVec = "fleet_jobs_finished_total", labels &["state", "tier", "complexity"];
        /// Jobs put back into the queue, by cause: retry (a failure or a lost worker), hand_back (a worker that shuts
        /// down), preempt (its slot was needed for a deadline) or owner (a retry requested by the owner).
        jobs_requeued: IntCounterVec = "fleet_jobs_requeued_total", labels &["cause"];
        /// Videos with a deadline since the fleet was set up, by outcome: met or missed.
        deadlines: IntCounterVec = "fleet_deadlines_total", labels &["outcome"];
        /// Running jobs that this scheduler asked for their slot, to save a deadline.
        pub preemptions: IntCounter = "fleet_preemptions_total";
        /// Runs that paused after their first steps, since the fleet was set up.
        drafts: IntCounter = "fleet_drafts_total";
        /// Drafts that were continued to their end.
        drafts_continued: IntCounter = "fleet_drafts_continued_total";
        /// Device time of drafts in seconds, whether or not they were continued.
        draft_gpu_seconds: Counter = "fleet_draft_gpu_seconds_total";
        /// Device time of completed jobs in seconds, including all their attempts.
        gpu_seconds: CounterVec = "fleet_gpu_seconds_total", labels &["tier", "complexity"];
        /// Cost of that device time, in US dollars.
        cost_usd: CounterVec = "fleet_cost_usd_total", labels &["tier", "complexity"];
        /// Net device time saved since the fleet was set up, in seconds, compared with the model's default steps and no
        /// caches. It can decrease.
        saved_seconds: GaugeVec = "fleet_saved_seconds", labels &["tier", "complexity"];
        /// Value of that saved device time, in US dollars. It can decrease.
        saved_usd: GaugeVec = "fleet_saved_usd", labels &["tier", "complexity"];
        /// Device time of all runs that have ended since the ledger began, in seconds: first, or repeated after a fault of the same
        /// job.
        run_seconds: CounterVec = "fleet_run_gpu_seconds_total", labels &["kind"];
        /// Device time saved since the ledger began, in seconds, by optimisation. It can decrease.
        optimization_saved_seconds: GaugeVec = "fleet_optimization_saved_seconds", labels &["optimization"];
        /// Time that workers were online since the ledger began, in seconds: busy with jobs or idle. It can decrease a little
        /// when a long run ends.
        worker_seconds: GaugeVec = "fleet_worker_seconds", labels &["state"];
        /// Price of the workers' idle time since the ledger began, in US dollars.
        idle_usd: Gauge = "fleet_worker_idle_usd";
        /// Budgets of tenants by state: ok, warning or spent.
        budgets: IntGaugeVec = "fleet_budgets", labels &["state"];
        /// Daily budget for GPU time in US dollars (cost.budget_day_usd); 0 if there is none.
        pub cost_budget_day_usd: Gauge = "fleet_cost_budget_day_usd";
        /// Workers removed because their heartbeats stopped without a sign-off.
        pub workers_silent: IntCounter = "fleet_workers_silent_total";
        /// Webhooks that receivers accepted.
        pub webhooks_delivered: IntCounter = "fleet_webhooks_delivered_total";
        /// Attempts to send a webhook that failed. They are repeated.
        pub webhook_failures: IntCounter = "fleet_webhook_failures_total";
    }
    state {
        /// Pools that have been exported, so that a pool that disappears is exported as empty instead of keeping its last value.
        known_pools: Mutex<BTreeSet<String>>;
    }
}

impl Default for SchedulerMetrics {
    /// All metrics at zero.
    fn default() -> Self {
        let metrics = Self::declare();
        // These series exist from the start, so that their first count is an increase.
        for tier in Tier::ALL {
            metrics.steps_planned.with_label_values(&[tier.as_str()]);
        }
        metrics.no_levels();
        metrics
    }
}

impl SchedulerMetrics {
    /// Records that a job was planned.
    pub fn planned(&self, plan: &Plan) {
        let reason = serde_json::to_value(plan.steps_reason).unwrap_or_default();
        let labels = [plan.tier.as_str(), plan.complexity.as_str(), reason.as_str().unwrap_or_default()];
        self.plans.with_label_values(&labels).inc();
        self.steps_planned.with_label_values(&[plan.tier.as_str()]).observe(f64::from(plan.steps));
    }

    /// Sets whether this process leads.
    pub fn leads(&self, leads: bool) {
        self.leading.set(i64::from(leads));
        if !leads {
            self.no_levels();
            self.jobs_finished.reset();
            self.jobs_requeued.reset();
            self.deadlines.reset();
            self.drafts.reset();
            self.drafts_continued.reset();
            self.draft_gpu_seconds.reset();
            self.gpu_seconds.reset();
            self.cost_usd.reset();
            self.saved_seconds.reset();
            self.saved_usd.reset();
            self.run_seconds.reset();
            self.optimization_saved_seconds.reset();
            self.worker_seconds.reset();
            self.idle_usd.set(0.0);
            self.budgets.reset();
        }
    }

    /// Sets the totals of the ledger.
    pub fn ledger(&self, levels: &LedgerLevels) {
        for (kind, seconds) in [("first", levels.first_s), ("repeated", levels.repeated_s)] {
            raise_amount(&self.run_seconds.with_label_values(&[kind]), seconds);
        }
        let saved = [
            ("adaptive_steps", levels.saved_steps_s),
            ("step_cache", levels.saved_step_cache_s),
            ("embedding_cache", levels.saved_embeddings_s),
            ("drafts", levels.saved_drafts_s),
        ];
        for (name, seconds) in saved {
            self.optimization_saved_seconds.with_label_values(&[name]).set(seconds);
        }
        for (state, seconds) in [("busy", levels.busy_s), ("idle", levels.idle_s)] {
            self.worker_seconds.with_label_values(&[state]).set(seconds);
        }
        self.idle_usd.set(levels.idle_usd);
    }

    /// Sets the numbers of budgets.
    pub fn budgets(&self, levels: BudgetLevels) {
        for (state, budgets) in [("ok", levels.ok), ("warning", levels.warning), ("spent", levels.spent)] {
            self.budgets.with_label_values(&[state]).set(int(budgets));
        }
    }

    fn no_levels(&self) {
        self.backlog(&[]);
        self.pools(&[]);
        self.dead_letters.set(0);
    }

    /// Sets the numbers of waiting and running jobs. States and tiers that are not in `levels` become 0.
    pub fn backlog(&self, levels: &[BacklogLevel]) {
        for status in [JobStatus::Queued, JobStatus::Scheduled, JobStatus::Running, JobStatus::Drafted] {
            let jobs: u64 = levels.iter().filter(|level| level.status == status).map(|level| level.jobs).sum();
            self.jobs.with_label_values(&[status.as_str()]).set(int(jobs));
        }
        for tier in Tier::ALL.iter().copied().map(Some).chain([None]) {
            let waiting = levels.iter().filter(|level| level.status == JobStatus::Queued && level.tier == tier);
            let (jobs, oldest_s) =
                waiting.fold((0, 0.0_f64), |(jobs, oldest_s), level| (jobs + level.jobs, oldest_s.max(level.oldest_s)));
            let name = tier.map_or(UNPLANNED, Tier::as_str);
            self.backlog.with_label_values(&[name]).set(int(jobs));
            self.oldest_waiting_seconds.with_label_values(&[name]).set(oldest_s);
        }
    }

    /// Sets the load of all pools. A pool that was set before and is not in `pools` becomes empty.
    pub fn pools(&self, pools: &[PoolLevel<'_>]) {
        let mut known = self.known_pools.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in known.iter().filter(|name| pools.iter().all(|level| level.pool != name.as_str())) {
            self.pool(PoolLevel { pool: gone, workers: 0, slots: 0, running: 0 });
        }
        for level in pools {
            self.pool(*level);
            known.insert(level.pool.to_owned());
        }
    }

    fn pool(&self, level: PoolLevel<'_>) {
        self.workers.with_label_values(&[level.pool]).set(i64::from(level.workers));
        self.slots.with_label_values(&[level.pool, "used"]).set(i64::from(level.running.min(level.slots)));
        let free = level.slots.saturating_sub(level.running);
        self.slots.with_label_values(&[level.pool, "free"]).set(i64::from(free));
    }

    /// Sets the totals that are counted from rows.
    pub fn totals(&self, totals: &FleetTotals) {
        for group in &totals.groups {
            let tier = group.tier.map_or(UNPLANNED, Tier::as_str);
            let complexity = group.complexity.map_or(UNPLANNED, Complexity::as_str);
            let ends = [
                (JobStatus::Completed, group.completed),
                (JobStatus::Failed, group.failed),
                (JobStatus::Cancelled, group.cancelled),
            ];
            for (status, jobs) in ends {
                raise(&self.jobs_finished.with_label_values(&[status.as_str(), tier, complexity]), count(jobs));
            }
            let labels = [tier, complexity];
            raise_amount(&self.gpu_seconds.with_label_values(&labels), group.gpu_seconds);
            raise_amount(&self.cost_usd.with_label_values(&labels), group.cost_usd);
            self.saved_seconds.with_label_values(&labels).set(group.saved_s);
            self.saved_usd.with_label_values(&labels).set(group.saved_usd);
        }
        raise(&self.drafts, count(totals.drafted));
        raise(&self.drafts_continued, count(totals.continued));
        raise_amount(&self.draft_gpu_seconds, totals.draft_gpu_seconds);
        let causes = [
            ("retry", totals.requeued),
            ("hand_back", totals.handed_back),
            ("preempt", totals.preempted),
            ("owner", totals.retried),
        ];
        for (outcome, jobs) in [("met", totals.deadlines_met), ("missed", totals.deadlines_missed)] {
            raise(&self.deadlines.with_label_values(&[outcome]), count(jobs));
        }
        for (cause, jobs) in causes {
            raise(&self.jobs_requeued.with_label_values(&[cause]), count(jobs));
        }
    }
}

fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}
