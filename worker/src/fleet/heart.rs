//! The heartbeat: renews leases as long as, and only as long as, their work makes progress.
//!
//! It runs on a thread and a database connection of its own, so that neither a busy model nor a busy runtime can starve
//! it. Rules:
//! - A lease counts from when its renewal was *sent*, on this process's monotonic clock; work stops before the database
//!   can give the job to another, however long a reply takes.
//! - No renewal without progress: when the model passes no check for `stall_s`, the GPU hangs, and the job must be
//!   free for another worker.
//! - No renewal for work that was told to stop and does not: it hangs somewhere.
//! - Messages stop nothing. A message that a job is to be cancelled or preempted makes the heartbeat read the row sooner, so a late,
//!   repeated or forged one changes nothing.
//! - A failed renewal is tried again until the lease runs out; Postgres may come back.
//! - Several leases are held at a time: of the job that has the model, and of jobs whose videos are being delivered. They are
//!   renewed side by side, and deadlines are checked while a renewal waits for its reply, so that no lease delays another.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use domain::{JobId, LeaseToken, WorkerId};
use store::workers::WorkerState;
use store::{Lease, Store, StoreError};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::engine::Control;

/// Shortest time between two renewals that messages ask for.
const HINT_PAUSE: Duration = Duration::from_millis(250);

/// Why running work must stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// The user cancelled it.
    Cancelled,
    /// Another worker holds the lease, or it could not be renewed in time: every write would be refused.
    LeaseLost,
    /// The model makes no progress.
    Stalled,
    /// The run has taken too many times its estimate.
    TooLong,
    /// This worker is stopping; the job is handed back with its checkpoint.
    Draining,
    /// The scheduler needs the slot for a job with a deadline; the job is handed back with its checkpoint.
    Preempted,
}

/// Durations of the heartbeat.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rhythm {
    /// Length of a lease.
    pub(crate) lease: Duration,
    /// Time between two renewals.
    pub(crate) interval: Duration,
    /// Safety margin: the worker stops this much earlier than the lease expires in the database.
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
    /// Whether the model is working on this job and must therefore pass checks.
    watched: bool,
    /// Whether the job occupies the worker's slot; not while its video is delivered beside the next job.
    in_slot: bool,
    beats: u64,
    beaten_at: Instant,
}

impl Held {
    /// The first reason is kept: a lost lease must not become a hand-back because a stop followed.
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
    /// Nothing new is taken.
    draining: Arc<AtomicBool>,
    /// Nothing is finished either.
    stopping: Arc<AtomicBool>,
    /// Asks for a renewal now.
    hint: Arc<Notify>,
}

/// A lease that the heartbeat keeps alive until this is dropped.
pub(crate) struct HeldLease {
    heart: Heart,
    token: LeaseToken,
    job_id: JobId,
    interrupt: watch::Receiver<Option<Interrupt>>,
}

impl HeldLease {
    /// The job that it holds.
    pub(crate) fn job_id(&self) -> JobId {
        self.job_id
    }

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

    /// From now on the job does not occupy the worker's slot: heartbeats report the next job, or a free slot.
    pub(crate) fn leave_slot(&self) {
        if let Some(held) = self.heart.leases().get_mut(&self.token) {
            held.in_slot = false;
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
    /// A heartbeat without leases; [`Heart::spawn`] starts it.
    pub(crate) fn new(rhythm: Rhythm) -> Self {
        Self {
            leases: Arc::default(),
            rhythm,
            known: Arc::new(watch::channel(true).0),
            draining: Arc::default(),
            stopping: Arc::default(),
            hint: Arc::default(),
        }
    }

    /// Holds a lease whose claim was sent at `sent_at`, for a run that may last `limit`; `None` sets no limit. A worker that is
    /// stopping interrupts it at once.
    pub(crate) fn hold(&self, lease: Lease, control: &Control, sent_at: Instant, limit: Option<Duration>) -> HeldLease {
        let (sender, interrupt) = watch::channel(None);
        let mut held = Held {
            lease,
            control: control.clone(),
            interrupt: sender,
            interrupted_at: None,
            too_long_at: limit.and_then(|limit| sent_at.checked_add(limit)),
            deadline: sent_at + self.rhythm.lease - self.rhythm.margin,
            watched: false,
            in_slot: true,
            beats: control.beats(),
            beaten_at: Instant::now(),
        };
        let mut leases = self.leases();
        // Under the same lock that a drain takes, so that no lease escapes it.
        if self.stopping.load(Ordering::Relaxed) {
            held.interrupt(Interrupt::Draining);
        }
        leases.insert(lease.token, held);
        drop(leases);
        HeldLease { heart: self.clone(), token: lease.token, job_id: lease.job_id, interrupt }
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

    /// Reports from now on that nothing new is taken. Leases are kept: deliveries that are under way finish.
    pub(crate) fn take_nothing_new(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// The same, and interrupts every lease that is held or will be.
    pub(crate) fn drain(&self) {
        self.take_nothing_new();
        let mut leases = self.leases();
        self.stopping.store(true, Ordering::Relaxed);
        leases.values_mut().for_each(|held| held.interrupt(Interrupt::Draining));
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
                        // Without a heartbeat, leases expire by the database's clock, and work ends by its own check.
                        Err(error) => error!(error = format!("{error:#}"), "heartbeat cannot reach the database"),
                    }
                });
            })
            .context("start the heartbeat's thread")?;
        Ok(())
    }

    async fn run(&self, store: &Store, worker: WorkerId, stop: &CancellationToken) {
        let deadlines = async {
            let tick = (self.rhythm.interval / 4).max(Duration::from_millis(20));
            loop {
                self.check_deadlines();
                tokio::time::sleep(tick).await;
            }
        };
        let beats = async {
            let mut hints_from = tokio::time::Instant::now();
            loop {
                let next = tokio::time::Instant::now() + self.rhythm.interval;
                self.beat(store, worker).await;
                let hinted = async {
                    tokio::time::sleep_until(hints_from).await;
                    self.hint.notified().await;
                };
                tokio::select! {
                    () = tokio::time::sleep_until(next) => {}
                    () = hinted => hints_from = tokio::time::Instant::now() + HINT_PAUSE,
                }
            }
        };
        tokio::select! {
            () = deadlines => {}
            () = beats => {}
            () = stop.cancelled() => {}
        }
    }

    /// Stops work whose lease has run out or whose model hangs.
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
        let mut alive = Vec::new();
        for held in self.leases().values_mut() {
            if held.interrupted_at.is_some_and(|at| now.duration_since(at) >= patience) {
                continue;
            }
            if !held.watched || now.duration_since(held.beaten_at) < stall {
                alive.push((held.lease, held.in_slot));
            } else {
                error!(job.id = %held.lease.job_id, "the model makes no progress; its lease is not renewed");
                held.interrupt(Interrupt::Stalled);
            }
        }
        let mut renewals = JoinSet::new();
        for (lease, _) in &alive {
            let (heart, store, lease) = (self.clone(), store.clone(), *lease);
            renewals.spawn(async move { heart.renew(&store, lease).await });
        }
        while renewals.join_next().await.is_some() {}
        let rendered = alive.iter().find(|(_, in_slot)| *in_slot).map(|(lease, _)| lease.job_id);
        let state = match (self.is_draining(), rendered) {
            (true, _) => WorkerState::Draining,
            (false, None) => WorkerState::Ready,
            (false, Some(_)) => WorkerState::Busy,
        };
        let job_id = rendered.or_else(|| alive.first().map(|(lease, _)| lease.job_id));
        // A reply may take one interval at most: the next beat must not wait for a dead connection.
        match tokio::time::timeout(self.rhythm.interval, store.heartbeat(worker, state, job_id)).await {
            Ok(Ok(known)) => drop(self.known.send_replace(known)),
            Ok(Err(error)) => warn!(%error, "worker heartbeat failed"),
            Err(_) => warn!("worker heartbeat got no response"),
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
                } else if renewal.preempt_requested && held.in_slot {
                    held.interrupt(Interrupt::Preempted);
                }
            }
            Ok(Err(StoreError::LeaseLost { .. })) => {
                info!(job.id = %lease.job_id, "the lease is lost");
                held.interrupt(Interrupt::LeaseLost);
            }
            Ok(Err(error)) => warn!(job.id = %lease.job_id, %error, "lease renewal failed; trying again"),
            Err(_) => warn!(job.id = %lease.job_id, "lease renewal got no response; trying again"),
        }
    }

    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
