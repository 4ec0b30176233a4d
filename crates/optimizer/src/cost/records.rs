//! What the cost model is fitted to: the measured seconds of finished runs.

use domain::{Plan, RunRecord, VideoRequest};
use serde::{Deserialize, Serialize};

use super::work::{LowerWork, Work, passes};

/// A finished run, reduced to what its time depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CostRecord {
    /// The model's id.
    pub model_id: String,
    /// Class of workers that compute at the same speed, for example `cuda-sm90` or `cpu-avx512`.
    pub worker_class: String,
    /// Devices that computed it together.
    #[serde(default = "one")]
    pub devices: u32,
    /// Video tokens.
    pub tokens: u64,
    /// Transformer passes for each step.
    pub passes: u32,
    /// Step-cache threshold; 0 for off.
    pub threshold: f64,
    /// Steps at full size that went through the transformer.
    pub computed: u32,
    /// Steps at full size that the step cache skipped.
    pub skipped: u32,
    /// Steps at half the size.
    #[serde(default)]
    pub lower: Option<StageSteps>,
    /// Whether the embeddings came from a cache.
    pub hit: bool,
    /// Prompt to embeddings, seconds.
    pub encode_s: f64,
    /// All steps, seconds.
    pub denoise_s: f64,
    /// Decoding and delivery, seconds.
    pub tail_s: f64,
    /// Merging adapters, seconds, 0 where they were merged already; `None` for a run without adapters.
    #[serde(default)]
    pub swap_s: Option<f64>,
    /// Millions of pixels of the frames that interpolation added.
    #[serde(default)]
    pub interpolated_mpx: f64,
    /// Interpolation, seconds.
    #[serde(default)]
    pub interpolate_s: f64,
}

fn one() -> u32 {
    1
}

/// Steps of a finished run at one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageSteps {
    /// Video tokens of these steps.
    pub tokens: u64,
    /// Those that went through the transformer.
    pub computed: u32,
    /// Those that the step cache skipped.
    pub skipped: u32,
}

impl StageSteps {
    /// Those at half the size.
    #[must_use]
    pub(crate) fn lower_of(record: &RunRecord) -> Option<Self> {
        let done = record.progressive?;
        Some(Self { tokens: done.tokens, computed: done.steps_computed, skipped: done.steps_skipped })
    }

    /// How many they are.
    #[must_use]
    pub fn steps(&self) -> u32 {
        self.computed + self.skipped
    }
}

/// The facts of a finished run.
#[derive(Debug, Clone, Copy)]
pub struct RunFacts<'a> {
    /// The model's id.
    pub model_id: &'a str,
    /// The worker's class.
    pub worker_class: &'a str,
    /// The request.
    pub request: &'a VideoRequest,
    /// Video tokens of what was rendered.
    pub tokens: u64,
    /// What was planned.
    pub plan: &'a Plan,
    /// What was measured.
    pub record: &'a RunRecord,
}

impl CostRecord {
    /// The record of a run. `None` for a run that was resumed or restarted, whose seconds are spread over several workers, and for one
    /// that shared its forward passes: neither says how long a run takes by itself.
    #[must_use]
    pub fn of(run: &RunFacts<'_>) -> Option<Self> {
        let record = run.record;
        let whole = record.resumed_from.is_none() && record.restarted_because.is_none() && record.batch.is_none();
        let stages = &record.stages;
        let seconds = [
            stages.encode_s,
            stages.adapters_s,
            stages.denoise_s,
            stages.decode_s,
            stages.interpolate_s,
            stages.deliver_s,
        ];
        let lower = StageSteps::lower_of(record);
        let sane = seconds.iter().all(|s| s.is_finite() && *s >= 0.0) && stages.denoise_s > 0.0;
        (whole && sane && record.steps_computed > 0).then(|| Self {
            model_id: run.model_id.to_owned(),
            worker_class: run.worker_class.to_owned(),
            devices: record.devices,
            tokens: run.tokens,
            passes: passes(run.request),
            threshold: run.plan.step_cache.threshold,
            computed: record.steps_computed.saturating_sub(lower.map_or(0, |lower| lower.computed)),
            skipped: record.steps_skipped.saturating_sub(lower.map_or(0, |lower| lower.skipped)),
            lower,
            hit: record.cache_match.is_hit(),
            encode_s: stages.encode_s,
            denoise_s: stages.denoise_s,
            tail_s: stages.decode_s + stages.deliver_s,
            swap_s: (!record.adapters.is_empty()).then_some(stages.adapters_s),
            interpolated_mpx: record.interpolation.as_ref().map_or(0.0, |done| done.megapixels),
            interpolate_s: stages.interpolate_s,
        })
    }

    /// The run without its adapters and interpolation, whose seconds depend on nothing else of it.
    #[must_use]
    pub fn total_s(&self) -> f64 {
        self.encode_s + self.denoise_s + self.tail_s
    }

    /// The work as the planner knew it before the run, without interpolation.
    #[must_use]
    pub fn work(&self) -> Work {
        let lower = self.lower.map(|lower| LowerWork { tokens: lower.tokens, steps: lower.steps() });
        let steps = self.computed + self.skipped + lower.map_or(0, |lower| lower.steps);
        let (tokens, passes, threshold) = (self.tokens, self.passes, self.threshold);
        Work { tokens, steps, lower, passes, threshold, interpolated_mpx: 0.0 }
    }
}
