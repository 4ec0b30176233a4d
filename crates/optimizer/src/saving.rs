//! What a run saved against the fixed-step baseline without caches, in seconds and dollars.
//!
//! Both sides are judged by the same cost model and the difference is scaled by how this run really went, so that a
//! slow hour or a wrong prior moves the saving in proportion instead of inventing one.

use domain::{ModelManifest, Plan, RunRecord, StepsReason, VideoRequest, model::RenderShape};

use crate::cost::CostModel;
use crate::plan::passes;

/// A run's saving; negative when it cost more than the baseline would have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Saving {
    /// Seconds that the baseline would have taken on the same worker.
    pub baseline_s: f64,
    /// Baseline less the run.
    pub saved_s: f64,
    /// Price of `saved_s`, US dollars.
    pub saved_usd: f64,
}

/// Price of some seconds on a GPU, US dollars.
#[must_use]
pub fn price_usd(seconds: f64, gpu_hour_usd: f64) -> f64 {
    seconds / 3600.0 * gpu_hour_usd
}

/// The saving of a finished run. The baseline renders the same shape with the model's `baseline_steps`, every step
/// computed and the prompt encoded. Steps that the user named are no saving of the fleet's: there the baseline has as
/// many, and only the caches count.
#[must_use]
pub fn saving(
    request: &VideoRequest,
    shape: &RenderShape,
    manifest: &ModelManifest,
    plan: &Plan,
    record: &RunRecord,
    cost: &CostModel,
    gpu_hour_usd: f64,
) -> Saving {
    let baseline_steps = match plan.steps_reason {
        StepsReason::Explicit => plan.steps,
        StepsReason::Fixed | StepsReason::Adaptive | StepsReason::Learned => manifest.cost_prior.baseline_steps,
    };
    let (tokens, passes) = (shape.tokens(&manifest.geometry), passes(request));
    let modelled = |computed, skipped, hit| cost.run_s(tokens, passes, computed, skipped, hit);
    let baseline_model_s = modelled(baseline_steps, 0, false);
    let run_model_s = modelled(record.steps_computed, record.steps_skipped, record.cache_match.is_hit());
    let run_s = record.stages.total_s();
    // A model that expects nothing cannot compare; then nothing is claimed.
    let baseline_s = if run_model_s > 0.0 { run_s * baseline_model_s / run_model_s } else { run_s };
    let saved_s = baseline_s - run_s;
    Saving { baseline_s, saved_s, saved_usd: price_usd(saved_s, gpu_hour_usd) }
}
