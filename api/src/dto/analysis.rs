//! The optimiser's analysis of a prompt, as JSON.

use domain::plan::FactorScore;
use domain::{Complexity, ImageCrop, Plan, ProgressivePlan, StepCachePlan, StepsReason, Tier, VideoRequest};
use optimizer::deadline::Forecast;
use serde::Serialize;
use utoipa::ToSchema;

use super::job::minutes;
use super::prompt::PromptTokensView;

/// Response of `GET /api/optimization/analyze`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AnalyzeView {
    /// The prompt that was analysed.
    pub prompt: String,
    /// How it would be rendered.
    pub analysis: AnalysisView,
    /// Whether this prompt's embeddings are cached. Only true for prompts that the caller's tenant has used itself, so that the
    /// cache does not reveal other tenants' prompts.
    pub cache_available: bool,
    /// Words of the prompt, at most eight, that the model was not trained on and will ignore. Always empty for a model that was
    /// trained on everything.
    pub unknown_words: Vec<String>,
    /// What the model's text encoders read of the prompt and of the negative prompt; null while the API does not have the model's
    /// tokenizers.
    pub prompt_tokens: Option<Vec<PromptTokensView>>,
    /// The part of the request's picture that the video would show; null without a picture.
    pub image_crop: Option<ImageCrop>,
    /// When the video would be finished if the request was submitted now; null while no suitable worker is online or the queue is
    /// paused.
    pub forecast: Option<ForecastView>,
}

/// When a request would be rendered if it was submitted now.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ForecastView {
    /// Estimated seconds until a worker starts it.
    pub start_s: f64,
    /// Estimated seconds until the video is finished.
    pub finish_s: f64,
    /// Whether `deadline_s` of the request would be met; null without one.
    pub deadline_met: Option<bool>,
    /// The shortest `deadline_s` that would be met.
    pub feasible_deadline_s: u32,
}

impl ForecastView {
    /// Creates the view of a forecast.
    #[must_use]
    pub fn new(forecast: &Forecast, deadline_s: Option<u32>) -> Self {
        Self {
            start_s: forecast.start_s,
            finish_s: forecast.finish_s,
            deadline_met: deadline_s.map(|deadline_s| forecast.meets(deadline_s)),
            feasible_deadline_s: forecast.feasible_deadline_s(),
        }
    }
}

/// How a prompt would be rendered.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AnalysisView {
    /// Complexity class of the prompt.
    pub complexity: Complexity,
    /// Number of denoising steps.
    pub infer_steps: u32,
    /// Embedded guidance scale.
    pub cfg_scale: f64,
    /// The value from the request.
    pub flow_reverse: bool,
    /// Estimated duration of the run in minutes, without queueing. Assumes cached embeddings if `cache_available`.
    pub estimated_time_min: f64,
    /// Tier in which it would run.
    pub quality_tier: Tier,
    /// Reason for the number of steps.
    pub steps_reason: StepsReason,
    /// Complexity score: the sum of the factors.
    pub score: f64,
    /// The seven factors of the score, each with the words of the prompt that contributed to it.
    pub factors: Vec<FactorScore>,
    /// Step caching that would be used.
    pub step_cache: StepCachePlan,
    /// How many times as many frames per second interpolation would make; null for none.
    pub interpolate: Option<u32>,
    /// Early steps that would be taken at half the size; null for none.
    pub progressive: Option<ProgressivePlan>,
    /// Estimated duration of the run in seconds if the embeddings are not cached.
    pub estimate_s: f64,
    /// Estimated duration of the run in seconds if the embeddings are cached.
    pub estimate_cached_s: f64,
    /// Estimated cost of the run in US dollars.
    pub estimated_cost_usd: f64,
}

impl AnalysisView {
    /// Creates the view of a plan.
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
            interpolate: plan.interpolate,
            progressive: plan.progressive,
            estimate_s: plan.estimate_s,
            estimate_cached_s: plan.estimate_cached_s,
            estimated_cost_usd: estimate_s / 3600.0 * gpu_hour_usd,
        }
    }
}
