//! One reader of the fleet's history for all streams of the process.
//!
//! While nobody listens it sleeps. A listener is attached only after the reader knows where "now" is, so everything
//! before that place is in the listener's own replay and everything after it comes through the channel: no gap.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use domain::{EventCursor, JobEvent, JobId, Progress, Stage};
use store::events::EventScope;
use store::jobs::Scope;
use store::{Store, StoreError};
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Something to tell.
#[derive(Debug, Clone)]
pub enum Item {
    /// A change of state.
    State(Arc<JobEvent>),
    /// How far a running job is.
    Progress(Progress),
}

/// How the tail reads.
#[derive(Debug, Clone, Copy)]
pub struct TailOptions {
    /// Pause between looks when nothing wakes it.
    pub poll: Duration,
    /// Events read at once.
    pub page: u32,
    /// Items that a slow listener may fall behind before it has to read the database itself.
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
    /// Starts the reader. `broker_up` says whether progress comes by message.
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

    /// Says that something happened; many calls are one look.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Passes on progress.
    pub fn progress(&self, progress: Progress) {
        // Nobody listening is no error.
        let _ = self.items.send(Item::Progress(progress));
    }

    /// Begins to listen. Whatever is committed before this returns is for the caller to read from the store.
    ///
    /// # Errors
    /// The store's, when the place of "now" cannot be found out.
    pub async fn listen(&self) -> Result<broadcast::Receiver<Item>, Arc<StoreError>> {
        let receiver = self.items.subscribe();
        let (done, ready) = oneshot::channel();
        // Both fail only when the process stops; the receiver then ends by itself.
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
    /// How far it has read; `None` while nobody listens.
    place: Option<EventCursor>,
    /// Progress told from rows while the broker is away, so that only changes are told.
    told: HashMap<JobId, (Stage, u32)>,
}

/// Looks again this soon when it was woken and saw nothing: the event is committed but an older transaction is still
/// open, and events are read in order.
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

    /// Fixes the place of "now", unless it is already reading.
    async fn begin(&mut self) -> Result<(), Arc<StoreError>> {
        if self.place.is_none() {
            self.place = Some(self.store.events_from_now().await.map_err(Arc::new)?);
        }
        Ok(())
    }

    /// Tells everything that has become visible; returns how much that was.
    async fn read(&mut self) -> usize {
        let mut told = 0;
        loop {
            let Some(place) = self.place else { return told };
            let events = match self.store.events_after(EventScope::Fleet, place, self.options.page).await {
                Ok(events) => events,
                Err(error) => {
                    tracing::warn!(error = %error, "cannot read events; streams go on when the database is back");
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

    /// Progress from the rows, for as long as no message tells it.
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

    /// Progress of the jobs that workers hold, as their rows say.
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
