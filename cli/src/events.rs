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
                        self.pause = Duration::ZERO;
                        self.ready.extend(messages);
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
