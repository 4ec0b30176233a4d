//! The metrics of a worker process.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use domain::{CacheMatch, Clock, Complexity, JobStatus, Plan, RunRecord, SystemClock, Tier};
use prometheus::{Counter, Gauge, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::declare::{LONG_S, MEMBERS, STEPS, metrics, raise};

/// Possible outcomes of a run.
const OUTCOMES: &[&str] = &["completed", "drafted", "failed", "cancelled", "handed_back", "lease_lost"];
const ATTENTION_BACKENDS: &[&str] = &["cudnn", "flash", "flash3", "efficient", "math"];
const STAGES: &[&str] = &["encode", "adapters", "denoise", "decode", "interpolate", "deliver"];

metrics! {
    /// Metrics of one worker process.
    pub struct WorkerMetrics for "worker" {
        /// Runs by outcome: completed, drafted, failed, cancelled, handed_back or lease_lost.
        runs: IntCounterVec = "fleet_runs_total", labels &["outcome", "tier"];
        /// Duration of a completed run, in seconds.
        run_seconds: HistogramVec = "fleet_run_duration_seconds", labels &["tier"], buckets LONG_S;
        /// Duration of one stage of a completed run, in seconds.
        stage_seconds: HistogramVec = "fleet_stage_duration_seconds", labels &["stage"], buckets LONG_S;
        /// Denoising steps of completed runs. Sum divided by count is the average.
        steps: HistogramVec = "fleet_steps_used", labels &["tier", "complexity"], buckets STEPS;
        /// Denoising steps that ran through the transformer.
        steps_computed: IntCounterVec = "fleet_steps_computed_total", labels &["tier"];
        /// Denoising steps that the step cache replaced.
        steps_skipped: IntCounterVec = "fleet_steps_skipped_total", labels &["tier"];
        /// Denoising steps that ran through the transformer at half the width and height; part of `fleet_steps_computed_total`.
        steps_lower: IntCounterVec = "fleet_steps_lower_resolution_total", labels &["tier"];
        /// Time from submission to the first claim, in seconds.
        waited_seconds: HistogramVec = "fleet_job_wait_duration_seconds", labels &["tier"], buckets LONG_S;
        /// Prompt look-ups by result (identical, similar, miss or off) and by the place the embeddings came from.
        cache_lookups: IntCounterVec = "fleet_embedding_cache_lookups_total", labels &["result", "place"];
        /// Encoding time saved by cache hits, in seconds: this worker's mean encoding time minus the time of the look-up.
        cache_saved_seconds: Counter = "fleet_embedding_cache_saved_seconds_total";
        /// Failed Redis calls and unusable cached values. Each counts as a miss and never fails a job.
        cache_errors: IntCounter = "fleet_embedding_cache_errors_total";
        /// Jobs in the forward pass of a computed step; each job counts its own steps. Sum divided by count is the mean batch.
        step_members: Histogram = "fleet_step_members", buckets MEMBERS;
        /// Playback time of the rendered videos, in seconds.
        video_seconds: Counter = "fleet_video_seconds_total";
        /// Time during which a job occupied this worker's slot, in seconds.
        busy_seconds: Counter = "fleet_worker_busy_seconds_total";
        /// Time during which the model encoded, denoised, decoded or interpolated, in seconds. The rest of the time the device was idle.
        model_seconds: Counter = "fleet_worker_model_seconds_total";
        /// Finished videos that are being written and uploaded while the slot is free for the next job.
        pub deliveries: IntGauge = "fleet_worker_deliveries";
        /// Failed runs, by error code.
        pub failures: IntCounterVec = "fleet_run_failures_total", labels &["code"];
        /// Jobs handed back because the worker is shutting down.
        pub handed_back: IntCounter = "fleet_jobs_handed_back_total";
        /// Leases lost during a run.
        pub leases_lost: IntCounter = "fleet_leases_lost_total";
        /// Database writes rejected because another worker holds the lease.
        pub stale_writes: IntCounter = "fleet_stale_writes_refused_total";
        /// Messages about a job that could no longer be claimed.
        pub stale_claims: IntCounter = "fleet_stale_claims_total";
        /// Checkpoints stored.
        pub checkpoints: IntCounter = "fleet_checkpoints_total";
        /// Previews published.
        pub previews: IntCounter = "fleet_previews_total";
        /// Time that previews took the model's thread, in seconds. At most 1 % of the time of the denoising steps.
        pub preview_seconds: Counter = "fleet_preview_seconds_total";
        /// Runs resumed from a checkpoint.
        pub resumes: IntCounter = "fleet_resumes_total";
        /// Slots of this worker, by state: used or free.
        slots: IntGaugeVec = "fleet_slots", labels &["state"];
        /// GPU memory in bytes, used and total. On a CPU, the memory of this process and its limit.
        device_memory_bytes: IntGaugeVec = "fleet_device_memory_bytes", labels &["state"];
        /// Share of the time in which the GPU was computing, 0 to 1; 0 on a CPU.
        pub gpu_utilisation: Gauge = "fleet_gpu_utilisation_ratio";
        /// Speed of attention measured when the worker started, in FLOP per second; 0 if it was not measured.
        pub attention_flops: Gauge = "fleet_attention_flops_per_second";
        /// 1 for the attention kernel in use, 0 for the others. All are 0 on a CPU.
        attention_backend: IntGaugeVec = "fleet_attention_backend", labels &["backend"];
        /// Time from the start of the process until it could take a job, in seconds: loading, hashing and trying the model.
        pub ready_seconds: Gauge = "fleet_worker_ready_seconds";
        /// Last sign of progress, as a Unix timestamp in seconds: from the model during a run, otherwise from the main loop.
        last_progress_timestamp_seconds: Gauge = "fleet_worker_last_progress_timestamp_seconds";
        /// 1 while the worker can receive work from RabbitMQ, else 0.
        pub consuming: IntGauge = "fleet_worker_consuming";
    }
    state {
        /// Total seconds and number of this worker's own encodings. Their mean is what a cache hit saves.
        encoded: Mutex<(f64, f64)>;
        /// The time since which a slot has been in use and has not been counted.
        busy_since: Mutex<Option<Instant>>;
        /// The same for the model.
        model_since: Mutex<Option<Instant>>;
        /// Jobs for which the model works at present.
        model_users: Mutex<u32>;
    }
}

impl Default for WorkerMetrics {
    /// All metrics at zero.
    fn default() -> Self {
        let metrics = Self::declare();
        metrics.begin_series();
        metrics
    }
}

impl WorkerMetrics {
    /// Creates series at zero, so that their first count is an increase. Without this, `rate()` would miss it.
    fn begin_series(&self) {
        for tier in Tier::ALL.iter().map(|tier| tier.as_str()) {
            for outcome in OUTCOMES {
                self.runs.with_label_values(&[*outcome, tier]);
            }
            self.run_seconds.with_label_values(&[tier]);
            self.waited_seconds.with_label_values(&[tier]);
            self.steps_computed.with_label_values(&[tier]);
            self.steps_skipped.with_label_values(&[tier]);
            self.steps_lower.with_label_values(&[tier]);
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

    /// Records that a run ended in `status`, with its measurements.
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
            ("interpolate", stages.interpolate_s),
            ("deliver", stages.deliver_s),
        ];
        // Most runs are not interpolated, and their zeros would hide how long it takes.
        let seconds =
            seconds.into_iter().filter(|(stage, _)| *stage != "interpolate" || record.interpolation.is_some());
        for (stage, seconds) in seconds {
            self.stage_seconds.with_label_values(&[stage]).observe(seconds);
        }
        // Counts the swaps, too: most runs need none.
        if stages.adapters_s > 0.0 {
            self.stage_seconds.with_label_values(&["adapters"]).observe(stages.adapters_s);
        }
        self.steps.with_label_values(&[tier, plan.complexity.as_str()]).observe(f64::from(plan.steps));
        self.steps_computed.with_label_values(&[tier]).inc_by(u64::from(record.steps_computed));
        self.steps_skipped.with_label_values(&[tier]).inc_by(u64::from(record.steps_skipped));
        let lower = record.progressive.as_ref().map_or(0, |lower| lower.steps_computed);
        self.steps_lower.with_label_values(&[tier]).inc_by(u64::from(lower));
        self.video_seconds.inc_by(video_s);
    }

    /// Records that a run ended without measurements (failed, handed back, lost).
    pub fn unfinished(&self, outcome: &str, plan: &Plan) {
        self.runs.with_label_values(&[outcome, plan.tier.as_str()]).inc();
    }

    /// Records that a job was claimed for the first time, `seconds` after its submission.
    pub fn waited(&self, tier: Tier, seconds: f64) {
        self.waited_seconds.with_label_values(&[tier.as_str()]).observe(seconds.max(0.0));
    }

    /// Records that a prompt's embeddings were available after `seconds`, from `place`: `memory`, `redis`, `awaited` or `encoder`.
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

    /// Sets the number of cache errors so far.
    pub fn cache_errors(&self, total: u64) {
        raise(&self.cache_errors, total);
    }

    /// Sets the number of slots in use, out of all.
    pub fn slots(&self, used: u32, all: u32) {
        self.slots.with_label_values(&["used"]).set(i64::from(used));
        self.slots.with_label_values(&["free"]).set(i64::from(all.saturating_sub(used)));
        self.count_busy();
        *locked(&self.busy_since) = (used > 0).then(Instant::now);
    }

    /// Records that the model begins a piece of work for a job; it ends when the guard is dropped. Time in which it works for several
    /// jobs counts once.
    #[must_use]
    pub fn model_works(&self) -> ModelWork<'_> {
        let mut users = locked(&self.model_users);
        *users += 1;
        if *users == 1 {
            *locked(&self.model_since) = Some(Instant::now());
        }
        ModelWork { metrics: self }
    }

    /// Records a step of a job: `members` is how many jobs shared its forward pass, or 0 for one from the step cache.
    pub fn step_taken(&self, members: u32) {
        if members > 0 {
            self.step_members.observe(f64::from(members));
        }
    }

    /// Adds the time since the last call if a slot or the model has been in use. It is called often, so that a long run does not
    /// appear as a single jump at its end.
    pub fn count_busy(&self) {
        for (since, counter) in [(&self.busy_since, &self.busy_seconds), (&self.model_since, &self.model_seconds)] {
            if let Some(since) = locked(since).as_mut() {
                let now = Instant::now();
                counter.inc_by(now.duration_since(*since).as_secs_f64());
                *since = now;
            }
        }
    }

    /// Records progress: of the model during a run, otherwise of the main loop.
    pub fn alive(&self) {
        #[expect(clippy::cast_precision_loss, reason = "a timestamp in seconds")]
        self.last_progress_timestamp_seconds.set(SystemClock.now().timestamp() as f64);
    }

    /// Records the attention kernel in use.
    pub fn attention(&self, backend: &str) {
        self.attention_backend.with_label_values(&[backend]).set(1);
    }

    /// Sets the used and the total memory of the device, in bytes.
    pub fn device_memory(&self, used: u64, total: u64) {
        for (state, bytes) in [("used", used), ("total", total)] {
            self.device_memory_bytes.with_label_values(&[state]).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }
}

/// The model works for as long as this lives. There is one model, so at most one of these exists at a time.
#[derive(Debug)]
pub struct ModelWork<'m> {
    metrics: &'m WorkerMetrics,
}

impl Drop for ModelWork<'_> {
    fn drop(&mut self) {
        self.metrics.count_busy();
        let mut users = locked(&self.metrics.model_users);
        *users = users.saturating_sub(1);
        if *users == 0 {
            *locked(&self.metrics.model_since) = None;
        }
    }
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
