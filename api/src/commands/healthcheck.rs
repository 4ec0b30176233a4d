//! `api healthcheck`: checks whether the server on this machine is ready. For container images without a shell or curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, bail};
use settings::Settings;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest time to wait for the response.
const PATIENCE: Duration = Duration::from_secs(3);

/// Requests `/readyz`.
///
/// # Errors
/// The server does not respond in time, or not with status 200.
pub async fn ask(settings: &Settings) -> anyhow::Result<()> {
    let server = &settings.server;
    // A server that listens on all addresses is reachable at the loopback address.
    let address = match server.bind {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let status = timeout(PATIENCE, status_line(SocketAddr::new(address, server.port)))
        .await
        .context("no response from the server")??;
    if status.split(' ').nth(1) == Some("200") { Ok(()) } else { bail!("not ready: {status}") }
}

/// Sends the request and returns the status line. Written by hand, because this needs nothing else of an HTTP client.
async fn status_line(address: SocketAddr) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await.with_context(|| format!("connect to {address}"))?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.context("send the request")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.context("read the response")?;
    let text = String::from_utf8_lossy(&answer);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
