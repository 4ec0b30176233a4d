//! `GET /api/settings`: the settings that a client needs to make requests that this fleet accepts.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::state::AppState;

/// Settings that clients may see. None of them is secret.
#[derive(Debug, Serialize, ToSchema)]
pub struct SettingsView {
    /// Version of the API process.
    pub version: String,
    /// Whether callers need a key.
    pub keys_required: bool,
    /// Whether embeddings are cached.
    pub cache_enabled: bool,
    /// Whether the number of steps adapts to the prompt.
    pub adaptive_enabled: bool,
    /// Whether embeddings of similar prompts are used unless a request disables this.
    pub similar_prompts_default: bool,
    /// Id of the model for requests that name none.
    pub default_model: String,
    /// Price of a GPU hour in US dollars.
    pub gpu_hour_usd: f64,
    /// Limits of requests.
    pub limits: LimitsView,
    /// Time during which a deleted job can be restored, in seconds.
    pub retention_s: u64,
}

/// Limits of requests.
#[derive(Debug, Serialize, ToSchema)]
pub struct LimitsView {
    /// Longest prompt, in characters.
    pub prompt_chars_max: usize,
    /// Largest `cfg_scale`.
    pub cfg_scale_max: f64,
    /// Largest `true_cfg_scale`.
    pub true_cfg_scale_max: f64,
    /// Largest `deadline_s`.
    pub deadline_s_max: u32,
    /// Most frames of an interpolated video; 0 where the fleet does not interpolate.
    pub interpolated_frames_max: u32,
    /// Most requests in one batch.
    pub batch_max: usize,
    /// Most jobs on one page of the job list.
    pub page_max: u32,
    /// Largest request body, in bytes.
    pub body_max_bytes: usize,
}

/// Returns the settings that clients need.
#[utoipa::path(get, path = "/api/settings", tag = "fleet", responses((status = 200, body = SettingsView)))]
pub async fn settings(State(app): State<AppState>, _: Caller) -> Json<SettingsView> {
    let all = &app.settings;
    Json(SettingsView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        keys_required: app.keys_required,
        cache_enabled: all.cache.enabled,
        adaptive_enabled: all.optimization.adaptive_steps,
        similar_prompts_default: all.cache.similar_enabled,
        default_model: app.models.default_id().to_owned(),
        gpu_hour_usd: all.cost.gpu_hour_usd,
        limits: LimitsView {
            prompt_chars_max: all.limits.prompt_chars_max,
            cfg_scale_max: all.limits.cfg_scale_max,
            true_cfg_scale_max: all.limits.true_cfg_scale_max,
            deadline_s_max: all.limits.deadline_s_max,
            interpolated_frames_max: all.interpolated_frames_max(),
            batch_max: all.limits.batch_max,
            page_max: all.limits.page_max,
            body_max_bytes: all.server.body_max_bytes,
        },
        retention_s: all.scheduler.retention_s,
    })
}
