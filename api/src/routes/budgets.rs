//! `/api/budgets`: what tenants may spend in a day or a month.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use domain::Budget;
use store::keys::Role;
use store::ledger::NewBudget;

use crate::auth::Caller;
use crate::dto::budget::{BudgetListView, BudgetView, PutBudget};
use crate::extract::JsonBody;
use crate::problem::{Answer, Problem, ProblemBody, ProblemKind};
use crate::state::AppState;

/// Lists the budgets of the caller's tenant, or of all tenants for admins, and what has been used of them.
#[utoipa::path(get, path = "/api/budgets", tag = "usage", responses((status = 200, body = BudgetListView)))]
pub(crate) async fn list(State(app): State<AppState>, caller: Caller) -> Answer<Json<BudgetListView>> {
    let found = app.store.budgets(caller.scope()).await.map_err(|error| Problem::from_store(&error))?;
    Ok(Json(BudgetListView { budgets: found.into_iter().map(BudgetView::from).collect() }))
}

/// Sets a tenant's budget for a period and a unit, replacing an earlier one. Requires an admin key.
///
/// When a run brings the tenant's spending to `warn_share` of the amount, the event `budget_warning` is sent, and `budget_spent` when
/// it reaches the amount; each once per period, to event streams and to webhooks that receive these kinds. If the budget stops,
/// submissions are then refused with 402 until the period ends. Jobs that were accepted before are rendered.
#[utoipa::path(
    put, path = "/api/budgets", tag = "usage", request_body = PutBudget,
    responses(
        (status = 200, body = BudgetView),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "The key is not an admin key"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "A field is invalid, or no tenant has this name"),
    )
)]
pub(crate) async fn put(
    State(app): State<AppState>,
    caller: Caller,
    JsonBody(body): JsonBody<PutBudget>,
) -> Answer<Json<BudgetView>> {
    admins_only(&caller)?;
    let PutBudget { tenant, period, unit, amount, warn_share, stops } = body;
    let budget = Budget { period, unit, amount, warn_share, stops };
    budget.check().map_err(|error| Problem::fields(vec![error]))?;
    let set = app.store.put_budget(&NewBudget { tenant: tenant.clone(), budget }).await;
    let state = set.map_err(|error| Problem::from_store(&error))?;
    app.budgets.forget().await;
    let unknown = || Problem::field("tenant", format!("there is no tenant '{tenant}'; `api keys list` shows them"));
    Ok(Json(state.ok_or_else(unknown)?.into()))
}

/// Deletes a budget. Requires an admin key.
#[utoipa::path(
    delete, path = "/api/budgets/{budget_id}", tag = "usage",
    params(("budget_id" = uuid::Uuid, Path)),
    responses(
        (status = 204, description = "Deleted"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "The key is not an admin key"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "The budget does not exist"),
    )
)]
pub(crate) async fn delete(
    State(app): State<AppState>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
) -> Answer<StatusCode> {
    admins_only(&caller)?;
    let unknown =
        || Problem::new(ProblemKind::NotFound, "there is no budget with this id; GET /api/budgets lists them");
    let id = id.ok().and_then(|Path(text)| text.parse().ok()).ok_or_else(unknown)?;
    let deleted = app.store.delete_budget(id).await.map_err(|error| Problem::from_store(&error))?;
    app.budgets.forget().await;
    if deleted { Ok(StatusCode::NO_CONTENT) } else { Err(unknown()) }
}

fn admins_only(caller: &Caller) -> Answer<()> {
    match caller.role {
        Role::Admin => Ok(()),
        Role::User => Err(Problem::new(ProblemKind::Forbidden, "changing budgets requires an admin key")),
    }
}
