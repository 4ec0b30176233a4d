//! What a scheduler process measures: its own work, and, while it leads, the state of the whole fleet.

use domain::Plan;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
};

use super::declare::{Declare, LONG_S, SHORT_S, STEPS, render};

/// Metrics of one scheduler process.
pub struct SchedulerMetrics {
    registry: Registry,
    /// 1 while this process leads.
    pub leading: IntGauge,
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
    /// Messages that nobody could read, by kind.
    pub dead_letters: IntGauge,
    /// Seconds of one round of planning and dispatch.
    pub round_seconds: Histogram,
    /// Objects removed because no row knew them.
    pub orphans_removed: IntCounter,
    /// Jobs of the fleet by state.
    pub jobs: IntGaugeVec,
    /// Waiting jobs by tier.
    pub backlog: IntGaugeVec,
    /// Age of the oldest waiting job by tier, seconds.
    pub oldest_waiting_seconds: GaugeVec,
    /// Slots by pool and whether they are used.
    pub slots: IntGaugeVec,
    /// Workers by pool.
    pub workers: IntGaugeVec,
    /// Median relative error of estimates over recent runs, by model.
    pub estimate_error_ratio: GaugeVec,
    /// Steps taken off by learning, by model, tier and complexity.
    pub learned_steps_lower: IntGaugeVec,
    /// 1 while a dependency answers.
    pub dependency_up: IntGaugeVec,
    /// Time of the last completed round, seconds since 1970.
    pub last_round_timestamp_seconds: Gauge,
    /// Waiting time from submission to first claim, seconds, of jobs seen finishing.
    pub waited_seconds: HistogramVec,
}

impl std::fmt::Debug for SchedulerMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SchedulerMetrics").finish_non_exhaustive()
    }
}

impl Default for SchedulerMetrics {
    fn default() -> Self {
        Self::new()
    }
}

impl SchedulerMetrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Self {
        let new = Declare::new("scheduler");
        Self {
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
            waited_seconds: new.histograms(
                "fleet_job_wait_duration_seconds",
                "From submission to the first claim.",
                LONG_S,
                &["tier"],
            ),
            registry: new.finish(),
        }
    }

    /// A job got its plan.
    pub fn planned(&self, plan: &Plan) {
        let reason = serde_json::to_value(plan.steps_reason).unwrap_or_default();
        let labels = [plan.tier.as_str(), plan.complexity.as_str(), reason.as_str().unwrap_or_default()];
        self.plans.with_label_values(&labels).inc();
        self.steps_planned.with_label_values(&[plan.tier.as_str()]).observe(f64::from(plan.steps));
    }

    /// A pool's load.
    pub fn pool(&self, pool: &str, workers: u32, slots: u32, running: u32) {
        self.workers.with_label_values(&[pool]).set(i64::from(workers));
        self.slots.with_label_values(&[pool, "used"]).set(i64::from(running.min(slots)));
        self.slots.with_label_values(&[pool, "free"]).set(i64::from(slots.saturating_sub(running)));
    }

    /// As Prometheus reads it.
    #[must_use]
    pub fn render(&self) -> String {
        render(&self.registry)
    }
}
