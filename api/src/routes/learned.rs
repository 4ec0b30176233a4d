//! `/api/optimization/learned`: what finished runs taught of the steps that prompts need, to be read, frozen and reset.

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

/// What was learnt.
#[derive(Debug, Serialize, ToSchema)]
pub struct LearnedView {
    /// Whether plans use it (`optimization.learned_steps` and adaptive steps).
    pub enabled: bool,
    /// Whether nothing is learnt at present; what was learnt stays in force.
    pub frozen: bool,
    /// One entry for each kind of jobs that has had a run.
    pub groups: Vec<LearnedGroupView>,
}

/// What was learnt of one kind of jobs.
#[derive(Debug, Serialize, ToSchema)]
pub struct LearnedGroupView {
    /// The model's id.
    pub model: String,
    /// The tier as it was requested.
    pub quality_tier: QualityTier,
    /// The prompts' class.
    pub complexity: Complexity,
    /// Steps taken off what the prompt analysis gives; never out of the tier's range.
    pub lower_by: u32,
    /// Runs that taught it.
    pub runs: u64,
}

/// What to change.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LearnedChange {
    /// Whether to learn nothing more for now.
    pub frozen: bool,
}

/// What to forget.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LearnedQuery {
    /// A model's id; everything when absent.
    model: Option<String>,
}

/// Shows what was learnt.
#[utoipa::path(get, path = "/api/optimization/learned", tag = "optimization", responses((status = 200, body = LearnedView)))]
pub async fn learned(State(app): State<AppState>, _: Caller) -> Answer<Json<LearnedView>> {
    show(&app).await
}

/// Stops or resumes learning. For admins.
#[utoipa::path(
    put, path = "/api/optimization/learned", tag = "optimization", request_body = LearnedChange,
    responses(
        (status = 200, body = LearnedView),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "Not an admin"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "A field is wrong"),
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

/// Forgets what was learnt; runs from now on teach anew. For admins.
#[utoipa::path(
    delete, path = "/api/optimization/learned", tag = "optimization", params(LearnedQuery),
    responses(
        (status = 200, body = LearnedView),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "Not an admin"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "A parameter is wrong"),
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
        Role::User => Err(Problem::new(ProblemKind::Forbidden, "only admins change what the fleet has learnt")),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err gives it")]
fn problem(error: StoreError) -> Problem {
    Problem::from_store(&error)
}
