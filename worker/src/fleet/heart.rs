//! The heartbeat: keeps leases alive while, and only while, their work lives.
//!
//! It runs on a thread and a database connection of its own, so that neither a busy model nor a busy runtime can starve
//! it. Rules:
//! - A lease counts from when its renewal was *sent*, on this process's monotonic clock; work stops before the database
//!   can give the job to another, however long an answer takes.
//! - No renewal without progress: when the model passes no check for `stall_s`, the GPU is wedged, and the job must be
//!   free to go elsewhere.
//! - No renewal for work that was told to stop and does not: it hangs somewhere.
//! - Messages stop nothing. A message that a job is to be cancelled makes the heartbeat read the row sooner, so a late,
//!   repeated or forged one changes nothing.
//! - A failed renewal is tried again until the lease runs out; Postgres may come back.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use domain::{JobId, LeaseToken, WorkerId};
use store::workers::WorkerState;
use store::{Lease, Store, StoreError};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::engine::Control;

/// Shortest time between two renewals that messages ask for.
const HINT_PAUSE: Duration = Duration::from_millis(250);

/// Why running work must stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// The user wants it stopped.
    Cancelled,
    /// The lease is another's, or could not be renewed in time: whatever is written now would be refused.
    LeaseLost,
    /// The model makes no progress.
    Stalled,
    /// The run has taken too many times its estimate.
    TooLong,
    /// This worker stops; the job goes back with its checkpoint.
    Draining,
}

/// Durations of the heartbeat.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rhythm {
    /// Length of a lease.
    pub(crate) lease: Duration,
    /// Time between two renewals.
    pub(crate) interval: Duration,
    /// Subtracted from the lease on this side: the worker stops this much earlier than the database lets go.
    pub(crate) margin: Duration,
    /// Longest time without a check of the model.
    pub(crate) stall: Duration,
}

/// One held lease.
struct Held {
    lease: Lease,
    control: Control,
    interrupt: watch::Sender<Option<Interrupt>>,
    interrupted_at: Option<Instant>,
    deadline: Instant,
    /// When the whole run has taken too long.
    too_long_at: Option<Instant>,
    /// Whether the model has a command of this job, so that it owes us checks.
    watched: bool,
    beats: u64,
    beaten_at: Instant,
}

impl Held {
    /// The first reason stands: a lost lease must not turn into a hand-back because a stop came later.
    fn interrupt(&mut self, why: Interrupt) {
        let changed = self.interrupt.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(why);
            }
            first
        });
        if changed {
            self.interrupted_at = Some(Instant::now());
            self.control.cancel();
        }
    }
}

type Leases = HashMap<LeaseToken, Held>;

/// Handle to the heartbeat. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Heart {
    leases: Arc<Mutex<Leases>>,
    rhythm: Rhythm,
    /// Whether the fleet still knows this worker; `false` asks for a new registration.
    known: Arc<watch::Sender<bool>>,
    draining: Arc<AtomicBool>,
    /// Asks for a renewal now.
    hint: Arc<Notify>,
}

/// A lease that the heartbeat keeps alive until this is dropped.
pub(crate) struct HeldLease {
    heart: Heart,
    token: LeaseToken,
    interrupt: watch::Receiver<Option<Interrupt>>,
}

impl HeldLease {
    /// Why the work must stop, if it must.
    pub(crate) fn interrupted(&self) -> Option<Interrupt> {
        *self.interrupt.borrow()
    }

    /// Expects the model to pass checks until the guard is dropped.
    pub(crate) fn watch_model(&self) -> WatchedModel<'_> {
        self.set_watched(true);
        WatchedModel { lease: self }
    }

    fn set_watched(&self, watched: bool) {
        if let Some(held) = self.heart.leases().get_mut(&self.token) {
            (held.watched, held.beaten_at) = (watched, Instant::now());
        }
    }

    /// Resolves when the work must stop.
    pub(crate) async fn until_interrupted(&self) -> Interrupt {
        let mut interrupt = self.interrupt.clone();
        loop {
            if let Some(why) = *interrupt.borrow_and_update() {
                return why;
            }
            if interrupt.changed().await.is_err() {
                return Interrupt::LeaseLost;
            }
        }
    }
}

/// As long as it lives, a model without a check counts as stalled.
pub(crate) struct WatchedModel<'a> {
    lease: &'a HeldLease,
}

impl Drop for WatchedModel<'_> {
    fn drop(&mut self) {
        self.lease.set_watched(false);
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        self.heart.leases().remove(&self.token);
    }
}

impl Heart {
    /// A heart that holds nothing yet; [`Heart::spawn`] makes it beat.
    pub(crate) fn new(rhythm: Rhythm) -> Self {
        Self {
            leases: Arc::default(),
            rhythm,
            known: Arc::new(watch::channel(true).0),
            draining: Arc::default(),
            hint: Arc::default(),
        }
    }

    /// Holds a lease whose claim was sent at `sent_at`, for a run that may last `limit`; `None` sets no limit.
    pub(crate) fn hold(&self, lease: Lease, control: &Control, sent_at: Instant, limit: Option<Duration>) -> HeldLease {
        let (sender, interrupt) = watch::channel(None);
        let held = Held {
            lease,
            control: control.clone(),
            interrupt: sender,
            interrupted_at: None,
            too_long_at: limit.and_then(|limit| sent_at.checked_add(limit)),
            deadline: sent_at + self.rhythm.lease - self.rhythm.margin,
            watched: false,
            beats: control.beats(),
            beaten_at: Instant::now(),
        };
        self.leases().insert(lease.token, held);
        HeldLease { heart: self.clone(), token: lease.token, interrupt }
    }

    /// Whether the fleet still knows this worker.
    pub(crate) fn known(&self) -> watch::Receiver<bool> {
        self.known.subscribe()
    }

    /// Longest time without a check of the model.
    pub(crate) fn stall(&self) -> Duration {
        self.rhythm.stall
    }

    /// Longest time in which a run stops after it was interrupted: the model passes a check within half of it.
    pub(crate) fn patience(&self) -> Duration {
        self.rhythm.stall.saturating_mul(2)
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Says that nothing new is taken, and interrupts every held lease.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.interrupt_all(Interrupt::Draining);
    }

    fn interrupt_all(&self, why: Interrupt) {
        self.leases().values_mut().for_each(|held| held.interrupt(why));
    }

    /// Reads the row of a job soon, if this worker holds it: a message says that its owner wants it stopped.
    pub(crate) fn look_at(&self, job_id: JobId) {
        if self.leases().values().any(|held| held.lease.job_id == job_id && held.interrupted_at.is_none()) {
            self.hint.notify_one();
        }
    }

    /// Starts the thread. `connect` makes its own database connection, on the thread's own runtime.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn spawn<F, C>(&self, worker: WorkerId, stop: CancellationToken, connect: C) -> anyhow::Result<()>
    where
        C: FnOnce() -> F + Send + 'static,
        F: Future<Output = anyhow::Result<Store>>,
    {
        let heart = self.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new()
            .name("heartbeat".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    match connect().await {
                        Ok(store) => heart.run(&store, worker, &stop).await,
                        // Without a heartbeat leases run out by the database's clock, and work ends by its own check.
                        Err(error) => error!(error = format!("{error:#}"), "heartbeat cannot reach the database"),
                    }
                });
            })
            .context("start the heartbeat's thread")?;
        Ok(())
    }

    async fn run(&self, store: &Store, worker: WorkerId, stop: &CancellationToken) {
        let tick = (self.rhythm.interval / 4).max(Duration::from_millis(20));
        let mut renew_at = Instant::now();
        let mut hints_from = renew_at;
        while !stop.is_cancelled() {
            self.check_deadlines();
            if Instant::now() >= renew_at {
                renew_at = Instant::now() + self.rhythm.interval;
                self.beat(store, worker).await;
            }
            tokio::select! {
                () = tokio::time::sleep(tick) => {}
                () = self.hint.notified(), if Instant::now() >= hints_from => {
                    renew_at = Instant::now();
                    hints_from = renew_at + HINT_PAUSE;
                }
                () = stop.cancelled() => {}
            }
        }
    }

    /// Stops what has outlived its lease or its model.
    fn check_deadlines(&self) {
        let now = Instant::now();
        for held in self.leases().values_mut() {
            let beats = held.control.beats();
            if beats != held.beats {
                (held.beats, held.beaten_at) = (beats, now);
            }
            if now >= held.deadline {
                held.interrupt(Interrupt::LeaseLost);
            }
            if held.too_long_at.is_some_and(|end| now >= end) {
                held.interrupt(Interrupt::TooLong);
            }
        }
    }

    async fn beat(&self, store: &Store, worker: WorkerId) {
        let now = Instant::now();
        let (patience, stall) = (self.patience(), self.rhythm.stall);
        let heeds = |held: &Held| held.interrupted_at.is_none_or(|at| now.duration_since(at) < patience);
        let (alive, stalled): (Vec<_>, Vec<_>) = self
            .leases()
            .values()
            .filter(|held| heeds(held))
            .map(|held| (held.lease, !held.watched || now.duration_since(held.beaten_at) < stall))
            .partition(|(_, progresses)| *progresses);
        for (lease, _) in stalled {
            if let Some(held) = self.leases().get_mut(&lease.token) {
                error!(job.id = %lease.job_id, "the model makes no progress; its lease is not renewed");
                held.interrupt(Interrupt::Stalled);
            }
        }
        for (lease, _) in &alive {
            self.renew(store, *lease).await;
        }
        let state = match (self.is_draining(), alive.is_empty()) {
            (true, _) => WorkerState::Draining,
            (false, true) => WorkerState::Ready,
            (false, false) => WorkerState::Busy,
        };
        let job_id = alive.first().map(|(lease, _)| lease.job_id);
        // One interval is all an answer gets: the next beat must not wait for a dead connection.
        match tokio::time::timeout(self.rhythm.interval, store.heartbeat(worker, state, job_id)).await {
            Ok(Ok(known)) => drop(self.known.send_replace(known)),
            Ok(Err(error)) => warn!(%error, "worker heartbeat failed"),
            Err(_) => warn!("worker heartbeat got no answer"),
        }
    }

    async fn renew(&self, store: &Store, lease: Lease) {
        let sent_at = Instant::now();
        let answer =
            tokio::time::timeout(self.rhythm.interval, store.renew(lease, self.rhythm.lease.as_secs_f64())).await;
        let mut leases = self.leases();
        let Some(held) = leases.get_mut(&lease.token) else { return };
        match answer {
            Ok(Ok(renewal)) => {
                held.deadline = sent_at + self.rhythm.lease - self.rhythm.margin;
                if renewal.cancel_requested {
                    held.interrupt(Interrupt::Cancelled);
                }
            }
            Ok(Err(StoreError::LeaseLost { .. })) => {
                info!(job.id = %lease.job_id, "the lease is lost");
                held.interrupt(Interrupt::LeaseLost);
            }
            Ok(Err(error)) => warn!(job.id = %lease.job_id, %error, "lease renewal failed; trying again"),
            Err(_) => warn!(job.id = %lease.job_id, "lease renewal got no answer; trying again"),
        }
    }

    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
