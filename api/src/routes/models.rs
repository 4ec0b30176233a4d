//! `GET /api/models`: the models that accept new jobs.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::Caller;
use crate::dto::model::ModelView;
use crate::state::AppState;

/// All models.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelListView {
    /// Sorted by id.
    pub models: Vec<ModelView>,
}

/// Lists the models with their sizes, lengths and examples.
#[utoipa::path(get, path = "/api/models", tag = "fleet", responses((status = 200, body = ModelListView)))]
pub async fn models(State(app): State<AppState>, _: Caller) -> Json<ModelListView> {
    let pools = app.pools();
    let workers =
        |id: &str| pools.iter().filter(|load| load.pool.model_id() == id).map(|load| load.workers as usize).sum();
    let known = app.models.in_service();
    let view = |(id, manifest): (&String, &std::sync::Arc<domain::ModelManifest>)| {
        ModelView::new(manifest, id == app.models.default_id(), workers(id))
    };
    Json(ModelListView { models: known.iter().map(view).collect() })
}
