//! An event stream that reconnects by itself and continues where it was.
//!
//! Whenever it cannot be sure to have shown everything (it could not connect, or the stream ended), it returns
//! [`Signal::Look`], upon which the caller reads what it is interested in. While a stream cannot be opened at all, the caller
//! therefore polls: events are only a faster way to learn what the rows say.

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};

use crate::api::{Api, Tries};
use crate::failure::Failure;
use crate::sse::{Message, Parser};

/// Pause before the second try; later ones are longer.
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// Longest pause, and so the interval of polling.
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// The event that only shows that the connection works.
const PING: &str = "ping";

/// What a stream reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Signal {
    /// An event.
    Message(Message),
    /// Events may be late or missing: look at the rows.
    Look,
    /// The server says that there will be no more events.
    Over,
}

/// A stream.
pub(crate) struct Events {
    api: Api,
    path: String,
    last_id: Option<String>,
    body: Option<BoxStream<'static, Result<Vec<u8>, ()>>>,
    parser: Parser,
    ready: std::collections::VecDeque<Message>,
    pause: Duration,
}

impl Events {
    /// A stream of this path; connects with the first [`Events::next`].
    pub(crate) fn new(api: &Api, path: &str) -> Self {
        Self {
            api: api.clone(),
            path: path.to_owned(),
            last_id: None,
            body: None,
            parser: Parser::default(),
            ready: std::collections::VecDeque::new(),
            pause: Duration::ZERO,
        }
    }

    /// The next event, or the request to look.
    ///
    /// # Errors
    /// The server refuses the stream, and would again: the key is wrong, or the job does not exist.
    pub(crate) async fn next(&mut self) -> Result<Signal, Failure> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                if let Some(id) = &message.id {
                    self.last_id = Some(id.clone());
                }
                return Ok(Signal::Message(message));
            }
            let Some(body) = &mut self.body else {
                match self.connect().await? {
                    Some(signal) => return Ok(signal),
                    None => continue,
                }
            };
            match body.next().await {
                Some(Ok(chunk)) => match self.parser.push(&chunk) {
                    Ok(messages) => {
                        self.ready.extend(messages.into_iter().filter(|message| message.event != PING));
                        // A stream that only begins, and then ends, is no reason to connect faster.
                        if !self.ready.is_empty() {
                            self.pause = Duration::ZERO;
                        }
                    }
                    Err(_) => return Ok(self.disconnected()),
                },
                Some(Err(())) | None => return Ok(self.disconnected()),
            }
        }
    }

    fn disconnected(&mut self) -> Signal {
        self.body = None;
        self.parser = Parser::default();
        // A server that accepts and closes at once must not be asked in a tight loop.
        self.pause = self.pause.max(PAUSE_MIN);
        Signal::Look
    }

    /// One try. `None` if the stream is open.
    async fn connect(&mut self) -> Result<Option<Signal>, Failure> {
        tokio::time::sleep(self.pause.mul_f64(rand::random_range(0.5..1.0))).await;
        self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(id) = self.last_id.as_deref().and_then(|id| HeaderValue::try_from(id).ok()) {
            headers.insert("last-event-id", id);
        }
        let response = match self.api.open(Tries::One, &self.path, &headers).await {
            Ok(response) => response,
            Err(Failure::Unreachable { .. } | Failure::Busy(_)) => return Ok(Some(Signal::Look)),
            Err(other) => return Err(other),
        };
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(Some(Signal::Over));
        }
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("text/event-stream") {
            return Ok(Some(Signal::Look));
        }
        let body = response.bytes_stream().map(|chunk| chunk.map(|bytes| bytes.to_vec()).map_err(drop));
        self.body = Some(body.boxed());
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::config::Target;
    use crate::out::Out;

    const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n\
                          event: ping\ndata: {}\n\nevent: ready\nid: 7-1\ndata: {}\n\nevent: ping\ndata: {}\n\n";

    #[tokio::test]
    async fn pings_are_skipped_and_leave_the_position_alone() {
        drop(rustls::crypto::ring::default_provider().install_default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let target = Target { server, key: None, key_source: "none" };
        let api = Api::new(&target, Duration::ZERO, Out { json: true, quiet: true }).unwrap();
        let serving = async {
            let mut requests = Vec::new();
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request: Vec<u8> = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    assert!(stream.read_buf(&mut request).await.unwrap() > 0, "the request is complete");
                }
                stream.write_all(STREAM.as_bytes()).await.unwrap();
                requests.push(String::from_utf8(request).unwrap());
            }
            requests
        };
        let following = async {
            let mut events = Events::new(&api, "/api/events");
            let mut signals = Vec::new();
            for _ in 0..3 {
                signals.push(events.next().await.unwrap());
            }
            signals
        };
        let (requests, signals) = tokio::join!(serving, following);
        let ready = Message { event: "ready".to_owned(), id: Some("7-1".to_owned()), data: "{}".to_owned() };
        assert_eq!(signals, [Signal::Message(ready.clone()), Signal::Look, Signal::Message(ready)]);
        assert!(!requests[0].contains("last-event-id") && requests[1].contains("last-event-id: 7-1"), "{requests:?}");
    }
}
