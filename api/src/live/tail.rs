//! Reads the fleet's events once, for all streams of the process.
//!
//! It is idle while there is no listener. A listener is attached only after the reader has determined its own position. Events up
//! to that position are part of the listener's replay, and later ones come through the channel, so there is no gap.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use domain::{EventCursor, JobEvent, JobId, Preview, Progress, Stage};
use store::events::EventScope;
use store::jobs::Scope;
use store::{Store, StoreError};
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Something to send to streams.
#[derive(Debug, Clone)]
pub enum Item {
    /// A change of state.
    State(Arc<JobEvent>),
    /// Progress of a running job.
    Progress(Progress),
    /// A picture of a running job. Shared, because it is larger than everything else.
    Preview(Arc<Preview>),
}

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
    items: broadcast::Sender<Item>,
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
        let (items, _) = broadcast::channel(options.buffer.max(16));
        let (attach, attaching) = mpsc::channel(64);
        let tail = Self { items: items.clone(), wake: Arc::new(Notify::new()), attach };
        let reader = Reader {
            store,
            items,
            wake: Arc::clone(&tail.wake),
            options,
            broker_up,
            place: None,
            told: HashMap::new(),
        };
        tokio::spawn(reader.run(attaching, stop));
        tail
    }

    /// Reports that something has happened. Several calls lead to a single read.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Passes progress to all streams.
    pub fn progress(&self, progress: Progress) {
        // Sending fails if there is no listener, which is not an error.
        let _ = self.items.send(Item::Progress(progress));
    }

    /// Passes a preview to all streams.
    pub(crate) fn preview(&self, preview: Preview) {
        let _ = self.items.send(Item::Preview(Arc::new(preview)));
    }

    /// Starts to listen. The caller must read from the store everything that was committed before this returns.
    ///
    /// # Errors
    /// The store's error, if the current position cannot be read.
    pub async fn listen(&self) -> Result<broadcast::Receiver<Item>, Arc<StoreError>> {
        let receiver = self.items.subscribe();
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
    items: broadcast::Sender<Item>,
    wake: Arc<Notify>,
    options: TailOptions,
    broker_up: watch::Receiver<bool>,
    /// Cursor of the last event read; `None` while there is no listener.
    place: Option<EventCursor>,
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
            if self.items.receiver_count() == 0 {
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
            self.place = Some(self.store.events_from_now().await.map_err(Arc::new)?);
        }
        Ok(())
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
            self.place = Some(last.cursor);
            told += events.len();
            for event in events {
                let _ = self.items.send(Item::State(Arc::new(event)));
            }
        }
    }

    /// Sends progress from the job rows. Used while the broker is unavailable.
    async fn read_progress(&mut self) {
        let running = match self.running().await {
            Ok(running) => running,
            Err(error) => {
                tracing::debug!(error = %error, "cannot read progress");
                return;
            }
        };
        self.told.retain(|job_id, _| running.iter().any(|progress| progress.job_id == *job_id));
        for progress in running {
            let now = (progress.stage, progress.step);
            if self.told.insert(progress.job_id, now) != Some(now) {
                let _ = self.items.send(Item::Progress(progress));
            }
        }
    }

    /// Progress of all jobs that workers are running, from their rows.
    async fn running(&self) -> Result<Vec<Progress>, StoreError> {
        let held: Vec<JobId> = self.store.workers().await?.into_iter().flat_map(|worker| worker.job_ids).collect();
        let jobs = self.store.get_many(Scope::Fleet, &held).await?;
        Ok(jobs
            .into_iter()
            .filter_map(|job| {
                Some(Progress {
                    job_id: job.id,
                    tenant_id: job.tenant_id,
                    stage: job.stage?,
                    step: job.step,
                    steps: job.plan.map_or(0, |plan| plan.steps),
                    skipped: job.steps_skipped,
                    remaining_s: None,
                })
            })
            .collect())
    }
}
