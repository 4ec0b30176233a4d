//! Reads the fleet's events once, for all streams of the process.
//!
//! It is idle while there is no listener. A listener is attached only after the reader has determined its own position. Events up
//! to that position are part of the listener's replay, which reads at least that far, and later ones come through the channel, so
//! there is no gap.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use domain::{EventCursor, JobId, Preview, Progress, Stage};
use store::events::EventScope;
use store::{Store, StoreError};
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::channels::{Channels, Item};

/// Most jobs whose progress is read from the rows at once, while RabbitMQ is unavailable.
const PROGRESS_MAX: u32 = 1_000;

/// Options of the tail.
#[derive(Debug, Clone, Copy)]
pub struct TailOptions {
    /// Interval at which it polls when nothing wakes it.
    pub poll: Duration,
    /// Most events read at once.
    pub page: u32,
    /// Number of items that a slow listener may lag behind before it has to read the database itself.
    pub buffer: usize,
}

/// A handle on the tail.
#[derive(Debug, Clone)]
pub struct Tail {
    channels: Channels,
    passed: watch::Receiver<EventCursor>,
    wake: Arc<Notify>,
    attach: mpsc::Sender<oneshot::Sender<Result<(), Arc<StoreError>>>>,
}

impl Tail {
    /// Starts the reader. While `broker_up` is false, it reads progress from the job rows.
    #[must_use]
    pub fn start(
        store: Store,
        broker_up: watch::Receiver<bool>,
        options: TailOptions,
        stop: CancellationToken,
    ) -> Self {
        let channels = Channels::new(options.buffer);
        let (attach, attaching) = mpsc::channel(64);
        let (passing, passed) = watch::channel(EventCursor::default());
        let tail = Self { channels: channels.clone(), passed, wake: Arc::new(Notify::new()), attach };
        let reader = Reader {
            store,
            channels,
            wake: Arc::clone(&tail.wake),
            options,
            broker_up,
            place: None,
            passing,
            told: HashMap::new(),
        };
        tokio::spawn(reader.run(attaching, stop));
        tail
    }

    /// Reports that something has happened. Several calls lead to a single read.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Passes progress to the streams that show its job.
    pub fn progress(&self, progress: Progress) {
        self.channels.send(&Item::Progress(progress));
    }

    /// Passes a preview to the streams that show its job.
    pub(crate) fn preview(&self, preview: Preview) {
        self.channels.send(&Item::Preview(Arc::new(preview)));
    }

    /// The position that this reader has passed last. What it sends later comes after it.
    pub(crate) fn passed(&self) -> watch::Receiver<EventCursor> {
        self.passed.clone()
    }

    /// Starts to listen to what is in scope. The caller must read from the store everything that was committed before this returns,
    /// at least up to [`Tail::passed`].
    ///
    /// # Errors
    /// The store's error, if the current position cannot be read.
    pub async fn listen(&self, scope: EventScope) -> Result<broadcast::Receiver<Item>, Arc<StoreError>> {
        let receiver = self.channels.subscribe(scope);
        let (done, ready) = oneshot::channel();
        // Both fail only when the process stops, and then the receiver ends, too.
        if self.attach.send(done).await.is_ok()
            && let Ok(outcome) = ready.await
        {
            outcome?;
        }
        Ok(receiver)
    }
}

struct Reader {
    store: Store,
    channels: Channels,
    wake: Arc<Notify>,
    options: TailOptions,
    broker_up: watch::Receiver<bool>,
    /// Cursor of the last event read; `None` while there is no listener.
    place: Option<EventCursor>,
    /// Shows the place to the listeners.
    passing: watch::Sender<EventCursor>,
    /// Progress that was last sent for each job while the broker was unavailable, so that only changes are sent.
    told: HashMap<JobId, (Stage, u32)>,
}

/// Interval after which it reads again if it was woken and found nothing. The event is then committed, but an older transaction
/// is still open, and events are only visible in order.
const IMPATIENT: Duration = Duration::from_millis(10);

impl Reader {
    async fn run(
        mut self,
        mut attaching: mpsc::Receiver<oneshot::Sender<Result<(), Arc<StoreError>>>>,
        stop: CancellationToken,
    ) {
        let wake = Arc::clone(&self.wake);
        let mut pause = self.options.poll;
        loop {
            let woken = tokio::select! {
                () = stop.cancelled() => return,
                asked = attaching.recv() => match asked {
                    Some(done) => { let _ = done.send(self.begin().await); continue }
                    None => return,
                },
                () = wake.notified() => true,
                () = tokio::time::sleep(pause) => false,
            };
            if !self.channels.has_listeners() {
                self.place = None;
                self.told.clear();
                pause = self.options.poll;
                continue;
            }
            let told = self.read().await;
            pause = match (told, woken) {
                (0, true) => IMPATIENT,
                (0, false) => (pause * 2).min(self.options.poll),
                _ => self.options.poll,
            };
            if !woken && !*self.broker_up.borrow() {
                self.read_progress().await;
            }
        }
    }

    /// Sets the position to the newest event, unless it is already reading.
    async fn begin(&mut self) -> Result<(), Arc<StoreError>> {
        if self.place.is_none() {
            self.pass(self.store.events_from_now().await.map_err(Arc::new)?);
        }
        Ok(())
    }

    fn pass(&mut self, place: EventCursor) {
        self.place = Some(place);
        self.passing.send_replace(place);
    }

    /// Sends all new events. Returns their number.
    async fn read(&mut self) -> usize {
        let mut told = 0;
        loop {
            let Some(place) = self.place else { return told };
            let events = match self.store.events_after(EventScope::Fleet, place, self.options.page).await {
                Ok(events) => events,
                Err(error) => {
                    tracing::warn!(error = %error, "cannot read events; streams continue when the database is available again");
                    return told;
                }
            };
            let Some(last) = events.last() else { return told };
            // Before they are sent: a listener that comes in between reads these events itself.
            self.pass(last.cursor);
            told += events.len();
            for event in events {
                self.channels.send(&Item::State(Arc::new(event)));
            }
        }
    }

    /// Sends progress from the job rows. Used while the broker is unavailable.
    async fn read_progress(&mut self) {
        // Two intervals, so that nothing is missed if a read is late.
        let within_s = 2.0 * self.options.poll.as_secs_f64();
        let running = match self.store.recent_progress(within_s, PROGRESS_MAX).await {
            Ok(running) => running,
            Err(error) => {
                tracing::debug!(error = %error, "cannot read progress");
                return;
            }
        };
        let mut told = HashMap::with_capacity(running.len());
        for progress in running {
            let now = (progress.stage, progress.step);
            told.insert(progress.job_id, now);
            if self.told.get(&progress.job_id) != Some(&now) {
                self.channels.send(&Item::Progress(progress));
            }
        }
        self.told = told;
    }
}
