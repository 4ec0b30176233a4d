//! Requests to the server. Every request is safe to repeat (submissions carry an idempotency key), so each is repeated with
//! growing pauses while the server cannot be reached or is unavailable: a restart of the API is only a delay. The first failed try
//! of an outage is reported.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

use crate::config::Target;
use crate::failure::{Failure, from_response};
use crate::out::Out;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest wait for a whole JSON response.
const RESPONSE: Duration = Duration::from_secs(60);
/// Longest silence within a stream or a download. The API sends a `ping` after 15 s without another event.
const SILENCE: Duration = Duration::from_secs(45);
/// Longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A client of one server.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    http: Client,
    server: String,
    patience: Duration,
    out: Out,
    told: Arc<Told>,
}

/// What was reported already.
#[derive(Debug, Default)]
struct Told {
    /// The present outage.
    away: AtomicBool,
    /// That the server is busy. Once is enough: a batch meets a full backlog all the time.
    busy: AtomicBool,
}

/// What limits how often a request is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tries {
    /// One try, for callers that repeat by themselves.
    One,
    /// As long as the patience lasts.
    Patient,
    /// The same, and while the server says that it has no room yet (429, full backlog) without a limit.
    UntilRoom,
}

/// What one try resulted in.
enum Outcome {
    Done(Response),
    Final(Failure),
    /// Worth another try, after the pause that the server asks for.
    Again(Failure, Option<Duration>),
}

impl Api {
    /// A client of the server. Outages are reported to `out`.
    pub(crate) fn new(target: &Target, patience: Duration, out: Out) -> Result<Self, Failure> {
        let mut headers = HeaderMap::new();
        if let Some(key) = &target.key {
            let mut value = HeaderValue::try_from(format!("Bearer {key}"))
                .map_err(|_| Failure::Usage("the key contains characters that no key has".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let http = Client::builder()
            .user_agent(concat!("fleet/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            // A redirected POST would silently become a GET.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Failure::Local(format!("cannot prepare HTTP: {}", reason(&error))))?;
        Ok(Self { http, server: target.server.clone(), patience, out, told: Arc::default() })
    }

    /// The address of the server.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// The same client, with another patience.
    pub(crate) fn with_patience(&self, patience: Duration) -> Self {
        Self { patience, ..self.clone() }
    }

    /// GET, as JSON.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, Failure> {
        json(self.send(Tries::Patient, |api| api.request(Method::GET, path).timeout(RESPONSE)).await?).await
    }

    /// POST without a body. Only for actions that may be repeated, such as a cancellation.
    pub(crate) async fn post(&self, path: &str) -> Result<Value, Failure> {
        json(self.send(Tries::Patient, |api| api.request(Method::POST, path).timeout(RESPONSE)).await?).await
    }

    /// The same with a JSON body.
    pub(crate) async fn send_json(&self, method: Method, path: &str, body: &Value) -> Result<Value, Failure> {
        let call = |api: &Self| api.request(method.clone(), path).timeout(RESPONSE).json(body);
        json(self.send(Tries::Patient, call).await?).await
    }

    /// GET, as text.
    pub(crate) async fn text(&self, path: &str) -> Result<String, Failure> {
        let response = self.send(Tries::Patient, |api| api.request(Method::GET, path).timeout(RESPONSE)).await?;
        let read = response.text().await;
        read.map_err(|error| Failure::Unreachable { server: self.server.clone(), reason: reason(&error) })
    }

    /// POST without a body; repeating it with the same key acts once.
    pub(crate) async fn post_once(&self, path: &str, key: &str) -> Result<Value, Failure> {
        let call = |api: &Self| api.request(Method::POST, path).timeout(RESPONSE).header("Idempotency-Key", key);
        json(self.send(Tries::Patient, call).await?).await
    }

    /// Submits a request; repeating it with the same key gives the same job.
    pub(crate) async fn submit(&self, request: &Value, key: &str, tries: Tries) -> Result<Value, Failure> {
        let call = |api: &Self| {
            api.request(Method::POST, "/api/generate").timeout(RESPONSE).header("Idempotency-Key", key).json(request)
        };
        json(self.send(tries, call).await?).await
    }

    /// Stores a picture; repeating it with the same file gives the same picture.
    pub(crate) async fn upload(&self, picture: &[u8]) -> Result<Value, Failure> {
        let call = |api: &Self| {
            let request = api.request(Method::POST, "/api/images").timeout(RESPONSE);
            request.header(CONTENT_TYPE, "application/octet-stream").body(picture.to_vec())
        };
        json(self.send(Tries::Patient, call).await?).await
    }

    /// A response whose body the caller reads.
    pub(crate) async fn open(&self, tries: Tries, path: &str, headers: &HeaderMap) -> Result<Response, Failure> {
        self.send(tries, |api| api.request(Method::GET, path).headers(headers.clone())).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.server))
    }

    async fn send(&self, tries: Tries, call: impl Fn(&Self) -> RequestBuilder) -> Result<Response, Failure> {
        let deadline = Instant::now() + self.patience;
        let mut pause = Duration::from_millis(100);
        loop {
            let (failure, asked) = match self.outcome(call(self).send().await).await {
                Outcome::Done(response) => {
                    self.told.away.store(false, Ordering::Relaxed);
                    return Ok(response);
                }
                Outcome::Final(failure) => return Err(failure),
                Outcome::Again(failure, asked) => (failure, asked),
            };
            let unlimited = tries == Tries::UntilRoom && matches!(failure, Failure::Busy(_)) && asked.is_some();
            // Half of the pause at least, so that many clients do not come back at the same moment.
            let wait = asked.unwrap_or(pause).mul_f64(rand::random_range(0.5..1.0)).max(asked.unwrap_or_default());
            if tries == Tries::One || (!unlimited && Instant::now() + wait > deadline) {
                return Err(failure);
            }
            self.tell(&failure, unlimited);
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Says why nothing happens, once.
    fn tell(&self, failure: &Failure, unlimited: bool) {
        let (told, what) = match failure {
            Failure::Unreachable { server, reason } => {
                (&self.told.away, format!("{server} cannot be reached ({reason})"))
            }
            Failure::Busy(reason) => (&self.told.busy, format!("the server is busy ({reason})")),
            _ => return,
        };
        if told.swap(true, Ordering::Relaxed) {
            return;
        }
        let until = if unlimited {
            "until there is room".to_owned()
        } else {
            format!("for up to {} s (--patience-s)", self.patience.as_secs())
        };
        self.out.hint(&format!("{what}; trying again {until}"));
    }

    async fn outcome(&self, sent: Result<Response, reqwest::Error>) -> Outcome {
        let response = match sent {
            Ok(response) => response,
            Err(error) => {
                let failure = Failure::Unreachable { server: self.server.clone(), reason: reason(&error) };
                return if error.is_builder() { Outcome::Final(failure) } else { Outcome::Again(failure, None) };
            }
        };
        let status = response.status();
        if status.is_success() {
            return Outcome::Done(response);
        }
        if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
            let to = response.headers().get("location").and_then(|to| to.to_str().ok()).unwrap_or("another address");
            return Outcome::Final(Failure::Usage(format!("{} redirects to {to}; use that address", self.server)));
        }
        let asked = retry_after(response.headers());
        let body = response.text().await.unwrap_or_default();
        let failure = from_response(status.as_u16(), &body);
        // After a 408 nobody knows whether the request took effect, as after a lost response.
        let temporary = matches!(status.as_u16(), 408 | 429 | 502..=504);
        if temporary { Outcome::Again(failure, asked) } else { Outcome::Final(failure) }
    }
}

/// The pause that the server asks for, in seconds; dates are not used by the API.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<u64>().ok()?;
    Some(Duration::from_secs(seconds.min(3_600)))
}

async fn json(response: Response) -> Result<Value, Failure> {
    let server = response.url().origin().ascii_serialization();
    response.json().await.map_err(|error| {
        let reason = format!("the response is not JSON ({}); is this the address of a fleet?", reason(&error));
        Failure::Unreachable { server, reason }
    })
}

/// The innermost cause, which says what happened; the outer ones only say during what.
pub(crate) fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it did not respond in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// A path with query parameters.
pub(crate) fn with_query<'a>(path: &str, fields: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(fields);
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_submission_that_timed_out_is_repeated_with_its_key() {
        drop(rustls::crypto::ring::default_provider().install_default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let target = Target { server, key: None, key_source: "none" };
        let api = Api::new(&target, Duration::from_secs(60), Out { json: true, quiet: true }).unwrap();
        let serving = async {
            let mut keys = Vec::new();
            for status in ["408 Request Timeout", "202 Accepted"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request: Vec<u8> = Vec::new();
                // The body is the only part that holds a brace.
                while !request.ends_with(b"}") {
                    assert!(stream.read_buf(&mut request).await.unwrap() > 0, "the request is complete");
                }
                let request = String::from_utf8(request).unwrap();
                keys.extend(request.lines().find(|line| line.starts_with("idempotency-key")).map(str::to_owned));
                let response = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}");
                stream.write_all(response.as_bytes()).await.unwrap();
            }
            keys
        };
        let request = serde_json::json!({"prompt": "a cat"});
        let (keys, submitted) = tokio::join!(serving, api.submit(&request, "once", Tries::Patient));
        assert_eq!(submitted, Ok(serde_json::json!({})));
        assert_eq!(keys, ["idempotency-key: once"; 2]);
    }
}
