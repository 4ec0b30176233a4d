//! What a worker process measures.

use domain::{JobStatus, Plan, RunRecord};
use prometheus::{
    Counter, CounterVec, Gauge, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
};

use super::declare::{Declare, LONG_S, STEPS, render};

/// Metrics of one worker process.
pub struct WorkerMetrics {
    registry: Registry,
    runs: IntCounterVec,
    run_seconds: HistogramVec,
    stage_seconds: HistogramVec,
    steps: HistogramVec,
    steps_computed: IntCounterVec,
    steps_skipped: IntCounterVec,
    cache: IntCounterVec,
    /// Encoding seconds that cache hits saved, by this worker's own misses.
    pub cache_saved_seconds: Counter,
    video_seconds: Counter,
    gpu_seconds: CounterVec,
    cost_usd: CounterVec,
    saved_seconds: CounterVec,
    saved_usd: CounterVec,
    /// Runs that failed, by code.
    pub failures: IntCounterVec,
    /// Jobs given back on a stop.
    pub handed_back: IntCounter,
    /// Leases lost while working.
    pub leases_lost: IntCounter,
    /// Writes that the row refused because the lease was another's.
    pub stale_writes: IntCounter,
    /// Claims that found the job taken, ended or released again.
    pub stale_claims: IntCounter,
    /// Checkpoints stored.
    pub checkpoints: IntCounter,
    /// Runs that began from a checkpoint.
    pub resumes: IntCounter,
    /// Slots by use.
    pub slots: IntGaugeVec,
    /// Memory of the device, bytes, by use.
    pub device_memory_bytes: IntGaugeVec,
    /// Share of the time in which the GPU computed, 0 to 1.
    pub gpu_utilisation: Gauge,
    /// What attention reached at the start, FLOP a second; 0 where it was not measured.
    pub attention_flops: Gauge,
    /// Time of the last check that the model passed, seconds since 1970.
    pub last_progress_timestamp_seconds: Gauge,
    /// 1 while the consumer is verified to hear of work.
    pub consuming: IntGauge,
    /// 1 while a dependency answers.
    pub dependency_up: IntGaugeVec,
}

impl std::fmt::Debug for WorkerMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerMetrics").finish_non_exhaustive()
    }
}

impl Default for WorkerMetrics {
    fn default() -> Self {
        Self::new()
    }
}

impl WorkerMetrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Self {
        let new = Declare::new("worker");
        Self {
            runs: new.counters("fleet_runs_total", "Runs by how they ended.", &["outcome", "tier"]),
            run_seconds: new.histograms("fleet_run_duration_seconds", "A whole run.", LONG_S, &["tier"]),
            stage_seconds: new.histograms("fleet_stage_duration_seconds", "One stage of a run.", LONG_S, &["stage"]),
            steps: new.histograms(
                "fleet_steps_used",
                "Denoising steps of finished runs; sum over count is the average.",
                STEPS,
                &["tier", "complexity"],
            ),
            steps_computed: new.counters(
                "fleet_steps_computed_total",
                "Steps that went through the transformer.",
                &["tier"],
            ),
            steps_skipped: new.counters("fleet_steps_skipped_total", "Steps that the step cache answered.", &["tier"]),
            cache: new.counters("fleet_embedding_cache_total", "Embedding look-ups of finished runs.", &["result"]),
            cache_saved_seconds: new.amount(
                "fleet_embedding_cache_saved_seconds_total",
                "Encoding time that cache hits saved, by this worker's own misses.",
            ),
            video_seconds: new.amount("fleet_video_seconds_total", "Playback made."),
            gpu_seconds: new.amounts("fleet_gpu_seconds_total", "Device time of finished runs.", &["tier"]),
            cost_usd: new.amounts("fleet_cost_usd_total", "Its price.", &["tier"]),
            saved_seconds: new.amounts(
                "fleet_saved_seconds_total",
                "Device time saved against the fixed baseline; negative runs are not counted here.",
                &["tier"],
            ),
            saved_usd: new.amounts("fleet_saved_usd_total", "Its price.", &["tier"]),
            failures: new.counters("fleet_run_failures_total", "Runs that failed, by code.", &["code"]),
            handed_back: new.counter("fleet_jobs_handed_back_total", "Jobs given back because the worker stops."),
            leases_lost: new.counter("fleet_leases_lost_total", "Leases lost while working."),
            stale_writes: new
                .counter("fleet_stale_writes_refused_total", "Writes refused because the lease was another's."),
            stale_claims: new.counter(
                "fleet_stale_claims_total",
                "Messages that spoke of a job which was no longer there to claim.",
            ),
            checkpoints: new.counter("fleet_checkpoints_total", "Checkpoints stored."),
            resumes: new.counter("fleet_resumes_total", "Runs that began from a checkpoint."),
            slots: new.int_gauges("fleet_slots", "Slots of this worker.", &["state"]),
            device_memory_bytes: new.int_gauges("fleet_device_memory_bytes", "Memory of the device.", &["state"]),
            gpu_utilisation: new
                .gauge("fleet_gpu_utilisation_ratio", "Share of the time in which the GPU computed; 0 on a CPU."),
            attention_flops: new.gauge(
                "fleet_attention_flops_per_second",
                "What attention reached when the worker started; 0 where it was not measured.",
            ),
            last_progress_timestamp_seconds: new.gauge(
                "fleet_worker_last_progress_timestamp_seconds",
                "Last sign of life of the model while it works, or of the loop while it waits.",
            ),
            consuming: new.int_gauge("fleet_worker_consuming", "1 while the worker can hear of work."),
            dependency_up: new.int_gauges(
                "fleet_dependency_up",
                "1 while a service that this process needs answers.",
                &["dependency"],
            ),
            registry: new.finish(),
        }
    }

    /// A run ended in `status` with a record.
    pub fn finished(&self, status: JobStatus, plan: &Plan, record: &RunRecord, video_s: f64) {
        let tier = plan.tier.as_str();
        self.runs.with_label_values(&[status.as_str(), tier]).inc();
        if status != JobStatus::Completed {
            return;
        }
        self.run_seconds.with_label_values(&[tier]).observe(record.stages.total_s());
        let stages = &record.stages;
        let seconds = [
            ("encode", stages.encode_s),
            ("denoise", stages.denoise_s),
            ("decode", stages.decode_s),
            ("deliver", stages.deliver_s),
        ];
        for (stage, seconds) in seconds {
            self.stage_seconds.with_label_values(&[stage]).observe(seconds);
        }
        self.steps.with_label_values(&[tier, plan.complexity.as_str()]).observe(f64::from(plan.steps));
        self.steps_computed.with_label_values(&[tier]).inc_by(u64::from(record.steps_computed));
        self.steps_skipped.with_label_values(&[tier]).inc_by(u64::from(record.steps_skipped));
        self.cache.with_label_values(&[record.cache_match.as_str()]).inc();
        self.video_seconds.inc_by(video_s);
        let amounts = [
            (&self.gpu_seconds, record.gpu_seconds),
            (&self.cost_usd, record.cost_usd),
            (&self.saved_seconds, record.saved_s),
            (&self.saved_usd, record.saved_usd),
        ];
        for (counter, amount) in amounts {
            // Counters only grow; a run that cost more than the baseline shows in the job and in the hourly statistics.
            counter.with_label_values(&[tier]).inc_by(amount.max(0.0));
        }
    }

    /// A run ended without a record (failed, handed back, lost).
    pub fn unfinished(&self, outcome: &str, plan: &Plan) {
        self.runs.with_label_values(&[outcome, plan.tier.as_str()]).inc();
    }

    /// Slots in use of all.
    pub fn slots(&self, used: u32, all: u32) {
        self.slots.with_label_values(&["used"]).set(i64::from(used));
        self.slots.with_label_values(&["free"]).set(i64::from(all.saturating_sub(used)));
    }

    /// As Prometheus reads it.
    #[must_use]
    pub fn render(&self) -> String {
        render(&self.registry)
    }
}
