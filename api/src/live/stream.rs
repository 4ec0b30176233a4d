//! One client's event stream: what it missed, then what is new.
//!
//! Events: `state` (a change of a job; carries an id for `Last-Event-ID`), `progress` and `preview` (no id, may be lost), `ready` (the replay is
//! complete; its id is the position to resume from even if nothing has happened yet), `ping` (no id; first of all, and after each silence:
//! a client that misses it has lost its connection). The stream of one job ends with the job. A client that reconnects after that gets
//! 204, upon which EventSource stops reconnecting.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use domain::{EventCursor, JobEvent, JobId, Preview, Progress, TenantId};
use futures::StreamExt as _;
use store::Store;
use store::events::EventScope;
use store::jobs::Scope as Tenants;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::access::AccessGuard;
use super::channels::Item;
use super::places::StreamPlace;
use super::tail::Tail;
use crate::problem::{Answer, Problem};

fn holds(scope: EventScope, job_id: JobId, tenant_id: TenantId) -> bool {
    match scope {
        EventScope::Fleet => true,
        EventScope::Tenant(tenant) => tenant == tenant_id,
        EventScope::Job(job) => job == job_id,
    }
}

/// What a stream needs besides its scope.
#[derive(Debug)]
pub struct StreamOptions {
    /// The last event that the client received. With `None` the stream starts now, or for one job at its first event.
    pub after: Option<EventCursor>,
    /// Longest silence before a `ping`.
    pub keepalive: Duration,
    /// Most events read at once during the replay.
    pub page: u32,
    /// Ends the stream when cancelled.
    pub stop: CancellationToken,
    /// Counts the stream; free again when the stream ends.
    pub place: StreamPlace,
    /// Ends the stream when its key is revoked or its sign-in ends.
    pub access: AccessGuard,
}

/// Number of events buffered for a slow client before its stream waits for it.
const WAITING_MAX: usize = 64;

/// Opens a stream.
///
/// # Errors
/// 503 if the database is unavailable.
pub async fn open(store: Store, tail: &Tail, scope: EventScope, options: StreamOptions) -> Answer<Response> {
    // 1. Listen before reading. Events committed in between are then received twice, and the cursor filters out the second copy;
    //    in the other order they would be lost.
    let items = tail.listen(scope).await.map_err(|error| Problem::from_store(&error))?;
    let start = match (options.after, scope) {
        (Some(after), _) => after,
        (None, EventScope::Job(_)) => EventCursor::default(),
        (None, _) => store.events_from_now().await.map_err(|error| Problem::from_store(&error))?,
    };
    // 2. Read the first page before responding, so that the response for a job that has ended can be 204.
    let (out, events) = mpsc::channel(WAITING_MAX);
    let feed = Feed { store, scope, place: start, reader: tail.passed(), page: options.page, out, over: false };
    let first = feed.read_page().await.map_err(|error| Problem::from_store(&error))?;
    if first.is_empty() && options.after.is_some() && feed.job_is_over().await? {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    // 3. Send events until the client disconnects, the job ends or the process stops.
    tokio::spawn(async move {
        tokio::select! {
            () = options.stop.cancelled() => {}
            () = options.access.ended().cancelled_owned() => {}
            () = feed.out.clone().closed_by_client() => {}
            () = feed.run(first, items) => {}
        }
        drop((options.place, options.access));
    });
    let keepalive = KeepAlive::new().interval(options.keepalive).event(ping());
    let events = futures::stream::iter([Ok(ping())]).chain(ReceiverStream::new(events));
    let mut response = Sse::new(events).keep_alive(keepalive).into_response();
    // Some proxies buffer responses unless this header forbids it; events would then arrive late.
    response.headers_mut().insert("x-accel-buffering", axum::http::HeaderValue::from_static("no"));
    Ok(response)
}

/// Shows that the connection works. A browser does not show comments to its page, and it drops events without data.
fn ping() -> Event {
    Event::default().event("ping").data("{}")
}

type Out = mpsc::Sender<Result<Event, Infallible>>;

/// Waits until the client has disconnected.
trait ClosedByClient {
    async fn closed_by_client(self);
}

impl ClosedByClient for Out {
    async fn closed_by_client(self) {
        self.closed().await;
    }
}

struct Feed {
    store: Store,
    scope: EventScope,
    /// Cursor of the last event that was sent.
    place: EventCursor,
    /// The position that the process's reader has passed: what came before is not sent again.
    reader: watch::Receiver<EventCursor>,
    page: u32,
    out: Out,
    /// The job has ended, and the event that says so was sent.
    over: bool,
}

impl Feed {
    async fn run(mut self, first: Vec<JobEvent>, mut items: broadcast::Receiver<Item>) {
        if !self.replay(first).await || self.over {
            return;
        }
        let ready = Event::default().event("ready").id(self.place.to_string()).data("{}");
        if self.out.send(Ok(ready)).await.is_err() {
            return;
        }
        loop {
            let going = match items.recv().await {
                Ok(Item::State(event)) => self.tell(&event).await,
                Ok(Item::Progress(progress)) => self.tell_progress(&progress).await,
                Ok(Item::Preview(preview)) => self.tell_preview(&preview),
                // The client was too slow for the channel. What was missed is read from the database; `tell` skips what the
                // channel then repeats.
                Err(broadcast::error::RecvError::Lagged(_)) => self.catch_up().await,
                Err(broadcast::error::RecvError::Closed) => false,
            };
            if !going || self.over {
                return;
            }
        }
    }

    async fn read_page(&self) -> Result<Vec<JobEvent>, store::StoreError> {
        let reader = *self.reader.borrow();
        self.store.events_after_reader(self.scope, self.place, reader, self.page).await
    }

    /// Sends a page of events and all that follow. Returns false if the client has disconnected or the database is unavailable.
    async fn replay(&mut self, mut page: Vec<JobEvent>) -> bool {
        while let Some(last) = page.last() {
            let (ended, at) = (last.kind.is_terminal(), last.cursor);
            for event in &page {
                if !self.tell(event).await {
                    return false;
                }
            }
            // The job may have ended and been retried since, so only its last event decides whether it has ended.
            self.over = false;
            page = match self.read_page().await {
                Ok(page) => page,
                Err(error) => {
                    tracing::debug!(error = %error, "event stream ends: cannot read its events");
                    return false;
                }
            };
            self.over = page.is_empty() && ended && matches!(self.scope, EventScope::Job(_)) && self.place == at;
        }
        true
    }

    async fn catch_up(&mut self) -> bool {
        match self.read_page().await {
            Ok(page) => self.replay(page).await,
            // Ending the stream loses nothing, because the client reconnects with its last id.
            Err(_) => false,
        }
    }

    /// Whether an event was already sent. Events of one job are ordered by `seq` alone, so only `seq` is compared for them.
    fn has_told(&self, event: &JobEvent) -> bool {
        match self.scope {
            EventScope::Job(_) => event.cursor.seq <= self.place.seq,
            EventScope::Tenant(_) | EventScope::Fleet => event.cursor <= self.place,
        }
    }

    async fn tell(&mut self, event: &JobEvent) -> bool {
        if !holds(self.scope, event.job_id, event.tenant_id) || self.has_told(event) {
            return true;
        }
        self.place = event.cursor;
        self.over = event.kind.is_terminal() && matches!(self.scope, EventScope::Job(_));
        let data = serde_json::json!({
            "job_id": event.job_id, "kind": event.kind, "detail": event.detail, "at": event.at,
        });
        let message = Event::default().event("state").id(event.cursor.to_string()).data(data.to_string());
        self.out.send(Ok(message)).await.is_ok()
    }

    async fn tell_progress(&mut self, progress: &Progress) -> bool {
        if !holds(self.scope, progress.job_id, progress.tenant_id) {
            return true;
        }
        let data = serde_json::json!({
            "job_id": progress.job_id, "stage": progress.stage, "step": progress.step, "steps": progress.steps,
            "skipped": progress.skipped, "remaining_s": progress.remaining_s,
        });
        let message = Event::default().event("progress").data(data.to_string());
        // Progress is dropped for a client that is too slow for it; only state events wait.
        !matches!(self.out.try_send(Ok(message)), Err(mpsc::error::TrySendError::Closed(_)))
    }

    fn tell_preview(&mut self, preview: &Preview) -> bool {
        if !holds(self.scope, preview.job_id, preview.tenant_id) {
            return true;
        }
        let data = serde_json::json!({
            "job_id": preview.job_id, "step": preview.step, "steps": preview.steps,
            "image": format!("data:image/webp;base64,{}", preview.webp),
        });
        let message = Event::default().event("preview").data(data.to_string());
        // As progress: a client that is too slow for it gets the next one.
        !matches!(self.out.try_send(Ok(message)), Err(mpsc::error::TrySendError::Closed(_)))
    }

    async fn job_is_over(&self) -> Answer<bool> {
        let EventScope::Job(job_id) = self.scope else { return Ok(false) };
        let job = self.store.get(Tenants::Fleet, job_id).await.map_err(|error| Problem::from_store(&error))?;
        Ok(job.is_none_or(|job| job.status.is_terminal()))
    }
}

/// Errors of the tail are shared by its listeners, hence the [`Arc`].
impl From<Arc<store::StoreError>> for Problem {
    fn from(error: Arc<store::StoreError>) -> Self {
        Self::from_store(&error)
    }
}
