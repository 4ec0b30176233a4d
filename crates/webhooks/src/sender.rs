//! One attempt to deliver a message.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::guard::Guard;
use crate::secret::SigningSecret;

/// What happened to a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The same in every attempt; receivers use it to recognise a repetition.
    pub id: Uuid,
    /// The job.
    pub job_id: Uuid,
    /// Kind of event, such as `completed`.
    pub kind: String,
    /// Small facts about it.
    pub detail: Value,
    /// When it happened.
    pub at: DateTime<Utc>,
}

impl Message {
    /// The body: the same bytes in every attempt. It has no prompt and no result, which receivers read with their key.
    #[must_use]
    pub fn body(&self) -> String {
        let job = format!("/api/jobs/{}", self.job_id);
        json!({
            "type": format!("job.{}", self.kind),
            "timestamp": self.at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
            "data": { "job_id": self.job_id, "kind": self.kind, "detail": self.detail, "job": job },
        })
        .to_string()
    }
}

/// Result of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// 2xx.
    Delivered(u16),
    /// 410: the receiver wants nothing more.
    Gone,
    /// Another status.
    Refused {
        /// The status.
        status: u16,
        /// The pause that the receiver asks for.
        wait: Option<Duration>,
    },
    /// No response.
    Failed(String),
}

/// Sends messages.
#[derive(Debug, Clone)]
pub struct Sender {
    http: Client,
    guard: Arc<Guard>,
}

impl Sender {
    /// A sender that waits at most `timeout` for a receiver.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(guard: Guard, timeout: Duration) -> Result<Self, reqwest::Error> {
        // It fails only if another client has already installed one, which is equally good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let guard = Arc::new(guard);
        let http = Client::builder()
            .user_agent(concat!("hunyuan-fleet/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .no_proxy()
            .timeout(timeout)
            .dns_resolver(Arc::new(Resolver(Arc::clone(&guard))))
            .build()?;
        Ok(Self { http, guard })
    }

    /// Sends the message, signed with each of the secrets.
    pub async fn send(&self, url: &str, message: &Message, secrets: &[SigningSecret], now: DateTime<Utc>) -> Attempt {
        let url = match Url::parse(url) {
            Ok(url) => url,
            Err(error) => return Attempt::Failed(format!("the URL is invalid: {error}")),
        };
        // The resolver is not asked about a host that is an address already.
        if let Some(address) = literal(&url)
            && !self.guard.permits(address)
        {
            return Attempt::Failed(forbidden(&address.to_string()));
        }
        let (id, timestamp, body) = (message.id.to_string(), now.timestamp(), message.body());
        let signatures: Vec<_> = secrets.iter().map(|secret| secret.sign(&id, timestamp, &body)).collect();
        let request = self
            .http
            .post(url)
            .header("content-type", "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signatures.join(" "))
            .body(body);
        match request.send().await {
            Ok(response) => read(response.status().as_u16(), response.headers()),
            Err(error) => Attempt::Failed(reason(&error)),
        }
    }
}

fn literal(url: &Url) -> Option<std::net::IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn read(status: u16, headers: &HeaderMap) -> Attempt {
    let seconds = |value: &HeaderValue| value.to_str().ok()?.trim().parse().ok();
    match status {
        200..=299 => Attempt::Delivered(status),
        410 => Attempt::Gone,
        _ => Attempt::Refused { status, wait: headers.get(RETRY_AFTER).and_then(seconds).map(Duration::from_secs) },
    }
}

fn forbidden(what: &str) -> String {
    format!("{what} is an internal address; webhooks.allowed_addresses lists those that may be called")
}

/// The innermost cause.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no response in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Resolves names and leaves out the addresses that must not be called. The connection is made to what this returns, so there
/// is no second resolution that could have another result.
struct Resolver(Arc<Guard>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = Arc::clone(&self.0);
        Box::pin(async move {
            let name = name.as_str().to_owned();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let permitted: Vec<SocketAddr> = found.into_iter().filter(|address| guard.permits(address.ip())).collect();
            if permitted.is_empty() {
                return Err(forbidden(&name).into());
            }
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}
