//! The plan of a job: analysis, tier, steps, step cache and estimate, put together by one pure function.
//!
//! Order of precedence for the steps: the request's own number, then the tier's fixed number when adaptive steps are
//! off, then the prompt's score placed in the tier's range, moved by what the fleet has learnt.

use domain::{
    Complexity, ModelManifest, Plan, StepCacheMode, StepCachePlan, StepsReason, VideoRequest, model::RenderShape,
};
use domain::{QualityTier, Tier};
use serde::{Deserialize, Serialize};

use crate::analysis::{Analysis, analyze};
use crate::cost::{CostModel, Work};
use crate::learn::Learned;
use crate::profiles::Profiles;
use crate::scoring;

/// Which optimisations are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Switches {
    /// Steps by the prompt (`ENABLE_ADAPTIVE_STEPS`); fixed numbers when off.
    pub adaptive_steps: bool,
    /// Steps lowered by what finished runs showed. Needs `adaptive_steps`.
    pub learned_steps: bool,
    /// Step caching; when off, requests that ask for it get none and their plan says `off`.
    pub step_cache: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self { adaptive_steps: true, learned_steps: true, step_cache: true }
    }
}

/// Plans a validated request. `shape` is what `VideoRequest::validate` answered for it; `cost` is the fleet's cost model
/// for this model, of the worker class that will probably run it.
#[must_use]
pub fn plan(
    request: &VideoRequest,
    shape: &RenderShape,
    manifest: &ModelManifest,
    profiles: &Profiles,
    switches: Switches,
    cost: &CostModel,
    learned: &Learned,
) -> Plan {
    let analysis = analyze(&request.prompt);
    let tier = decide_tier(request, &analysis, profiles);
    let (steps, steps_reason) = decide_steps(request, &analysis, manifest, profiles, switches, learned);
    let mode = request.step_cache.unwrap_or(profiles.tier(tier).step_cache);
    let mode = if switches.step_cache { mode } else { StepCacheMode::Off };
    let threshold = profiles.threshold(tier, mode);
    let work = Work { tokens: shape.tokens(&manifest.geometry), steps, passes: passes(request), threshold };
    Plan {
        tier,
        complexity: analysis.complexity,
        score: analysis.score,
        factors: analysis.factors,
        steps,
        steps_reason,
        step_cache: StepCachePlan { mode, threshold },
        estimate_s: cost.estimate_s(&work, false),
        estimate_cached_s: cost.estimate_s(&work, true),
        memory_bytes: manifest.memory.need_bytes(shape.tokens(&manifest.geometry)),
    }
}

/// Passes through the transformer for one step: two with real classifier-free guidance.
#[must_use]
pub fn passes(request: &VideoRequest) -> u32 {
    if request.true_cfg_scale > 1.0 { 2 } else { 1 }
}

/// Steps that a score gets in a requested tier before anything was learnt, at most the model's own limit.
#[must_use]
pub fn lexicon_steps(requested: QualityTier, score: f64, profiles: &Profiles, manifest: &ModelManifest) -> u32 {
    let (min, max) = profiles.steps_range(requested);
    scoring::steps_in(score, min, max).min(manifest.sampling.steps_max)
}

fn decide_tier(request: &VideoRequest, analysis: &Analysis, profiles: &Profiles) -> Tier {
    if request.infer_steps > 0 {
        // Whoever names 50 steps wants what belongs to 50 steps, whatever the prompt looks like.
        return profiles.decide_by_steps(request.quality_tier, request.infer_steps);
    }
    profiles.decide(request.quality_tier, analysis.complexity)
}

fn decide_steps(
    request: &VideoRequest,
    analysis: &Analysis,
    manifest: &ModelManifest,
    profiles: &Profiles,
    switches: Switches,
    learned: &Learned,
) -> (u32, StepsReason) {
    if request.infer_steps > 0 {
        return (request.infer_steps, StepsReason::Explicit);
    }
    let steps_max = manifest.sampling.steps_max;
    if !switches.adaptive_steps {
        let fixed = match request.quality_tier {
            // Without adaptive steps `auto` has nothing to choose by: it is the baseline that savings are counted against.
            QualityTier::Auto => manifest.cost_prior.baseline_steps,
            _ => profiles.tier(profiles.decide(request.quality_tier, Complexity::Simple)).steps_fixed,
        };
        return (fixed.clamp(1, steps_max), StepsReason::Fixed);
    }
    let steps = lexicon_steps(request.quality_tier, analysis.score, profiles, manifest);
    if !switches.learned_steps {
        return (steps, StepsReason::Adaptive);
    }
    let (min, max) = profiles.steps_range(request.quality_tier);
    let moved =
        learned.steps(&manifest.id, request.quality_tier, analysis.complexity, steps, (min, max)).min(steps_max);
    if moved == steps { (steps, StepsReason::Adaptive) } else { (moved, StepsReason::Learned) }
}
