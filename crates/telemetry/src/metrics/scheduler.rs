//! What a scheduler process measures: its own work, and, while it leads, the state of the whole fleet.
//!
//! Levels and totals of the fleet are counted from rows, so they survive every process. Only the leader sets them: when it
//! stops leading, its levels go to zero and its totals disappear, and the next leader's stand in their place.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use domain::{Complexity, JobStatus, Plan, Tier};
use prometheus::{
    CounterVec, Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
};

use super::declare::{Declare, Declared, MetricInfo, SHORT_S, STEPS, raise, raise_amount};

/// Label of jobs that have no plan yet.
const UNPLANNED: &str = "unplanned";

/// Jobs in one state and tier.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BacklogLevel {
    /// Their state.
    pub status: JobStatus,
    /// Their tier; `None` until planned.
    pub tier: Option<Tier>,
    /// How many.
    pub jobs: u64,
    /// Age of the oldest, seconds.
    pub oldest_s: f64,
}

/// A pool's load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLevel<'a> {
    /// Its name.
    pub pool: &'a str,
    /// Live workers.
    pub workers: u32,
    /// Their slots.
    pub slots: u32,
    /// Slots that have a job.
    pub running: u32,
}

/// Totals of all time of one tier and complexity.
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
    /// Jobs that were stopped.
    pub cancelled: i64,
    /// Device time of completed jobs.
    pub gpu_seconds: f64,
    /// Its price.
    pub cost_usd: f64,
    /// Saved device time, net.
    pub saved_s: f64,
    /// Its price, net.
    pub saved_usd: f64,
}

/// Totals of all time of the fleet.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FleetTotals {
    /// By tier and complexity; each pair once.
    pub groups: Vec<GroupTotals>,
    /// Tries after a failure or a lost worker.
    pub requeued: i64,
    /// Given back by stopping workers.
    pub handed_back: i64,
    /// Asked for by the owner.
    pub retried: i64,
}

/// Metrics of one scheduler process.
#[derive(Debug)]
pub struct SchedulerMetrics {
    declared: Declared,
    leading: IntGauge,
    plans: IntCounterVec,
    steps_planned: HistogramVec,
    /// Jobs released to a pool.
    pub released: IntCounter,
    /// Releases told again because nobody claimed them.
    pub reannounced: IntCounter,
    /// Releases that RabbitMQ did not take.
    pub announce_failures: IntCounter,
    /// Leases that ran out.
    pub leases_expired: IntCounter,
    /// Messages that nobody could read.
    pub dead_letters: IntGauge,
    /// Seconds of one round of planning and dispatch.
    pub round_seconds: Histogram,
    /// Objects removed because no row knew them.
    pub orphans_removed: IntCounter,
    jobs: IntGaugeVec,
    backlog: IntGaugeVec,
    oldest_waiting_seconds: GaugeVec,
    slots: IntGaugeVec,
    workers: IntGaugeVec,
    /// Pools that have been shown.
    known_pools: Mutex<BTreeSet<String>>,
    /// Median relative error of estimates over recent runs, by model.
    pub estimate_error_ratio: GaugeVec,
    /// Steps taken off by learning, by model, tier and complexity.
    pub learned_steps_lower: IntGaugeVec,
    dependency_up: IntGaugeVec,
    /// Time of the last completed round, seconds since 1970.
    pub last_round_timestamp_seconds: Gauge,
    jobs_finished: IntCounterVec,
    jobs_requeued: IntCounterVec,
    gpu_seconds: CounterVec,
    cost_usd: CounterVec,
    saved_seconds: GaugeVec,
    saved_usd: GaugeVec,
    /// What a day may cost; 0 for no budget.
    pub cost_budget_day_usd: Gauge,
    /// Workers given up because they fell silent.
    pub workers_silent: IntCounter,
    unreadable: IntCounter,
    unreadable_rows: IntCounter,
}

impl Default for SchedulerMetrics {
    /// All at zero.
    fn default() -> Self {
        let new = Declare::new("scheduler");
        let metrics = Self {
            leading: new.int_gauge(
                "fleet_scheduler_leading",
                "1 while this scheduler leads; over the fleet the sum should be 1.",
            ),
            plans: new.counters("fleet_jobs_planned_total", "Jobs planned.", &["tier", "complexity", "reason"]),
            steps_planned: new.histograms("fleet_steps_planned", "Denoising steps that plans give.", STEPS, &["tier"]),
            released: new.counter("fleet_jobs_released_total", "Jobs released to a pool of workers."),
            reannounced: new
                .counter("fleet_jobs_reannounced_total", "Releases told again because nobody had claimed them."),
            announce_failures: new.counter(
                "fleet_announce_failures_total",
                "Releases that RabbitMQ did not take; workers find them by polling.",
            ),
            leases_expired: new
                .counter("fleet_leases_expired_total", "Leases that ran out: a worker died, hung or was cut off."),
            dead_letters: new
                .int_gauge("fleet_dead_letters", "Messages in the dead-letter queue: nobody could read them."),
            round_seconds: new.histogram(
                "fleet_scheduler_round_duration_seconds",
                "One round of planning and dispatch.",
                SHORT_S,
            ),
            orphans_removed: new.counter("fleet_orphans_removed_total", "Objects removed because no row knew them."),
            jobs: new.int_gauges("fleet_jobs", "Jobs that wait or run, by state.", &["state"]),
            backlog: new.int_gauges(
                "fleet_backlog_jobs",
                "Waiting jobs by tier; 'unplanned' has no tier yet.",
                &["tier"],
            ),
            oldest_waiting_seconds: new.gauges(
                "fleet_backlog_oldest_age_seconds",
                "Age of the oldest waiting job by tier.",
                &["tier"],
            ),
            slots: new.int_gauges("fleet_worker_slots", "Slots of live workers by pool.", &["pool", "state"]),
            workers: new.int_gauges("fleet_workers", "Live workers by pool.", &["pool"]),
            known_pools: Mutex::default(),
            estimate_error_ratio: new.gauges(
                "fleet_estimate_error_ratio",
                "Median of |estimate - run| / run over recent runs.",
                &["model"],
            ),
            learned_steps_lower: new.int_gauges(
                "fleet_learned_steps_lower",
                "Steps that learning takes off.",
                &["model", "tier", "complexity"],
            ),
            dependency_up: new.int_gauges(
                "fleet_dependency_up",
                "1 while a service that this process needs answers.",
                &["dependency"],
            ),
            last_round_timestamp_seconds: new
                .gauge("fleet_scheduler_last_round_timestamp_seconds", "When the last round ended."),
            jobs_finished: new.counters(
                "fleet_jobs_finished_total",
                "Jobs that ended, of all time; a job that was tried again by its owner ends again.",
                &["state", "tier", "complexity"],
            ),
            jobs_requeued: new.counters(
                "fleet_jobs_requeued_total",
                "Ways back into the queue: retry (after a failure or a lost worker), hand_back (stopping worker), owner.",
                &["cause"],
            ),
            gpu_seconds: new.amounts(
                "fleet_gpu_seconds_total",
                "Device time of completed jobs, all attempts.",
                &["tier", "complexity"],
            ),
            cost_usd: new.amounts("fleet_cost_usd_total", "Its price, US dollars.", &["tier", "complexity"]),
            saved_seconds: new.gauges(
                "fleet_saved_seconds",
                "Device time saved against fixed steps without caches, of all time, net: it may fall.",
                &["tier", "complexity"],
            ),
            saved_usd: new.gauges("fleet_saved_usd", "Its price, US dollars.", &["tier", "complexity"]),
            cost_budget_day_usd: new.gauge(
                "fleet_cost_budget_day_usd",
                "What the GPU time of a day may cost, US dollars (cost.budget_day_usd); 0 for no budget.",
            ),
            workers_silent: new.counter(
                "fleet_workers_silent_total",
                "Workers given up because they were not heard of and had not said goodbye.",
            ),
            unreadable: new.counter(
                "fleet_unreadable_messages_total",
                "Messages that this process could not read and moved to the dead-letter queue.",
            ),
            unreadable_rows: new.counter(
                "fleet_unreadable_rows_total",
                "Rows of the database that this process could not read and left out of a list; a row counts each time.",
            ),
            declared: new.finish(),
        };
        // Series that exist from the start: the first count is then an increase.
        for tier in Tier::ALL {
            metrics.steps_planned.with_label_values(&[tier.as_str()]);
        }
        metrics.no_levels();
        metrics
    }
}

impl SchedulerMetrics {
    /// A job got its plan.
    pub fn planned(&self, plan: &Plan) {
        let reason = serde_json::to_value(plan.steps_reason).unwrap_or_default();
        let labels = [plan.tier.as_str(), plan.complexity.as_str(), reason.as_str().unwrap_or_default()];
        self.plans.with_label_values(&labels).inc();
        self.steps_planned.with_label_values(&[plan.tier.as_str()]).observe(f64::from(plan.steps));
    }

    /// Whether this process leads.
    pub fn leads(&self, leads: bool) {
        self.leading.set(i64::from(leads));
        if !leads {
            self.no_levels();
            self.jobs_finished.reset();
            self.jobs_requeued.reset();
            self.gpu_seconds.reset();
            self.cost_usd.reset();
            self.saved_seconds.reset();
            self.saved_usd.reset();
        }
    }

    fn no_levels(&self) {
        self.backlog(&[]);
        self.pools(&[]);
        self.dead_letters.set(0);
    }

    /// What waits and runs; states and tiers that are not named have none.
    pub fn backlog(&self, levels: &[BacklogLevel]) {
        for status in [JobStatus::Queued, JobStatus::Scheduled, JobStatus::Running] {
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

    /// The pools there are; one that was there before and is not named has no workers any more.
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

    /// Totals counted from rows.
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
        let causes = [("retry", totals.requeued), ("hand_back", totals.handed_back), ("owner", totals.retried)];
        for (cause, jobs) in causes {
            raise(&self.jobs_requeued.with_label_values(&[cause]), count(jobs));
        }
    }

    /// Whether a service answers: `postgres` or `rabbitmq`.
    pub fn dependency(&self, name: &str, up: bool) {
        self.dependency_up.with_label_values(&[name]).set(i64::from(up));
    }

    /// Unreadable messages and rows so far.
    pub fn unreadable(&self, messages: u64, rows: u64) {
        raise(&self.unreadable, messages);
        raise(&self.unreadable_rows, rows);
    }

    /// As Prometheus reads it.
    #[must_use]
    pub fn render(&self) -> String {
        self.declared.render()
    }

    /// What there is.
    #[must_use]
    pub fn metrics(&self) -> &[MetricInfo] {
        self.declared.metrics()
    }
}

fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}
