//! `/metrics`, `/livez` and `/readyz` for processes that serve nothing else over HTTP.

use std::future::IntoFuture;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::Health;

/// The port cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; set another metrics_port, or 0 for any free port")]
pub struct AdminError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Serves until `until` is cancelled. Returns the address, which is also logged. `render` returns the metrics as text.
///
/// # Errors
/// [`AdminError`] if the port is in use or not allowed.
pub async fn serve_admin<F>(
    bind: IpAddr,
    port: u16,
    health: Health,
    render: F,
    until: CancellationToken,
) -> Result<SocketAddr, AdminError>
where
    F: Fn() -> String + Send + Sync + 'static,
{
    let address = SocketAddr::new(bind, port);
    let listener = TcpListener::bind(address).await.map_err(|source| AdminError { address, source })?;
    let address = listener.local_addr().map_err(|source| AdminError { address, source })?;
    let served = axum::serve(listener, routes(health, Arc::new(render)));
    tokio::spawn(served.with_graceful_shutdown(until.cancelled_owned()).into_future());
    tracing::info!(%address, "serving /metrics, /livez and /readyz");
    Ok(address)
}

fn routes(health: Health, render: Arc<dyn Fn() -> String + Send + Sync>) -> Router {
    let alive = health.clone();
    let answer = |trouble: Option<String>| match trouble {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    };
    Router::new()
        .route("/livez", get(move || async move { answer(alive.broken()) }))
        .route("/readyz", get(move || async move { answer(health.not_ready()) }))
        .route(
            "/metrics",
            get(move || async move { ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], render()).into_response() }),
        )
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;

    async fn status(health: &Health, path: &str) -> StatusCode {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        routes(health.clone(), Arc::new(String::new)).oneshot(request).await.expect("a response").status()
    }

    #[tokio::test]
    async fn probes_report_the_state_of_the_parts() {
        let health = Health::new();
        let part = health.part("model");
        assert_eq!(status(&health, "/livez").await, StatusCode::OK);
        assert_eq!(status(&health, "/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
        part.ok();
        assert_eq!(status(&health, "/readyz").await, StatusCode::OK);
        part.broken("gone");
        assert_eq!(status(&health, "/livez").await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status(&health, "/metrics").await, StatusCode::OK);
    }
}
