//! Every path of the API, on one screen.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::HeaderName;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use settings::Settings;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::observe::observe;
use crate::problem::{Problem, ProblemKind};
use crate::state::AppState;
use crate::{auth, deadline, headers, openai, routes as r};

/// Routes that require an authenticated caller.
fn of_callers(picture_body_max: usize) -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(r::openapi::base())
        .routes(routes!(r::batch::batch))
        .routes(routes!(r::jobs::list_jobs))
        .routes(routes!(r::job::get_job, r::trash::delete_job))
        .routes(routes!(r::trash::restore_job))
        .routes(routes!(r::cancel::cancel_job))
        .routes(routes!(r::retry::retry_job))
        .routes(routes!(r::replay::replay_job, r::replay::get_replay))
        .routes(routes!(r::runs::job_runs))
        .routes(routes!(r::proceed::continue_job))
        .routes(routes!(r::queue::move_job))
        .routes(routes!(r::queue::show))
        .routes(routes!(r::queue::pause))
        .routes(routes!(r::queue::resume))
        .routes(routes!(r::quotas::own_quota))
        .routes(routes!(r::quotas::list_keys))
        .routes(routes!(r::quotas::set_quota))
        .routes(routes!(r::groups::get_group))
        .routes(routes!(r::groups::cancel_group))
        .routes(routes!(r::preview::preview))
        .routes(routes!(r::events::job_events))
        .routes(routes!(r::events::all_events))
        .routes(routes!(r::videos::video))
        .routes(routes!(r::videos::poster))
        .routes(routes!(r::analyze::analyze))
        .routes(routes!(r::tiers::tiers))
        .routes(routes!(r::learned::learned, r::learned::freeze, r::learned::reset))
        .routes(routes!(r::models::models))
        .routes(routes!(r::loras::list_loras))
        .routes(routes!(r::images::get_image, r::images::delete_image))
        .routes(routes!(r::images::thumbnail))
        .routes(routes!(r::loras::delete_lora))
        .routes(routes!(r::loras::share_lora))
        .routes(routes!(r::workers::workers))
        .routes(routes!(r::webhooks::list, r::webhooks::put))
        .routes(routes!(r::webhooks::delete))
        .routes(routes!(r::webhooks::secret))
        .routes(routes!(r::webhooks::rotate))
        .routes(routes!(r::webhook_log::list))
        .routes(routes!(r::webhook_log::redeliver))
        .routes(routes!(r::stats::stats))
        .routes(routes!(r::stats::series))
        .routes(routes!(r::usage::usage))
        .routes(routes!(r::budgets::list, r::budgets::put))
        .routes(routes!(r::budgets::delete))
        .routes(routes!(r::settings::settings))
        .routes(routes!(r::session::show, r::session::sign_out))
        .merge(uploads())
        .merge(with_pictures(picture_body_max))
        .route("/metrics", get(r::metrics::metrics))
        .merge(openai::routes(picture_body_max))
}

/// Routes that take files, and check their length themselves.
fn uploads() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(r::loras::put_lora)).layer(DefaultBodyLimit::disable())
}

/// Routes whose body may hold a picture, and is larger than that of others.
fn with_pictures(body_max: usize) -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(r::generate::generate))
        .routes(routes!(r::images::put_image))
        .layer(DefaultBodyLimit::max(body_max))
}

/// Largest body that may hold a picture: it is a third longer as base64, and the request around it is small.
fn picture_body_max(settings: &Settings) -> usize {
    const AROUND: usize = 1 << 20;
    let text = settings.limits.image_bytes_max.saturating_mul(4).div_ceil(3).saturating_add(AROUND);
    text.max(settings.server.body_max_bytes)
}

/// Routes without authentication.
fn of_everybody() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(r::session::sign_in))
        .routes(routes!(r::health::health))
        .routes(routes!(r::health::livez))
        .routes(routes!(r::health::readyz))
}

/// The OpenAPI description of all routes.
#[must_use]
pub fn document() -> OpenApi {
    let (mut callers, mut everybody) = (of_callers(0).into_openapi(), of_everybody().into_openapi());
    r::openapi::add_common_answers(&mut callers, true);
    r::openapi::add_common_answers(&mut everybody, false);
    callers.merge_from(everybody)
}

/// The complete service.
pub fn router(state: AppState) -> Router {
    let guarded = of_callers(picture_body_max(&state.settings))
        .route_layer(from_fn_with_state(AppState::clone(&state), auth::guard));
    let (router, _) = guarded.merge(of_everybody()).split_for_parts();
    let prefix = state.settings.server.path_prefix.clone();
    let mut described = document();
    crate::prefix::describe(&mut described, &prefix);
    let router = r::openapi::serve(router, &described, &prefix);
    let router = r::page::serve(router, &state.settings.server.web_dir, &prefix);
    let id = HeaderName::from_static("x-request-id");
    // The first layer is the outermost. Request ids come first, so that every response has one, even one that another layer
    // creates; panics are caught inside the header and log layers, so that their responses are complete, too.
    let layers = ServiceBuilder::new()
        .layer(SetRequestIdLayer::new(id.clone(), MakeRequestUuid))
        .layer(PropagateRequestIdLayer::new(id))
        .layer(from_fn_with_state(state.clone(), observe))
        .layer(from_fn_with_state(AppState::clone(&state), auth::proxies::unwrap_proxy))
        .layer(from_fn_with_state(AppState::clone(&state), auth::cors::share))
        .layer(from_fn(headers::secure))
        .layer(from_fn(openai::translate))
        .layer(from_fn_with_state(AppState::clone(&state), auth::known_host))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(AppState::clone(&state), deadline::limit))
        .layer(DefaultBodyLimit::max(state.settings.server.body_max_bytes));
    let router = router.method_not_allowed_fallback(method_not_allowed).layer(layers).with_state(state);
    crate::prefix::serve(router, &prefix)
}

async fn method_not_allowed(request: Request) -> Problem {
    let detail = format!("{} is not supported at this path; see /api/docs", request.method());
    Problem::new(ProblemKind::MethodNotAllowed, detail)
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that the layer requires")]
fn panicked(panic: Box<dyn std::any::Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    Problem::internal("a handler panicked", &text).into_response()
}
