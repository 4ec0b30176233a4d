//! `GET /api/openapi.json`, and the browsable documentation at `/api/docs`, which loads nothing from other sites.

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

/// The general part of the OpenAPI description.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "hunyuan-fleet",
        description = "Text-to-video generation on a fleet of workers. Submit with `POST /api/generate`, follow with \
                       `GET /api/jobs/{job_id}/events`, fetch with `GET /api/videos/{job_id}`. Errors are \
                       `application/problem+json` and name the invalid field.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    modifiers(&Security),
    tags(
        (name = "jobs", description = "Submit, list, cancel, retry and delete jobs"),
        (name = "events", description = "Changes and progress as server-sent events"),
        (name = "videos", description = "Finished videos and posters"),
        (name = "optimization", description = "Estimates, tiers and learned steps"),
        (name = "usage", description = "Costs, savings and budgets"),
        (name = "webhooks", description = "Notifications of other services"),
        (name = "images", description = "Pictures that videos begin from"),
        (name = "loras", description = "Adapters that requests may name"),
        (name = "fleet", description = "Models, workers, statistics, settings"),
        (name = "session", description = "Sign-in of the page"),
        (name = "health", description = "Probes and health"),
    )
)]
pub(crate) struct ApiDoc;

struct Security;

impl Modify for Security {
    fn modify(&self, openapi: &mut OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An API key")).build();
        components.add_security_scheme("key", SecurityScheme::Http(bearer));
        let cookie = ApiKeyValue::with_description(
            COOKIE,
            "The session cookie of a signed-in page; requests that change something also need X-CSRF-Token",
        );
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
        let none: [String; 0] = [];
        openapi.security = Some(vec![
            SecurityRequirement::default(),
            SecurityRequirement::new("key", none.clone()),
            SecurityRequirement::new("session", none),
        ]);
    }
}

/// The description before any route is added.
#[must_use]
pub fn base() -> OpenApi {
    ApiDoc::openapi()
}

/// Adds the responses that any operation may return, because middleware and extractors create them.
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
                add(operation, "415", "The content type is not JSON");
            }
            if guarded {
                add(operation, "401", "The key is missing, unknown or revoked");
            }
            if guarded && changes {
                add(operation, "403", "The request was sent by another site's page, or without the page's CSRF token");
            }
            add(operation, "408", "The request took too long");
            add(operation, "500", "Internal error; it is logged under the response's x-request-id");
            add(operation, "503", "The database is unavailable");
        }
    }
}

fn add(operation: &mut Operation, status: &str, description: &str) {
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("ProblemBody"))).build();
    let response = ResponseBuilder::new().description(description).content("application/problem+json", body).build();
    // A handler's own description of a status is more specific, so it is kept.
    operation.responses.responses.entry(status.to_owned()).or_insert_with(|| response.into());
}

/// Adds the routes of the description and its documentation page.
pub fn serve<S: Clone + Send + Sync + 'static>(router: Router<S>, document: &OpenApi, prefix: &str) -> Router<S> {
    let json: Arc<str> = document.to_json().expect("the document serialises; this is a bug").into();
    let answer = move || {
        let json = Arc::clone(&json);
        async move {
            ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], json.to_string()).into_response()
        }
    };
    let page =
        SwaggerUi::new(DOCS_PATH).config(Config::from(format!("{prefix}/api/openapi.json")).validator_url("none"));
    router.route("/api/openapi.json", get(answer)).merge(page)
}
