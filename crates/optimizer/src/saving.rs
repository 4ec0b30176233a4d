//! What a run saved compared with the fixed-step baseline without caches, in seconds and dollars.
//!
//! The same cost model estimates both sides, and the difference is scaled by how long this run really took. A slow hour or
//! a wrong prior then changes the saving in proportion instead of inventing one.

use domain::{ModelManifest, Savings, StepsReason};

use crate::cost::{CostModel, RunFacts, StageSteps, passes};

/// A run's saving; negative when it cost more than the baseline would have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Saving {
    /// Seconds that the baseline would have taken on the same worker.
    pub baseline_s: f64,
    /// The baseline's seconds minus the run's.
    pub saved_s: f64,
    /// Price of `saved_s`, US dollars.
    pub saved_usd: f64,
    /// `saved_s` by optimisation: what each saves when they are applied one after the other, in the order of the fields.
    pub parts: Savings,
}

/// Price of some seconds on a GPU, US dollars.
#[must_use]
pub fn price_usd(seconds: f64, gpu_hour_usd: f64) -> f64 {
    seconds / 3600.0 * gpu_hour_usd
}

/// The saving of a finished run. The baseline renders the same shape with the model's baseline steps, computes every
/// step and encodes the prompt. If the request named its steps, the baseline has as many: the user saved those, not the
/// fleet, so only the caches count.
#[must_use]
pub fn saving(run: &RunFacts<'_>, manifest: &ModelManifest, cost: &CostModel, gpu_hour_usd: f64) -> Saving {
    let baseline_steps = match run.plan.steps_reason {
        StepsReason::Explicit | StepsReason::Adapter => run.plan.steps,
        StepsReason::Fixed | StepsReason::Adaptive | StepsReason::Learned => manifest.baseline_steps(),
    };
    let record = run.record;
    let (tokens, passes) = (run.tokens, passes(run.request));
    let modelled = |computed, skipped, hit| cost.run_s(tokens, passes, computed, skipped, hit);
    let baseline_model_s = modelled(baseline_steps, 0, false);
    let lower = StageSteps::lower_of(record);
    let lower_steps = lower.map_or(0, |lower| lower.steps());
    let full_computed = record.steps_computed.saturating_sub(lower.map_or(0, |lower| lower.computed));
    let full_skipped = record.steps_skipped.saturating_sub(lower.map_or(0, |lower| lower.skipped));
    let lower_s = cost.lower_s(lower, passes);
    let run_model_s = modelled(full_computed, full_skipped, record.cache_match.is_hit()) + lower_s;
    // The baseline would have to merge the same adapters and interpolate likewise, so these parts save nothing.
    let interpolate_s = record.stages.interpolate_s;
    let run_s = record.stages.total_s() - record.stages.adapters_s - interpolate_s;
    // A cost model that expects 0 s cannot compare, so no saving is claimed.
    let scale = if run_model_s > 0.0 { run_s / run_model_s } else { 0.0 };
    let baseline_s = if run_model_s > 0.0 { run_s * baseline_model_s / run_model_s } else { run_s };
    let saved_s = baseline_s - run_s;
    let uncached = lower.map(|lower| StageSteps { computed: lower_steps, skipped: 0, ..lower });
    let planned = modelled(full_computed + full_skipped, 0, false) + cost.lower_s(uncached, passes);
    let skipped = modelled(full_computed, full_skipped, false) + lower_s;
    let parts = Savings {
        steps_s: scale * (baseline_model_s - planned),
        step_cache_s: scale * (planned - skipped),
        embeddings_s: scale * (skipped - run_model_s),
    };
    let (baseline_s, saved_usd) = (baseline_s + interpolate_s, price_usd(saved_s, gpu_hour_usd));
    Saving { baseline_s, saved_s, saved_usd, parts }
}
