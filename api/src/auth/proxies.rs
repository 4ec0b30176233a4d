//! What a trusted reverse proxy says about the original request.
//!
//! A proxy that keeps its defaults replaces the `Host` header by its own idea of this server, so the page's requests look like
//! another site's. `X-Forwarded-Host` and `X-Forwarded-Proto` say what the client really asked for. Anybody can send them, so
//! they count only if the connection comes from an address in `server.trusted_proxies`.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use settings::Network;

use crate::state::AppState;

/// Marks a request that reached the proxy over HTTPS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OverHttps;

/// Middleware: puts the original host into the `Host` header, and notes whether the client used HTTPS.
pub(crate) async fn unwrap_proxy(State(app): State<AppState>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    if peer.is_some_and(|peer| is_trusted(&app.settings.server.trusted_proxies, peer)) {
        let headers = request.headers_mut();
        if let Some(host) = first(headers, "x-forwarded-host") {
            headers.insert(header::HOST, host);
        }
        if first(headers, "x-forwarded-proto").is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https")) {
            request.extensions_mut().insert(OverHttps);
        }
    }
    next.run(request).await
}

fn is_trusted(networks: &[Network], peer: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(peer.to_canonical()))
}

/// The first value of a list: the one that the outermost proxy wrote.
fn first(headers: &HeaderMap, name: &str) -> Option<HeaderValue> {
    let value = headers.get(name)?.to_str().ok()?;
    let value = value.split(',').next()?.trim();
    if value.is_empty() { None } else { HeaderValue::from_str(value).ok() }
}
