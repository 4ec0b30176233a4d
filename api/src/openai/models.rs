//! `GET /v1/models`: the models and the names that stand for the default one.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;

use super::error::Refusal;
use crate::auth::Caller;
use crate::problem::ProblemKind;
use crate::state::{App, AppState};

/// A model.
#[derive(Debug, Serialize)]
pub(super) struct Model {
    id: String,
    object: &'static str,
    /// Unix seconds; 0, because the fleet does not know when a model was made.
    created: i64,
    owned_by: &'static str,
    /// The model that this name stands for.
    root: String,
}

/// All models.
#[derive(Debug, Serialize)]
pub(super) struct ModelList {
    object: &'static str,
    data: Vec<Model>,
}

fn models(app: &App) -> Vec<Model> {
    let default = app.models.default_id();
    let model = |id: String, root: String| Model { id, object: "model", created: 0, owned_by: "hunyuan-fleet", root };
    let in_service: Vec<String> = app.models.in_service().into_keys().collect();
    let aliases: Vec<String> =
        if in_service.iter().any(|id| id == default) { app.settings.models.aliases.clone() } else { Vec::new() };
    let own = in_service.into_iter().map(|id| model(id.clone(), id));
    own.chain(aliases.into_iter().map(|alias| model(alias, default.to_owned()))).collect()
}

/// Lists the models that accept new jobs.
pub(super) async fn list(State(app): State<AppState>, _: Caller) -> Json<ModelList> {
    Json(ModelList { object: "list", data: models(&app) })
}

/// Shows one model.
pub(super) async fn retrieve(
    State(app): State<AppState>,
    _: Caller,
    Path(id): Path<String>,
) -> Result<Json<Model>, Refusal> {
    models(&app).into_iter().find(|model| model.id == id).map(Json).ok_or_else(|| {
        let detail = "no model has this id; GET /v1/models lists them";
        Refusal::new(ProblemKind::NotFound, detail, "model_not_found", Some("model"))
    })
}
