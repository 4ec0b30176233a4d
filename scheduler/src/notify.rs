//! Sends webhooks from the outbox. Every scheduler does, not only the leader: each delivery is claimed under a lease, so
//! several processes share the work, and what a killed one was sending is sent again after its lease.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use domain::{Clock, SystemClock};
use store::StoreError;
use store::webhooks::{ClaimedDelivery, DeliveryOutcome, RetrySchedule};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;
use webhooks::{Attempt, Guard, Message, Sender, SigningSecret};

use crate::state::Scheduler;
use crate::timing::{pause, seconds};

/// Most deliveries at the same time to one URL, so that a slow receiver leaves room for the others.
const PER_URL_MAX: u32 = 4;
/// Time between the receiver's time limit and the end of the lease, for the database.
const LEASE_MARGIN_S: u64 = 15;
/// Longest wait for open deliveries at the soft stop; what is not reported by then is sent again after its lease.
const DRAIN: Duration = Duration::from_secs(8);

/// The sender, checked before anything else starts.
///
/// # Errors
/// `webhooks.allowed_addresses` has an invalid entry, or TLS cannot be set up.
pub(crate) fn sender(scheduler: &Scheduler) -> anyhow::Result<Sender> {
    let settings = &scheduler.settings.webhooks;
    let guard = Guard::new(&settings.allowed_addresses);
    let guard = guard.map_err(|reason| anyhow::anyhow!("webhooks.allowed_addresses: {reason}"))?;
    Sender::new(guard, Duration::from_secs(settings.timeout_s)).context("prepare HTTP for webhooks")
}

/// Sends until the soft stop.
pub(crate) async fn run(scheduler: Arc<Scheduler>, sender: Sender, stop: CancellationToken) {
    let settings = &scheduler.settings.webhooks;
    let poll = Duration::from_millis(settings.poll_ms);
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        let free = settings.parallel_max.saturating_sub(u32::try_from(open.len()).unwrap_or(u32::MAX));
        let token = Uuid::new_v4();
        let claimed = match claim(&scheduler, token, free).await {
            Ok(claimed) => claimed,
            Err(error) => {
                warn!(%error, "cannot look for webhooks to send; trying again");
                Vec::new()
            }
        };
        let found_some = !claimed.is_empty();
        for delivery in claimed {
            open.spawn(deliver(Arc::clone(&scheduler), sender.clone(), delivery, token));
        }
        // After a delivery the next event of its job may be due, so look again soon.
        let again = if found_some { poll / 10 } else { poll };
        let ended_one = async {
            if open.join_next().await.is_none() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            going = pause(again, &stop) => if !going { break },
            () = ended_one => {}
        }
    }
    let rest = async { while open.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, rest).await.is_err() {
        info!("some webhooks were still being sent; they are sent again when their leases expire");
    }
}

/// A tenant gets at most half of the places: one whose receivers are all slow leaves the others to everybody else.
async fn claim(scheduler: &Scheduler, token: Uuid, free: u32) -> Result<Vec<ClaimedDelivery>, StoreError> {
    if free == 0 {
        return Ok(Vec::new());
    }
    let lease_s = seconds(scheduler.settings.webhooks.timeout_s + LEASE_MARGIN_S);
    let per_tenant = (scheduler.settings.webhooks.parallel_max / 2).max(1);
    scheduler.store.claim_deliveries(token, lease_s, free, PER_URL_MAX, per_tenant).await
}

/// One attempt, and its report.
async fn deliver(scheduler: Arc<Scheduler>, sender: Sender, delivery: ClaimedDelivery, token: Uuid) {
    let settings = &scheduler.settings.webhooks;
    let outcome = match scheduler.store.webhook_secret(delivery.tenant_id, SigningSecret::random().bytes()).await {
        Ok(secret) => {
            let now = SystemClock.now();
            let previous = secret.previous.filter(|(_, until)| *until > now).map(|(previous, _)| previous);
            let secrets: Vec<_> = [secret.current].into_iter().chain(previous).map(SigningSecret::from_bytes).collect();
            read(sender.send(&delivery.url, &message(&delivery), &secrets, now).await)
        }
        Err(error) => {
            return warn!(%error, webhook.id = %delivery.id, "webhook not sent; it is sent when its lease expires");
        }
    };
    let retries = RetrySchedule {
        backoff_s: seconds(settings.backoff_min_s),
        backoff_max_s: seconds(settings.backoff_max_s),
        give_up_s: seconds(settings.give_up_s),
    };
    match scheduler.store.end_attempt(delivery.id, token, &outcome, retries).await {
        Ok(true) if matches!(outcome, DeliveryOutcome::Delivered { .. }) => scheduler.metrics.webhooks_delivered.inc(),
        Ok(true) => scheduler.metrics.webhook_failures.inc(),
        Ok(false) => warn!(webhook.id = %delivery.id, "webhook sent after its lease had expired; it may arrive twice"),
        Err(error) => warn!(%error, webhook.id = %delivery.id, "outcome of a webhook not stored; it is sent again"),
    }
}

fn message(delivery: &ClaimedDelivery) -> Message {
    Message {
        id: delivery.id,
        job_id: delivery.job_id.0,
        kind: delivery.kind.clone(),
        detail: delivery.detail.clone(),
        at: delivery.at,
    }
}

fn read(attempt: Attempt) -> DeliveryOutcome {
    match attempt {
        Attempt::Delivered(status) => DeliveryOutcome::Delivered { status },
        Attempt::Gone => DeliveryOutcome::Gone,
        Attempt::Refused { status, wait } => DeliveryOutcome::Again {
            status: Some(status),
            error: format!("the receiver responded with {status}"),
            wait,
        },
        Attempt::Failed(error) => DeliveryOutcome::Again { status: None, error, wait: None },
    }
}
