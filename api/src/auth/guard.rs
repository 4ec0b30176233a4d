//! The middleware before every route that concerns jobs: finds the caller or answers 401.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use subtle::ConstantTimeEq;

use super::cors;
use super::cross_site::{changes_something, from_another_site};
use super::{Caller, Proof, secret, session};
use crate::problem::{Problem, ProblemKind};
use crate::state::AppState;

/// Header that carries the CSRF token of a signed-in page.
const CSRF_HEADER: &str = "x-csrf-token";

/// Paths that probes call with whatever host they use. They reveal only whether the service is up.
const PROBES: [&str; 3] = ["/livez", "/readyz", "/api/health"];

/// Middleware: refuses unknown hosts while keys are off. With keys on, a page without the key can do nothing.
///
/// # Errors
/// 421 for an unknown host.
pub(crate) async fn known_host(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if !state.keys_required && !PROBES.contains(&request.uri().path()) {
        let invited = cors::allowed(&state.settings.server.cors_origins, request.headers()).is_some();
        state.hosts.check(request.uri(), request.headers(), invited)?;
    }
    Ok(next.run(request).await)
}

/// Middleware: puts a [`Caller`] into the request.
///
/// # Errors
/// 401 without a valid key or session, 403 for another site's page, 503 when the database cannot say.
pub(crate) async fn guard(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let caller = if state.keys_required {
        let caller = identify(&state, request.headers()).await?;
        check_csrf(&caller, request.method(), request.headers())?;
        caller
    } else {
        let invited = cors::allowed(&state.settings.server.cors_origins, request.headers()).is_some();
        if changes_something(request.method()) && !invited && from_another_site(request.headers()) {
            return Err(cross_site(
                "another site's page sent this request; to allow that site, add its origin to server.cors_origins",
            ));
        }
        Caller::anybody()
    };
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

/// Finds out who sends these headers.
async fn identify(state: &AppState, headers: &HeaderMap) -> Result<Caller, Problem> {
    if let Some(key) = bearer(headers)? {
        let found = state.keys.find(&secret::hash(key)).await.map_err(|error| Problem::from_store(&error))?;
        let found = found.ok_or_else(|| unauthenticated("this key is unknown or revoked"))?;
        return Ok(Caller { tenant_id: found.tenant_id, role: found.role, proof: Proof::Key(found.key_id) });
    }
    if let Some(cookie) = session::cookie(headers) {
        let id_hash = secret::hash(&cookie);
        let found = state.store.find_session(&id_hash).await.map_err(|error| Problem::from_store(&error))?;
        let found = found.ok_or_else(|| unauthenticated("the sign-in has ended; sign in again"))?;
        let proof = Proof::Session { key_id: found.key_id, id_hash, csrf: found.csrf };
        return Ok(Caller { tenant_id: found.tenant_id, role: found.role, proof });
    }
    Err(unauthenticated("send your key as 'Authorization: Bearer <key>', or sign in on the page"))
}

/// The key of `Authorization: Bearer <key>` (or `Key <key>`, as some clients send it).
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    match text.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("key") => {
            Ok(Some(key.trim()))
        }
        _ => Err(unauthenticated("the Authorization header must read 'Bearer <key>'")),
    }
}

fn check_csrf(caller: &Caller, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let Proof::Session { csrf, .. } = &caller.proof else { return Ok(()) };
    if !changes_something(method) {
        return Ok(());
    }
    let sent = headers.get(CSRF_HEADER).map(HeaderValue::as_bytes).unwrap_or_default();
    if bool::from(sent.ct_eq(csrf.as_bytes())) {
        Ok(())
    } else {
        Err(cross_site("send the X-CSRF-Token that GET /api/session returns"))
    }
}

fn cross_site(detail: &str) -> Problem {
    Problem::new(ProblemKind::CrossSite, detail)
}

fn unauthenticated(detail: &str) -> Problem {
    Problem::new(ProblemKind::Unauthenticated, detail)
        .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}
