//! `GET /api/optimization/analyze`: what would be done with a request, without doing it. The query string holds the same
//! request as the body of `POST /api/generate`.

use axum::Json;
use axum::extract::State;
use domain::{FieldError, ImageSource, ModelManifest, TenantId, VideoRequest};
use store::jobs::{JobFilter, Scope};

use crate::admission::{Outlook, outlook};
use crate::auth::Caller;
use crate::dto::analysis::{AnalysisView, AnalyzeView, ForecastView};
use crate::dto::image::crop;
use crate::dto::request::RequestParameters;
use crate::extract::QueryString;
use crate::problem::{Answer, Problem, ProblemBody};
use crate::state::{App, AppState};
use crate::{images, loras};

/// How many of the tenant's jobs whose prompt contains the analysed prompt are compared with it.
const OWN_PROMPTS: u32 = 20;

/// Analyses a prompt: complexity with the words that gave it, steps, tier, estimated time and cost.
#[utoipa::path(
    get, path = "/api/optimization/analyze", tag = "optimization", params(RequestParameters),
    responses(
        (status = 200, body = AnalyzeView),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "A parameter is wrong"),
    )
)]
pub async fn analyze(
    State(app): State<AppState>,
    caller: Caller,
    QueryString(mut request): QueryString<VideoRequest>,
) -> Answer<Json<AnalyzeView>> {
    loras::resolve::resolve(&app, &caller, &mut request).await?;
    images::resolve::resolve_batch(&app, &caller, std::slice::from_mut(&mut request)).await?;
    let manifest =
        app.models.for_new_job(request.model.as_deref()).map_err(|error: FieldError| Problem::fields(vec![error]))?;
    // The picture changes no estimate, so it may be chosen later.
    if !manifest.image.is_none() {
        request.image.get_or_insert_with(|| ImageSource::Named(String::new()));
    }
    let shape = request.validate(&app.request_limits, &manifest).map_err(Problem::fields)?;
    request.fill_guidance(&manifest);
    let planner = app.planner();
    let plan = planner.plan(&request, &manifest, shape).plan;
    // An hour of a worker is one of each of its devices.
    let hour_usd = app.settings.cost.gpu_hour_usd * f64::from(planner.devices_for(&manifest, plan.tier));
    let cached = is_cached(&app, &caller, &manifest, &request.prompt).await?;
    tracing::info!(
        tier = %plan.tier, complexity = %plan.complexity, steps = plan.steps, estimate_s = plan.estimate_s, cached,
        "Optimization: prompt analysed",
    );
    request.model = Some(manifest.id.clone());
    let forecast = match outlook(&app, caller.tenant_id, &request, &plan, 0).await? {
        Outlook::Known(forecast) => Some(ForecastView::new(&forecast, request.deadline_s)),
        Outlook::NoWorkers | Outlook::Paused => None,
    };
    let analysis = AnalysisView::new(&request, &plan, cached, hour_usd);
    let unknown_words = manifest.world.as_ref().map(|world| optimizer::unknown_words(&request.prompt, world));
    let unknown_words = unknown_words.unwrap_or_default();
    let image_crop = request.image.as_ref().and_then(|image| crop(image.stored()?, &shape));
    let prompt_tokens = app.prompt_readers.view(&manifest, &request);
    Ok(Json(AnalyzeView {
        prompt: request.prompt,
        analysis,
        cache_available: cached,
        unknown_words,
        prompt_tokens,
        image_crop,
        forecast,
    }))
}

/// Whether the prompt's embeddings are cached for the caller, who may know it: where tenants share the cache, an answer for any
/// prompt would reveal what others have asked for.
async fn is_cached(app: &App, caller: &Caller, manifest: &ModelManifest, prompt: &str) -> Answer<bool> {
    let (cache, tenant) = (&app.settings.cache, caller.tenant_id.to_string());
    if !cache.enabled || !app.cache.exists(&manifest.fingerprint.encoders, &tenant, prompt).await {
        return Ok(false);
    }
    if !cache.shared_between_tenants {
        return Ok(true);
    }
    match caller.scope() {
        Scope::Fleet => Ok(true),
        // While keys are off there is only one tenant.
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
