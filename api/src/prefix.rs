//! The path below which a reverse proxy serves the fleet (`server.path_prefix`).
//!
//! Every route works with and without the prefix, so it does not matter whether the proxy removes it. Paths in JSON (`video.url`,
//! `links`) begin at the fleet's own root, which the API's description names as its server; the page adds the prefix to them.
//! `Location` headers are resolved by clients against the host, so they get it here.

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::Response;
use utoipa::openapi::{OpenApi, ServerBuilder};

/// Serves everything below the prefix, too.
pub(crate) fn serve(router: Router, prefix: &str) -> Router {
    if prefix.is_empty() {
        return router;
    }
    let owned = prefix.to_owned();
    let router = router.layer(map_response(move |response: Response| {
        let prefix = owned.clone();
        async move { with_location(response, &prefix) }
    }));
    Router::new().nest_service(prefix, router.clone()).fallback_service(router)
}

fn with_location(mut response: Response, prefix: &str) -> Response {
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    let prefixed = location.filter(|path| path.starts_with('/') && !path.starts_with("//"));
    if let Some(value) = prefixed.and_then(|path| HeaderValue::try_from(format!("{prefix}{path}")).ok()) {
        response.headers_mut().insert(header::LOCATION, value);
    }
    response
}

/// The description for clients behind the proxy.
pub(crate) fn describe(document: &mut OpenApi, prefix: &str) {
    if !prefix.is_empty() {
        document.servers = Some(vec![ServerBuilder::new().url(prefix).build()]);
    }
}

/// The page's HTML: its files lie below the prefix, and its code learns it from a meta element.
pub(crate) fn page(html: &str, prefix: &str) -> String {
    let html = html.replace("=\"/", &format!("=\"{prefix}/"));
    html.replacen("<head>", &format!("<head>\n    <meta name=\"path-prefix\" content=\"{prefix}\" />"), 1)
}

/// The pattern of a route without the prefix, so that metrics have the same labels everywhere.
pub(crate) fn strip<'a>(route: &'a str, prefix: &str) -> &'a str {
    route.strip_prefix(prefix).filter(|rest| rest.starts_with('/')).unwrap_or(route)
}
