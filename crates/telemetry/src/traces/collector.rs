//! The HTTP client that sends spans to the collector.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response, ResponseBodyTooLarge};
use reqwest::redirect::Policy;
use tokio::runtime::Handle;

/// Largest response that is read. A collector returns a few bytes.
const RESPONSE_MAX_BYTES: usize = 64 << 10;

/// A collector. It reports in the log when it becomes unreachable and when it can be reached again, each once.
#[derive(Debug)]
pub(super) struct Collector {
    http: reqwest::Client,
    /// The exporter's own thread has no async runtime.
    runtime: Handle,
    endpoint: String,
    failing: AtomicBool,
}

impl Collector {
    /// A client that waits at most `timeout` for a response.
    ///
    /// # Errors
    /// TLS cannot be set up.
    ///
    /// # Panics
    /// Outside of an async runtime.
    pub(super) fn new(endpoint: String, timeout: Duration) -> Result<Self, reqwest::Error> {
        // It fails only if another client has already installed one, which is equally good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder()
            .user_agent(concat!("hunyuan-fleet/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .timeout(timeout)
            .build()?;
        Ok(Self { http, runtime: Handle::current(), endpoint, failing: AtomicBool::new(false) })
    }

    fn note(&self, problem: Option<&str>) {
        let failed_before = self.failing.swap(problem.is_some(), Ordering::Relaxed);
        match problem {
            Some(error) if !failed_before => tracing::warn!(
                endpoint = self.endpoint,
                error,
                "the trace collector does not accept spans; they are dropped until it does, and jobs are not affected"
            ),
            None if failed_before => {
                tracing::info!(endpoint = self.endpoint, "the trace collector accepts spans again");
            }
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = self.runtime.spawn(send(self.http.clone(), request)).await?;
        let problem = match &sent {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("status {}", response.status())),
            Err(error) => Some(in_one_line(&**error)),
        };
        self.note(problem.as_deref());
        sent
    }
}

async fn send(http: reqwest::Client, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let mut response = http.execute(request.try_into()?).await?;
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await? {
        if body.len() + part.len() > RESPONSE_MAX_BYTES {
            return Err(Box::new(ResponseBodyTooLarge::new()));
        }
        body.extend_from_slice(&part);
    }
    let mut copied = Response::new(Bytes::from(body));
    *copied.status_mut() = response.status();
    *copied.headers_mut() = std::mem::take(response.headers_mut());
    Ok(copied)
}

/// An error with its causes: the outer one only says that a request failed.
fn in_one_line(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
