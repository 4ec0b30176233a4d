//! `GET /api/optimization/analyze`: what would be done with a prompt, without doing it.

use axum::Json;
use axum::extract::State;
use domain::{FieldError, ModelManifest, QualityTier, StepCacheMode, TenantId, VideoRequest};
use serde::Deserialize;
use store::jobs::{JobFilter, Scope};
use utoipa::IntoParams;

use crate::auth::Caller;
use crate::dto::analysis::{AnalysisView, AnalyzeView};
use crate::extract::QueryString;
use crate::problem::{Answer, Problem, ProblemBody};
use crate::state::{App, AppState};

/// A tenant's jobs with the prompt inside theirs that are compared with it.
const OWN_PROMPTS: u32 = 20;

/// What to analyse. Everything but the prompt has the default that `POST /api/generate` has.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AnalyzeQuery {
    /// The prompt.
    #[param(example = "A red ball rolls over green grass")]
    pub prompt: String,
    /// Quality tier.
    pub quality_tier: Option<QualityTier>,
    /// A size that the model names, or `WIDTHxHEIGHT`.
    pub video_size: Option<String>,
    /// One of the named size's aspects.
    pub aspect_ratio: Option<String>,
    /// Frames at 24 a second, 4k+1.
    pub video_length: Option<u32>,
    /// Denoising steps; 0 lets the fleet choose.
    pub infer_steps: Option<u32>,
    /// Embedded guidance.
    pub cfg_scale: Option<f64>,
    /// As in the request.
    pub flow_reverse: Option<bool>,
    /// What the video should not show.
    pub negative_prompt: Option<String>,
    /// Real guidance.
    pub true_cfg_scale: Option<f64>,
    /// Step caching.
    pub step_cache: Option<StepCacheMode>,
    /// The model's id.
    pub model: Option<String>,
}

impl AnalyzeQuery {
    /// The request that the query stands for.
    #[must_use]
    pub fn into_request(self) -> VideoRequest {
        let mut request = VideoRequest::new(self.prompt);
        request.quality_tier = self.quality_tier.unwrap_or(request.quality_tier);
        request.video_size = self.video_size.unwrap_or(request.video_size);
        request.aspect_ratio = self.aspect_ratio;
        request.video_length = self.video_length.unwrap_or(request.video_length);
        request.infer_steps = self.infer_steps.unwrap_or(request.infer_steps);
        request.cfg_scale = self.cfg_scale.unwrap_or(request.cfg_scale);
        request.flow_reverse = self.flow_reverse.unwrap_or(request.flow_reverse);
        request.negative_prompt = self.negative_prompt;
        request.true_cfg_scale = self.true_cfg_scale.unwrap_or(request.true_cfg_scale);
        request.step_cache = self.step_cache;
        request.model = self.model;
        request
    }
}

/// Analyses a prompt: complexity with the words that gave it, steps, tier, estimated time and cost.
#[utoipa::path(
    get, path = "/api/optimization/analyze", tag = "optimization", params(AnalyzeQuery),
    responses(
        (status = 200, body = AnalyzeView),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "A parameter is wrong"),
    )
)]
pub async fn analyze(
    State(app): State<AppState>,
    caller: Caller,
    QueryString(query): QueryString<AnalyzeQuery>,
) -> Answer<Json<AnalyzeView>> {
    let request = query.into_request();
    let manifest =
        app.models.find(request.model.as_deref()).map_err(|error: FieldError| Problem::fields(vec![error]))?;
    let shape = request.validate(&app.request_limits, &manifest).map_err(Problem::fields)?;
    let plan = app.planner().plan(&request, &manifest, shape).plan;
    let cached = is_cached(&app, &caller, &manifest, &request.prompt).await?;
    tracing::info!(
        tier = %plan.tier, complexity = %plan.complexity, steps = plan.steps, estimate_s = plan.estimate_s, cached,
        "Optimization: prompt analysed",
    );
    let analysis = AnalysisView::new(&request, &plan, cached, app.settings.cost.gpu_hour_usd);
    Ok(Json(AnalyzeView { prompt: request.prompt, analysis, cache_available: cached }))
}

/// Whether the prompt's embeddings are cached and the caller may know: the cache is shared, and its answer alone would
/// tell a tenant what others have asked for.
async fn is_cached(app: &App, caller: &Caller, manifest: &ModelManifest, prompt: &str) -> Answer<bool> {
    if !app.settings.cache.enabled || !app.cache.exists(&manifest.fingerprint.encoders, prompt).await {
        return Ok(false);
    }
    match caller.scope() {
        Scope::Fleet => Ok(true),
        // While keys are off there is nobody to hide it from.
        Scope::Tenant(TenantId::DEFAULT) if !app.keys_required => Ok(true),
        Scope::Tenant(tenant_id) => {
            let filter = JobFilter { prompt_contains: Some(prompt.trim().to_owned()), ..JobFilter::default() };
            let scope = Scope::Tenant(tenant_id);
            let scan_max = app.settings.limits.list_scan_max;
            let page = app.store.list(scope, &filter, None, OWN_PROMPTS, scan_max).await;
            let own = page.map_err(|error| Problem::from_store(&error))?.jobs;
            Ok(own.iter().any(|job| job.request.prompt.trim() == prompt.trim()))
        }
    }
}
