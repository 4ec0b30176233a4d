//! What the optimiser would do with a prompt, as JSON.

use domain::plan::FactorScore;
use domain::{Complexity, Plan, StepCachePlan, StepsReason, Tier, VideoRequest};
use serde::Serialize;
use utoipa::ToSchema;

use super::job::minutes;

/// Answer of `GET /api/optimization/analyze`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AnalyzeView {
    /// The prompt that was analysed.
    pub prompt: String,
    /// What would be done with it.
    pub analysis: AnalysisView,
    /// Whether this prompt's embeddings are cached, as far as the caller may know: true only for prompts of its own.
    pub cache_available: bool,
}

/// What would be done with a prompt.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AnalysisView {
    /// The prompt's class.
    pub complexity: Complexity,
    /// Denoising steps it would get.
    pub infer_steps: u32,
    /// Embedded guidance it would run with.
    pub cfg_scale: f64,
    /// As the request says.
    pub flow_reverse: bool,
    /// Estimated minutes of the run alone; with cached embeddings if they are there.
    pub estimated_time_min: f64,
    /// The tier it would run in.
    pub quality_tier: Tier,
    /// Why that many steps.
    pub steps_reason: StepsReason,
    /// Sum of the factors.
    pub score: f64,
    /// The seven factors with the words of the prompt that gave them.
    pub factors: Vec<FactorScore>,
    /// Step caching it would run with.
    pub step_cache: StepCachePlan,
    /// Estimated seconds of the run, embeddings not cached.
    pub estimate_s: f64,
    /// The same with cached embeddings.
    pub estimate_cached_s: f64,
    /// Estimated price of the run, US dollars.
    pub estimated_cost_usd: f64,
}

impl AnalysisView {
    /// Builds the view of a plan.
    #[must_use]
    pub fn new(request: &VideoRequest, plan: &Plan, cached: bool, gpu_hour_usd: f64) -> Self {
        let estimate_s = if cached { plan.estimate_cached_s } else { plan.estimate_s };
        Self {
            complexity: plan.complexity,
            infer_steps: plan.steps,
            cfg_scale: request.cfg_scale,
            flow_reverse: request.flow_reverse,
            estimated_time_min: minutes(estimate_s),
            quality_tier: plan.tier,
            steps_reason: plan.steps_reason,
            score: plan.score,
            factors: plan.factors.clone(),
            step_cache: plan.step_cache,
            estimate_s: plan.estimate_s,
            estimate_cached_s: plan.estimate_cached_s,
            estimated_cost_usd: estimate_s / 3600.0 * gpu_hour_usd,
        }
    }
}
