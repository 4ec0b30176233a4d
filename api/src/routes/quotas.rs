//! `/api/quota` and `/api/keys`: how much GPU time a key may use in a day.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use domain::KeyId;
use store::keys::Role;
use store::quotas::Quota;

use crate::auth::Caller;
use crate::dto::queue::{KeyListView, QuotaBody, QuotaView};
use crate::extract::JsonBody;
use crate::problem::{Answer, Problem, ProblemBody, ProblemKind};
use crate::state::AppState;

/// Returns the quota of the caller's key and how much of it is taken.
#[utoipa::path(
    get, path = "/api/quota", tag = "session",
    responses(
        (status = 200, body = QuotaView),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "This fleet uses no keys, so there are no quotas"),
    )
)]
pub(crate) async fn own_quota(State(app): State<AppState>, caller: Caller) -> Answer<Json<QuotaView>> {
    let key_id = caller.key_id().ok_or_else(no_keys)?;
    let state = app.store.quota_state(key_id).await.map_err(|error| Problem::from_store(&error))?;
    let state = state.ok_or_else(no_keys)?;
    Ok(Json(QuotaView::new(&state, app.settings.cost.gpu_hour_usd)))
}

fn no_keys() -> Problem {
    Problem::new(ProblemKind::NotFound, "quotas belong to API keys, and this request was made without one")
}

/// Lists all keys with their quotas, without their secrets. Requires an admin key.
#[utoipa::path(
    get, path = "/api/keys", tag = "session",
    responses(
        (status = 200, body = KeyListView),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "The key is not an admin key"),
    )
)]
pub(crate) async fn list_keys(State(app): State<AppState>, caller: Caller) -> Answer<Json<KeyListView>> {
    admins_only(&caller)?;
    let keys = app.store.list_keys(None).await.map_err(|error| Problem::from_store(&error))?;
    Ok(Json(KeyListView { keys: keys.into_iter().map(Into::into).collect() }))
}

/// Sets the quota of a key; a limit that is null or left out is removed. Requires an admin key. It takes effect within a second.
#[utoipa::path(
    put, path = "/api/keys/{key_id}/quota", tag = "session", request_body = QuotaBody,
    params(("key_id" = uuid::Uuid, Path)),
    responses(
        (status = 200, body = QuotaBody),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "The key is not an admin key"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json", description = "The key does not exist or is revoked"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "A field is invalid"),
    )
)]
pub(crate) async fn set_quota(
    State(app): State<AppState>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
    JsonBody(body): JsonBody<QuotaBody>,
) -> Answer<Json<QuotaBody>> {
    admins_only(&caller)?;
    for (field, value) in [("gpu_seconds_per_day", body.gpu_seconds_per_day), ("usd_per_day", body.usd_per_day)] {
        if value.is_some_and(|value| !(0.0..f64::INFINITY).contains(&value)) {
            return Err(Problem::field(field, "must be 0 or more, or null for no limit"));
        }
    }
    let unknown =
        || Problem::new(ProblemKind::NotFound, "there is no active key with this id; GET /api/keys lists all");
    let key_id: KeyId = id.ok().and_then(|Path(text)| text.parse().ok()).ok_or_else(unknown)?;
    let quota = Quota { gpu_s: body.gpu_seconds_per_day, usd: body.usd_per_day };
    match app.store.set_quota(key_id, quota).await.map_err(|error| Problem::from_store(&error))? {
        true => Ok(Json(body)),
        false => Err(unknown()),
    }
}

fn admins_only(caller: &Caller) -> Answer<()> {
    match caller.role {
        Role::Admin => Ok(()),
        Role::User => Err(Problem::new(ProblemKind::Forbidden, "keys and their quotas require an admin key")),
    }
}
