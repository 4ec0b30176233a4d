//! `GET /api/openapi.json` and the browsable page at `/api/docs`, which needs nothing from the network.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::get;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi, SecurityRequirement};
use utoipa::{Modify, OpenApi as _};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::auth::session::COOKIE;
use crate::headers::DOCS_PATH;

/// What stands above the routes.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "hunyuan-fleet",
        description = "Text to video on a fleet of workers. Submit with `POST /api/generate`, follow with \
                       `GET /api/jobs/{job_id}/events`, fetch with `GET /api/videos/{job_id}`. Errors are \
                       `application/problem+json` and name the field.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    modifiers(&Security),
    tags(
        (name = "jobs", description = "Submit, watch, stop, hide"),
        (name = "events", description = "What happens, pushed"),
        (name = "videos", description = "What was made"),
        (name = "optimization", description = "What a prompt will cost and why"),
        (name = "fleet", description = "Models, workers, statistics, settings"),
        (name = "session", description = "The page's sign-in"),
        (name = "health", description = "For probes and people"),
    )
)]
pub struct ApiDoc;

struct Security;

impl Modify for Security {
    fn modify(&self, openapi: &mut OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An API key")).build();
        components.add_security_scheme("key", SecurityScheme::Http(bearer));
        let cookie = ApiKeyValue::with_description(COOKIE, "A signed-in page; changes also need X-CSRF-Token");
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
        let none: [String; 0] = [];
        openapi.security = Some(vec![
            SecurityRequirement::default(),
            SecurityRequirement::new("key", none.clone()),
            SecurityRequirement::new("session", none),
        ]);
    }
}

/// The document before any route is added.
#[must_use]
pub fn base() -> OpenApi {
    ApiDoc::openapi()
}

/// Adds the document and its page.
pub fn serve<S: Clone + Send + Sync + 'static>(router: Router<S>, document: &OpenApi) -> Router<S> {
    let json: Arc<str> = document.to_json().expect("the document serialises; this is a bug").into();
    let answer = move || {
        let json = Arc::clone(&json);
        async move {
            ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], json.to_string()).into_response()
        }
    };
    let page = SwaggerUi::new(DOCS_PATH).config(Config::from("/api/openapi.json").validator_url("none"));
    router.route("/api/openapi.json", get(answer)).merge(page)
}
