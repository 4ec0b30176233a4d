//! The page: the built files of `web/`, served from a folder named in the settings.
//!
//! File names under `assets/` carry a hash of their content and are cached for ever; `index.html` is asked for again each
//! time, so that a new version shows at the next load. The page's own places get `index.html`; any other path without a file
//! is a JSON 404, so that a client which asks for an API that this server does not have gets an error and not a page.

use std::path::Path;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use tower::ServiceExt;
use tower_http::services::{ServeDir, ServeFile};

use crate::problem::{Problem, ProblemKind};

/// The places that the page routes itself, without a slash at the end: `web/src/app/router.ts` has the same list.
const PLACES: [&str; 4] = ["", "/dashboard", "/usage", "/webhooks"];

fn nothing_here() -> Response {
    Problem::new(ProblemKind::NotFound, "nothing is served at this path; GET /api/docs lists what is").into_response()
}

/// Adds the page as the fallback of everything that is not a route.
pub fn serve<S: Clone + Send + Sync + 'static>(router: Router<S>, web_dir: &Path, prefix: &str) -> Router<S> {
    let index = web_dir.join("index.html");
    // Without a prefix the file is served as it is, with its compressed copy.
    let html =
        (!prefix.is_empty()).then(|| std::fs::read_to_string(&index).map(|html| crate::prefix::page(&html, prefix)));
    let html = html.and_then(Result::ok);
    if !index.is_file() {
        tracing::warn!(web_dir = %web_dir.display(), "the page is not built; serving the API only");
        return router.fallback(|request: Request| async move {
            let built = request.uri().path() == "/";
            if built {
                return Problem::new(ProblemKind::NotFound, "the page is not built; run `make build`").into_response();
            }
            nothing_here()
        });
    }
    let files = ServeDir::new(web_dir).precompressed_gzip();
    let index = ServeFile::new(index);
    let pages = move |request: Request| {
        let (files, index, html) = (files.clone(), index.clone(), html.clone());
        async move {
            let known_method = request.method() == Method::GET || request.method() == Method::HEAD;
            let path = request.uri().path();
            let is_place = PLACES.contains(&path.trim_end_matches('/'));
            let served = match (known_method, is_place) {
                (false, _) => return nothing_here(),
                (true, true) if html.is_some() => return Html(html.unwrap_or_default()).into_response(),
                (true, true) => index.oneshot(request).await,
                (true, false) => files.oneshot(request).await,
            };
            match served {
                Ok(response) if response.status() == StatusCode::NOT_FOUND => nothing_here(),
                Ok(response) => response.into_response(),
                Err(never) => match never {},
            }
        }
    };
    router.merge(Router::new().fallback(pages).layer(middleware::from_fn(cache)))
}

/// Middleware: hashed files are immutable, everything else is asked for again.
async fn cache(request: Request, next: Next) -> Response {
    let hashed = request.uri().path().starts_with("/assets/");
    let mut response = next.run(request).await;
    let is_page =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if response.status().is_success() {
        let value = if hashed && !is_page { "public, max-age=31536000, immutable" } else { "no-cache" };
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(value));
    }
    response
}
