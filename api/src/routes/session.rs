//! `/api/session`: sign-in of the page with an API key.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use store::keys::Role;
use utoipa::ToSchema;

use crate::auth::proxies::OverHttps;
use crate::auth::{Caller, Proof, cross_site, secret, session};
use crate::extract::JsonBody;
use crate::problem::{Answer, Problem, ProblemBody, ProblemKind};
use crate::state::AppState;

/// A sign-in request.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignIn {
    /// An API key.
    key: String,
}

/// The current session.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionView {
    /// Whether this fleet requires keys.
    pub keys_required: bool,
    /// Whether the caller may see the whole fleet.
    pub admin: bool,
    /// Send this as `X-CSRF-Token` with every request that changes something; null when it is not needed.
    pub csrf_token: Option<String>,
}

/// Returns the current session. The status is 401 if the fleet requires keys and the caller is not signed in.
#[utoipa::path(
    get, path = "/api/session", tag = "session",
    responses(
        (status = 200, body = SessionView),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "Not signed in"),
    )
)]
pub async fn show(State(app): State<AppState>, caller: Caller) -> Json<SessionView> {
    let csrf_token = match caller.proof {
        Proof::Session { csrf, .. } => Some(csrf),
        Proof::Key(_) | Proof::NotAsked => None,
    };
    Json(SessionView { keys_required: app.keys_required, admin: caller.role == Role::Admin, csrf_token })
}

/// Signs in: exchanges a key for a session cookie that scripts cannot read.
#[utoipa::path(
    post, path = "/api/session", tag = "session", request_body = SignIn,
    responses(
        (status = 200, body = SessionView, description = "Signed in; the cookie is set"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json", description = "The key is unknown or revoked"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "The request was sent by another site's page"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "A field is invalid"),
    )
)]
pub(crate) async fn sign_in(
    State(app): State<AppState>,
    headers: HeaderMap,
    over_https: Option<Extension<OverHttps>>,
    JsonBody(sign_in): JsonBody<SignIn>,
) -> Answer<Response> {
    // Another site could otherwise sign a user in with an attacker's key, and the attacker would then see the user's prompts.
    if cross_site::from_another_site(&headers) {
        return Err(Problem::new(
            ProblemKind::CrossSite,
            "this request came from another site; sign in on the fleet's own page",
        ));
    }
    if !app.keys_required {
        let view = SessionView { keys_required: false, admin: true, csrf_token: None };
        return Ok(Json(view).into_response());
    }
    let key = app.keys.find(&secret::hash(sign_in.key.trim())).await.map_err(|error| Problem::from_store(&error))?;
    let key = key.ok_or_else(|| Problem::new(ProblemKind::Unauthenticated, "this key is unknown or revoked"))?;
    let (value, csrf) = (secret::random_hex(), secret::random_hex());
    let server = &app.settings.server;
    #[expect(clippy::cast_precision_loss, reason = "a setting of seconds")]
    let ttl_s = server.session_ttl_s as f64;
    app.store
        .open_session(&secret::hash(&value), key.key_id, &csrf, ttl_s)
        .await
        .map_err(|error| Problem::from_store(&error))?;
    let secure = server.cookie_secure || over_https.is_some();
    let cookie = session::set_cookie(&value, server.session_ttl_s, secure);
    let view = SessionView { keys_required: true, admin: key.role == Role::Admin, csrf_token: Some(csrf) };
    Ok(([(header::SET_COOKIE, cookie)], Json(view)).into_response())
}

/// Signs out: ends the session and removes the cookie.
#[utoipa::path(delete, path = "/api/session", tag = "session", responses((status = 204, description = "Signed out")))]
pub(crate) async fn sign_out(State(app): State<AppState>, _: Caller, headers: HeaderMap) -> Answer<Response> {
    if let Some(value) = session::cookie(&headers) {
        app.store.close_session(&secret::hash(&value)).await.map_err(|error| Problem::from_store(&error))?;
    }
    let cookie = session::clear_cookie(app.settings.server.cookie_secure);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}
