//! `/api/optimization/learned`: shows, freezes and resets what was learned from finished runs about the steps that prompts need.

use axum::Json;
use axum::extract::State;
use domain::{Complexity, QualityTier};
use optimizer::Learned;
use serde::{Deserialize, Serialize};
use store::keys::Role;
use store::{Learning, StoreError};
use utoipa::{IntoParams, ToSchema};

use crate::auth::Caller;
use crate::extract::{JsonBody, QueryString};
use crate::problem::{Answer, Problem, ProblemBody, ProblemKind};
use crate::state::{App, AppState};

/// What was learned from finished runs.
#[derive(Debug, Serialize, ToSchema)]
pub struct LearnedView {
    /// Whether plans use it. This requires the settings `optimization.learned_steps` and `optimization.adaptive_steps`.
    pub enabled: bool,
    /// Whether learning is paused. What was learned before stays in use.
    pub frozen: bool,
    /// One entry for each kind of job that has had a run.
    pub groups: Vec<LearnedGroupView>,
}

/// What was learned about one kind of job.
#[derive(Debug, Serialize, ToSchema)]
pub struct LearnedGroupView {
    /// The model's id.
    pub model: String,
    /// The requested tier, which may be `auto`.
    pub quality_tier: QualityTier,
    /// Complexity class of the prompts.
    pub complexity: Complexity,
    /// Number of steps by which plans are reduced compared with the prompt analysis. Plans never leave the tier's range.
    pub lower_by: u32,
    /// Number of runs it was learned from.
    pub runs: u64,
}

/// A change of learning.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LearnedChange {
    /// True pauses learning, false resumes it.
    pub frozen: bool,
}

/// What to reset.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LearnedQuery {
    /// Id of a model; all models when absent.
    model: Option<String>,
}

/// Returns what was learned from finished runs.
#[utoipa::path(get, path = "/api/optimization/learned", tag = "optimization", responses((status = 200, body = LearnedView)))]
pub async fn learned(State(app): State<AppState>, _: Caller) -> Answer<Json<LearnedView>> {
    show(&app).await
}

/// Pauses or resumes learning. Requires an admin key.
#[utoipa::path(
    put, path = "/api/optimization/learned", tag = "optimization", request_body = LearnedChange,
    responses(
        (status = 200, body = LearnedView),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "The key is not an admin key"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "A field is invalid"),
    )
)]
pub(crate) async fn freeze(
    State(app): State<AppState>,
    caller: Caller,
    JsonBody(change): JsonBody<LearnedChange>,
) -> Answer<Json<LearnedView>> {
    admins_only(&caller)?;
    app.store.freeze_learning(change.frozen).await.map_err(problem)?;
    show(&app).await
}

/// Resets what was learned. Later runs are learned from again. Requires an admin key.
#[utoipa::path(
    delete, path = "/api/optimization/learned", tag = "optimization", params(LearnedQuery),
    responses(
        (status = 200, body = LearnedView),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "The key is not an admin key"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "A parameter is invalid"),
    )
)]
pub async fn reset(
    State(app): State<AppState>,
    caller: Caller,
    QueryString(query): QueryString<LearnedQuery>,
) -> Answer<Json<LearnedView>> {
    admins_only(&caller)?;
    app.store.reset_learning(query.model.as_deref()).await.map_err(problem)?;
    show(&app).await
}

async fn show(app: &App) -> Answer<Json<LearnedView>> {
    let Learning { learned, .. } = app.store.learning::<Learned>().await.map_err(problem)?;
    let switches = app.planner().switches;
    let group = |group: optimizer::LearnedGroup| LearnedGroupView {
        model: group.model_id,
        quality_tier: group.requested,
        complexity: group.complexity,
        lower_by: group.lower_by,
        runs: group.runs,
    };
    Ok(Json(LearnedView {
        enabled: switches.adaptive_steps && switches.learned_steps,
        frozen: learned.frozen,
        groups: learned.groups.into_iter().map(group).collect(),
    }))
}

fn admins_only(caller: &Caller) -> Answer<()> {
    match caller.role {
        Role::Admin => Ok(()),
        Role::User => {
            Err(Problem::new(ProblemKind::Forbidden, "changing what the fleet has learned requires an admin key"))
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "map_err passes the error by value")]
fn problem(error: StoreError) -> Problem {
    Problem::from_store(&error)
}
