//! `GET /api/openapi.json` and the browsable page at `/api/docs`, which needs nothing from the network.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::get;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, ResponseBuilder, SecurityRequirement};
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
pub(crate) struct ApiDoc;

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

/// Describes the answers that are no operation's own: they come from what stands before every handler.
pub(crate) fn add_common_answers(document: &mut OpenApi, guarded: bool) {
    for item in document.paths.paths.values_mut() {
        for (operation, changes) in [
            (&mut item.get, false),
            (&mut item.post, true),
            (&mut item.put, true),
            (&mut item.patch, true),
            (&mut item.delete, true),
        ] {
            let Some(operation) = operation else { continue };
            if operation.request_body.is_some() {
                add(operation, "400", "The body is not a JSON object");
                add(operation, "413", "The body is larger than this server accepts");
                add(operation, "415", "The body is not declared as JSON");
            }
            if guarded {
                add(operation, "401", "No key, or one that is unknown or revoked");
            }
            if guarded && changes {
                add(operation, "403", "Sent by another site's page, or without the page's CSRF token");
            }
            add(operation, "408", "The request took too long");
            add(operation, "500", "A fault of the service; it is logged under the answer's x-request-id");
            add(operation, "503", "The database does not answer");
        }
    }
}

fn add(operation: &mut Operation, status: &str, description: &str) {
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("ProblemBody"))).build();
    let response = ResponseBuilder::new().description(description).content("application/problem+json", body).build();
    // What the handler itself says of a status is more exact.
    operation.responses.responses.entry(status.to_owned()).or_insert_with(|| response.into());
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
