//! Finding work: from the pool's queue while RabbitMQ is available, from the database while it is not.
//!
//! An idle worker that is connected to RabbitMQ polls the database too, but less often: under an alarm RabbitMQ keeps connections
//! and consumers open but blocks all publishers.
//!
//! A message says that a job waits in the pool. Which one is claimed depends on the adapters that this worker has merged (see
//! `store::affinity`).
//!
//! A message is acked as soon as the claim has been decided, whatever was decided: the row has the job now, or somebody
//! else has, or the sweep will find it. Extra deliveries are given back through the row and acked too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::{JobReady, ReadyConsumer};
use domain::LeaseToken;
use store::StoreError;
use store::affinity::Seeker;
use store::leases::{ClaimOutcome, ClaimedJob};
use telemetry::Part;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::Fleet;
use super::assignment::Assignment;

/// Tries of a claim while the database does not respond, before the message is left to the sweep.
const CLAIM_TRIES: u32 = 5;
const CLAIM_PAUSE: Duration = Duration::from_millis(300);

/// Tries to claim the job that fits best, each time another one, before the one that the message named.
const PREFERRED_TRIES: u32 = 3;

/// While RabbitMQ is connected, the database is polled only once in this many rounds.
const LOOKS_WHILE_HEARING: u32 = 5;

/// Where work comes from.
pub(super) struct Source {
    fleet: Arc<Fleet>,
    consumer: ReadyConsumer,
    poll: Duration,
    looks: u32,
    part: Part,
}

/// A claimed job and when its claim was sent.
pub(super) struct Taken {
    pub(super) job: Assignment,
    pub(super) sent_at: Instant,
}

impl Source {
    pub(super) fn new(fleet: Arc<Fleet>, consumer: ReadyConsumer, poll: Duration, part: Part) -> Self {
        Self { fleet, consumer, poll, looks: 0, part }
    }

    /// Waits until a job is claimed; `None` when a stop comes first. While it waits the worker is ready as long as it can
    /// hear of work one way or the other.
    pub(super) async fn next(&mut self, stop: &CancellationToken) -> Option<Taken> {
        loop {
            let ready = tokio::select! {
                delivered = self.consumer.next() => {
                    let ready = delivered.ready.clone();
                    let taken = self.take(&ready).await;
                    delivered.ack().await;
                    self.give_back_extra().await;
                    if taken.is_some() {
                        return taken;
                    }
                    continue;
                }
                () = tokio::time::sleep(self.poll) => self.look().await,
                () = stop.cancelled() => {
                    self.consumer.stop_consuming().await;
                    self.give_back_extra().await;
                    return None;
                }
            };
            if let Some(ready) = ready
                && let Some(taken) = self.claim(&ready).await
            {
                // A delivery that arrived meanwhile must not wait until this job is done.
                self.consumer.stop_consuming().await;
                self.give_back_extra().await;
                return Some(taken);
            }
        }
    }

    /// Reports whether this worker can receive work, and looks for released jobs itself.
    async fn look(&mut self) -> Option<JobReady> {
        let hears = self.consumer.is_consuming();
        self.fleet.metrics.consuming.set(i64::from(hears));
        self.fleet.metrics.alive();
        self.looks = self.looks.wrapping_add(1);
        if hears {
            self.part.ok();
            if !self.looks.is_multiple_of(LOOKS_WHILE_HEARING) {
                return None;
            }
        }
        match self.waiting(None).await {
            Ok(found) => {
                self.part.ok();
                found
            }
            Err(error) if hears => {
                debug!(%error, "cannot look for work");
                None
            }
            Err(error) => {
                self.part.not_ready("neither RabbitMQ nor the database responds");
                debug!(%error, "cannot look for work");
                None
            }
        }
    }

    /// The released job that this worker should claim; `named` is the one that a message named.
    async fn waiting(&self, named: Option<&JobReady>) -> Result<Option<JobReady>, StoreError> {
        let fleet = &self.fleet;
        let released = match fleet.patience {
            Some(patience) => {
                let adapters = fleet.merged();
                let seeker = Seeker {
                    worker_id: fleet.worker_id,
                    pool: &fleet.pool,
                    adapters: &adapters,
                    hint: named.map(|ready| ready.job_id),
                    patience_s: patience.as_secs_f64(),
                };
                fleet.store.preferred(seeker).await?
            }
            None => fleet.store.unclaimed(&fleet.pool, fleet.worker_id, 1).await?.into_iter().next(),
        };
        Ok(released.map(|one| JobReady { job_id: one.job_id, dispatch_no: one.dispatch_no, pool: one.pool }))
    }

    /// Claims the released job that fits best, or the one that the message named.
    async fn take(&self, named: &JobReady) -> Option<Taken> {
        if self.fleet.patience.is_some() {
            for _ in 0..PREFERRED_TRIES {
                match self.waiting(Some(named)).await {
                    // Its claim says why it is not waiting any more.
                    Ok(Some(ready)) if ready == *named => break,
                    Ok(Some(ready)) => {
                        if let Some(taken) = self.claim(&ready).await {
                            return Some(taken);
                        }
                    }
                    Ok(None) => break,
                    Err(error) => {
                        debug!(job.id = %named.job_id, %error, "cannot look for a job that fits better");
                        break;
                    }
                }
            }
        }
        self.claim(named).await
    }

    /// Claims the released jobs that can share the forward passes of one that was just claimed. There may be none: the scheduler
    /// releases those that wait at the same moment, and nothing waits for more.
    pub(super) async fn companions(&self, lead: &Assignment) -> Vec<Taken> {
        let (fleet, limit) = (&self.fleet, self.fleet.batch_limit(&lead.job.shape));
        let Some(key) = lead.batch_key.as_ref().filter(|_| limit > 1 && lead.job.checkpoint.is_none()) else {
            return Vec::new();
        };
        let found = fleet.store.companions(&fleet.pool, fleet.worker_id, lead.job.id, key, limit - 1).await;
        let found = found.unwrap_or_else(|error| {
            debug!(job.id = %lead.job.id, %error, "cannot look for companions");
            Vec::new()
        });
        let mut taken = Vec::new();
        for one in found {
            if fleet.nothing_new.is_cancelled() {
                break;
            }
            let ready = JobReady { job_id: one.job_id, dispatch_no: one.dispatch_no, pool: one.pool };
            taken.extend(self.claim(&ready).await);
        }
        taken
    }

    async fn claim(&self, ready: &JobReady) -> Option<Taken> {
        let fleet = &self.fleet;
        let token = LeaseToken::fresh();
        for _ in 0..CLAIM_TRIES {
            let sent_at = Instant::now();
            let lease_s = fleet.lease.as_secs_f64();
            match fleet.store.claim(ready.job_id, ready.dispatch_no, token, fleet.worker_id, lease_s).await {
                Ok(ClaimOutcome::Claimed(claimed)) => return self.accept(*claimed, sent_at),
                Ok(ClaimOutcome::Stale { status }) => {
                    fleet.metrics.stale_claims.inc();
                    debug!(job.id = %ready.job_id, ?status, "nothing to claim");
                    return None;
                }
                // It may have taken effect: repeating it with the same token shows whether it did.
                Err(error) => warn!(job.id = %ready.job_id, %error, "claim not confirmed"),
            }
            tokio::time::sleep(CLAIM_PAUSE).await;
        }
        None
    }

    fn accept(&self, claimed: ClaimedJob, sent_at: Instant) -> Option<Taken> {
        // The claim may have been made by an earlier call; the lease counts from the earliest moment it can have begun.
        let remaining = Duration::try_from_secs_f64(claimed.lease_remaining_s.max(0.0)).unwrap_or_default();
        let sent_at = sent_at.min((Instant::now() + remaining).checked_sub(self.fleet.lease).unwrap_or(sent_at));
        let id = claimed.job.id;
        let job = Assignment::of(&self.fleet, claimed);
        if job.is_none() {
            warn!(job.id = %id, "a claimed job has no plan; its lease will run out");
        }
        let job = job?;
        if let (1, None, Some(started_at)) = (job.job.attempts_total, &job.job.checkpoint, job.job.started_at) {
            // Both times are the database's. Later tries have begun from a first claim that was counted then.
            let waited = started_at.signed_duration_since(job.job.created_at);
            self.fleet.metrics.waited(job.plan.tier, waited.as_seconds_f64());
        }
        Some(Taken { job, sent_at })
    }

    async fn give_back_extra(&mut self) {
        for extra in self.consumer.take_extra() {
            let ready = &extra.ready;
            if let Err(error) = self.fleet.store.unrelease(ready.job_id, ready.dispatch_no).await {
                warn!(job.id = %ready.job_id, %error, "extra delivery not given back; it will be announced again");
            }
            extra.ack().await;
        }
    }
}
