//! The page: the built files of `web/`, served from a folder named in the settings.
//!
//! File names under `assets/` carry a hash of their content and are cached for ever; `index.html` is asked for again each
//! time, so that a new version shows at the next load. Paths without a file get `index.html`: the page routes itself.

use std::path::Path;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tower::ServiceExt;
use tower_http::services::{ServeDir, ServeFile};

use crate::problem::{Problem, ProblemKind};

/// Adds the page as the fallback of everything outside `/api`.
pub fn serve<S: Clone + Send + Sync + 'static>(router: Router<S>, web_dir: &Path) -> Router<S> {
    let index = web_dir.join("index.html");
    if !index.is_file() {
        tracing::warn!(web_dir = %web_dir.display(), "no built page here; only the API is served");
        return router.fallback(|request: Request| async move {
            let built = request.uri().path() == "/";
            let detail =
                if built { "the page is not built; run `make build`" } else { "there is nothing at this path" };
            Problem::new(ProblemKind::NotFound, detail)
        });
    }
    let files = ServeDir::new(web_dir).precompressed_gzip().fallback(ServeFile::new(index));
    let pages = move |request: Request| {
        let files = files.clone();
        async move {
            let path = request.uri().path();
            let known_method = request.method() == Method::GET || request.method() == Method::HEAD;
            if path.starts_with("/api/") || path == "/api" || !known_method {
                return Problem::new(ProblemKind::NotFound, "there is nothing at this path; see /api/docs")
                    .into_response();
            }
            match files.oneshot(request).await {
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
