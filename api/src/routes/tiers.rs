//! `GET /api/tiers`: the tiers of a model with this fleet's own estimates, from which the page lets users choose.

use axum::Json;
use axum::extract::State;
use domain::{QualityTier, StepCacheMode, VideoRequest};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::auth::Caller;
use crate::dto::job::minutes;
use crate::extract::QueryString;
use crate::problem::{Answer, Problem, ProblemBody};
use crate::state::AppState;

/// The video that the estimates are for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TiersQuery {
    /// Id of the model; the default model when absent.
    model: Option<String>,
    /// A named size of the model, or `WIDTHxHEIGHT`.
    #[param(example = "540p")]
    video_size: Option<String>,
    /// An aspect ratio of the named size.
    aspect_ratio: Option<String>,
    /// Length in frames at 24 per second; 4k+1.
    video_length: Option<u32>,
}

/// The tiers of a model.
#[derive(Debug, Serialize, ToSchema)]
pub struct TiersView {
    /// `auto`, `preview`, `standard`, `premium`.
    pub tiers: Vec<TierView>,
}

/// One tier.
#[derive(Debug, Serialize, ToSchema)]
pub struct TierView {
    /// Value for the request's `quality_tier`.
    pub quality_tier: QualityTier,
    /// Fewest denoising steps.
    pub steps_min: u32,
    /// Most denoising steps.
    pub steps_max: u32,
    /// Step caching of the tier; null for `auto`, which uses that of the tier it chooses.
    pub step_cache: Option<StepCacheMode>,
    /// Estimated minutes with the fewest steps, embeddings cached.
    pub estimated_time_min: f64,
    /// Estimated minutes with the most steps, embeddings not cached.
    pub estimated_time_max: f64,
    /// Estimated cost with the most steps, in US dollars.
    pub estimated_cost_usd_max: f64,
}

/// Returns the tiers, with estimates for one size and length.
#[utoipa::path(
    get, path = "/api/tiers", tag = "optimization", params(TiersQuery),
    responses(
        (status = 200, body = TiersView),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "A parameter is invalid"),
    )
)]
pub async fn tiers(
    State(app): State<AppState>,
    _: Caller,
    QueryString(query): QueryString<TiersQuery>,
) -> Answer<Json<TiersView>> {
    // The prompt does not matter: estimates depend on steps and size only.
    let mut request = VideoRequest::new("a video");
    request.video_size = query.video_size.unwrap_or(request.video_size);
    request.video_length = query.video_length.unwrap_or(request.video_length);
    request.aspect_ratio = query.aspect_ratio;
    request.model = query.model;
    let manifest = app.models.for_new_job(request.model.as_deref()).map_err(|error| Problem::fields(vec![error]))?;
    // Only the shape can be wrong, and a model that needs a picture has estimates without one.
    let shape = manifest.shape(&request.video_size, request.aspect_ratio.as_deref(), request.video_length);
    let shape = shape.map_err(Problem::fields)?;
    request.fill_guidance(&manifest);
    let planner = app.planner();
    let view = |&quality_tier: &QualityTier| {
        request.quality_tier = quality_tier;
        let range = planner.steps_range(&manifest, quality_tier);
        let mut planned = |steps: u32| {
            request.infer_steps = steps;
            planner.plan(&request, &manifest, shape).plan
        };
        let (least, most) = (planned(range.min), planned(range.max));
        TierView {
            quality_tier,
            steps_min: least.steps,
            steps_max: most.steps,
            step_cache: (quality_tier != QualityTier::Auto).then_some(most.step_cache.mode),
            estimated_time_min: minutes(least.estimate_cached_s),
            estimated_time_max: minutes(most.estimate_s),
            estimated_cost_usd_max: optimizer::price_usd(
                most.estimate_s,
                app.settings.cost.gpu_hour_usd * f64::from(planner.devices_for(&manifest, most.tier)),
            ),
        }
    };
    Ok(Json(TiersView { tiers: QualityTier::ALL.iter().map(view).collect() }))
}
