//! What a worker process measures.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use domain::{CacheMatch, Clock, Complexity, JobStatus, Plan, RunRecord, SystemClock, Tier};
use prometheus::{Counter, Gauge, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::declare::{Declare, Declared, LONG_S, MetricInfo, STEPS, raise};

/// How a run may end.
const OUTCOMES: &[&str] = &["completed", "failed", "cancelled", "handed_back", "lease_lost"];
const ATTENTION_BACKENDS: &[&str] = &["cudnn", "flash", "efficient", "math"];
const STAGES: &[&str] = &["encode", "denoise", "decode", "deliver"];

/// Metrics of one worker process.
#[derive(Debug)]
pub struct WorkerMetrics {
    declared: Declared,
    runs: IntCounterVec,
    run_seconds: HistogramVec,
    stage_seconds: HistogramVec,
    steps: HistogramVec,
    steps_computed: IntCounterVec,
    steps_skipped: IntCounterVec,
    waited_seconds: HistogramVec,
    cache_lookups: IntCounterVec,
    cache_saved_seconds: Counter,
    cache_errors: IntCounter,
    /// Seconds and number of this worker's own encodings, for what a hit saves.
    encoded: Mutex<(f64, f64)>,
    video_seconds: Counter,
    busy_seconds: Counter,
    /// Since when a slot has been used and not been counted.
    busy_since: Mutex<Option<Instant>>,
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
    slots: IntGaugeVec,
    device_memory_bytes: IntGaugeVec,
    /// Share of the time in which the GPU computed, 0 to 1.
    pub gpu_utilisation: Gauge,
    /// What attention reached at the start, FLOP a second; 0 where it was not measured.
    pub attention_flops: Gauge,
    attention_backend: IntGaugeVec,
    /// From the start of the process until it could take a job, seconds.
    pub ready_seconds: Gauge,
    last_progress_timestamp_seconds: Gauge,
    /// 1 while the consumer is verified to hear of work.
    pub consuming: IntGauge,
    dependency_up: IntGaugeVec,
    unreadable: IntCounter,
}

impl Default for WorkerMetrics {
    /// All at zero.
    fn default() -> Self {
        let new = Declare::new("worker");
        let metrics = Self {
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
            waited_seconds: new.histograms(
                "fleet_job_wait_duration_seconds",
                "From submission to the first claim.",
                LONG_S,
                &["tier"],
            ),
            cache_lookups: new.counters(
                "fleet_embedding_cache_lookups_total",
                "Look-ups of prompts by result (identical, similar, miss, off) and by the place the embeddings came from.",
                &["result", "place"],
            ),
            cache_saved_seconds: new.amount(
                "fleet_embedding_cache_saved_seconds_total",
                "Encoding time that hits saved: the mean of this worker's own encodings, less the look-up.",
            ),
            cache_errors: new.counter(
                "fleet_embedding_cache_errors_total",
                "Calls of Redis that failed, and values that were damaged or foreign; each is a miss, never a failed job.",
            ),
            encoded: Mutex::default(),
            video_seconds: new.amount("fleet_video_seconds_total", "Playback made."),
            busy_seconds: new.amount("fleet_worker_busy_seconds_total", "Time in which this worker had a job."),
            busy_since: Mutex::default(),
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
            device_memory_bytes: new.int_gauges(
                "fleet_device_memory_bytes",
                "Memory of the GPU; on a CPU what this process uses, of what it may use.",
                &["state"],
            ),
            gpu_utilisation: new
                .gauge("fleet_gpu_utilisation_ratio", "Share of the time in which the GPU computed; 0 on a CPU."),
            attention_flops: new.gauge(
                "fleet_attention_flops_per_second",
                "What attention reached when the worker started; 0 where it was not measured.",
            ),
            attention_backend: new.int_gauges(
                "fleet_attention_backend",
                "1 for the attention kernel in use, 0 for the others; all are 0 on a CPU.",
                &["backend"],
            ),
            ready_seconds: new.gauge(
                "fleet_worker_ready_seconds",
                "From the start of the process until it could take a job: loading, hashing and trying the model.",
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
            unreadable: new.counter(
                "fleet_unreadable_messages_total",
                "Messages that this process could not read and moved to the dead-letter queue.",
            ),
            declared: new.finish(),
        };
        metrics.begin_series();
        metrics
    }
}

impl WorkerMetrics {
    /// Series that exist from the start: the first count is then an increase.
    fn begin_series(&self) {
        for tier in Tier::ALL.iter().map(|tier| tier.as_str()) {
            for outcome in OUTCOMES {
                self.runs.with_label_values(&[*outcome, tier]);
            }
            self.run_seconds.with_label_values(&[tier]);
            self.waited_seconds.with_label_values(&[tier]);
            self.steps_computed.with_label_values(&[tier]);
            self.steps_skipped.with_label_values(&[tier]);
            for complexity in Complexity::ALL {
                self.steps.with_label_values(&[tier, complexity.as_str()]);
            }
        }
        for backend in ATTENTION_BACKENDS {
            self.attention_backend.with_label_values(&[backend]);
        }
        for stage in STAGES {
            self.stage_seconds.with_label_values(&[stage]);
        }
        for place in ["memory", "redis", "awaited"] {
            self.cache_lookups.with_label_values(&[CacheMatch::Identical.as_str(), place]);
        }
        self.cache_lookups.with_label_values(&[CacheMatch::Miss.as_str(), "encoder"]);
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
        self.video_seconds.inc_by(video_s);
    }

    /// A run ended without a record (failed, handed back, lost).
    pub fn unfinished(&self, outcome: &str, plan: &Plan) {
        self.runs.with_label_values(&[outcome, plan.tier.as_str()]).inc();
    }

    /// A job was claimed for the first time, `seconds` after its submission.
    pub fn waited(&self, tier: Tier, seconds: f64) {
        self.waited_seconds.with_label_values(&[tier.as_str()]).observe(seconds.max(0.0));
    }

    /// A prompt's embeddings were had after `seconds`, from `place`: `memory`, `redis`, `awaited` or `encoder`.
    pub fn looked_up(&self, result: CacheMatch, place: &str, seconds: f64) {
        self.cache_lookups.with_label_values(&[result.as_str(), place]).inc();
        let mut encoded = locked(&self.encoded);
        if !result.is_hit() {
            encoded.0 += seconds;
            encoded.1 += 1.0;
        } else if encoded.1 > 0.0 {
            self.cache_saved_seconds.inc_by((encoded.0 / encoded.1 - seconds).max(0.0));
        }
    }

    /// Errors of the cache so far.
    pub fn cache_errors(&self, total: u64) {
        raise(&self.cache_errors, total);
    }

    /// Slots in use of all.
    pub fn slots(&self, used: u32, all: u32) {
        self.slots.with_label_values(&["used"]).set(i64::from(used));
        self.slots.with_label_values(&["free"]).set(i64::from(all.saturating_sub(used)));
        self.count_busy();
        *locked(&self.busy_since) = (used > 0).then(Instant::now);
    }

    /// Counts the time since the last call, if a slot has been used. Called often, so that a long run does not show as one
    /// jump at its end.
    pub fn count_busy(&self) {
        if let Some(since) = locked(&self.busy_since).as_mut() {
            let now = Instant::now();
            self.busy_seconds.inc_by(now.duration_since(*since).as_secs_f64());
            *since = now;
        }
    }

    /// A sign of life: of the model while it works, of the loop while it waits.
    pub fn alive(&self) {
        #[expect(clippy::cast_precision_loss, reason = "a timestamp in seconds")]
        self.last_progress_timestamp_seconds.set(SystemClock.now().timestamp() as f64);
    }

    /// The attention kernel in use.
    pub fn attention(&self, backend: &str) {
        self.attention_backend.with_label_values(&[backend]).set(1);
    }

    /// Memory of the device, bytes.
    pub fn device_memory(&self, used: u64, total: u64) {
        for (state, bytes) in [("used", used), ("total", total)] {
            self.device_memory_bytes.with_label_values(&[state]).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }

    /// Whether a service answers: `postgres`, `rabbitmq` or `redis`.
    pub fn dependency(&self, name: &str, up: bool) {
        self.dependency_up.with_label_values(&[name]).set(i64::from(up));
    }

    /// Unreadable messages so far.
    pub fn unreadable(&self, total: u64) {
        raise(&self.unreadable, total);
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

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
