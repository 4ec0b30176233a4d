//! Accepts connections and serves them, within limits that keep the process reachable.
//!
//! A connection on which no complete request arrives in time is closed, whether it sends nothing, half a header, or waits
//! between two requests. Beyond the limit of connections a client gets a 503, so that the process never runs out of files.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Pause after a connection could not be accepted, so that a process without free files does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Refusals that are sent at the same time; beyond that connections are closed without a response.
const REFUSALS_MAX: usize = 64;
/// Longest time that a refusal takes.
const REFUSAL_MAX: Duration = Duration::from_secs(1);

/// Limits of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Most connections at the same time.
    pub connections_max: usize,
    /// Longest time in which a complete request header must arrive.
    pub header_timeout: Duration,
}

/// Serves until `stop` is cancelled, then until all open requests are complete.
pub async fn serve(listener: TcpListener, router: Router, limits: ConnectionLimits, stop: CancellationToken) {
    let (places, refusals) = (Arc::new(Semaphore::new(limits.connections_max)), Arc::new(Semaphore::new(REFUSALS_MAX)));
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.header_timeout);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::debug!(%peer, "connection refused: server.connections_max are open");
            if let Ok(refusal) = Arc::clone(&refusals).try_acquire_owned() {
                tokio::spawn(async move {
                    // A client that does not read its refusal gets none.
                    drop(tokio::time::timeout(REFUSAL_MAX, refuse(stream)).await);
                    drop(refusal);
                });
            }
            continue;
        };
        // Small responses should not wait for the client's acknowledgement of earlier ones. Without it they are only slower.
        drop(stream.set_nodelay(true));
        let service = TowerToHyperService::new(of_peer(router.clone(), peer));
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, %error, "connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// The router for the requests of one connection, which carry the peer's address.
fn of_peer(
    router: Router,
    peer: SocketAddr,
) -> impl tower::Service<
    Request<Incoming>,
    Response = axum::response::Response,
    Error = std::convert::Infallible,
    Future: Send,
> + Clone {
    router.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.map(Body::new)
    })
}

/// Says that the server is full.
async fn refuse(mut stream: TcpStream) -> std::io::Result<()> {
    let body = r#"{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"this server has reached its limit of open connections (server.connections_max); try again in a moment"}"#;
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await?;
    // Closing a connection whose request was not read would discard the response on its way.
    let mut rest = [0; 4096];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}
