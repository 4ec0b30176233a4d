//! Leadership: one of several schedulers works, and the others wait to take over.
//!
//! The leader's work runs under a token that is cancelled as soon as the leadership is in doubt. This only avoids useless work.
//! Correctness does not depend on it: every statement checks the epoch, so a former leader cannot change anything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use store::Epoch;
use telemetry::{Part, Stop};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::sight::Sight;
use crate::state::Scheduler;
use crate::{janitor, levels, round, sight, sweep};

/// Number of renewals within the lifetime (`leader_ttl_s`) of the leadership, so that single failures do not end it.
const RENEWALS: u32 = 4;

/// Leads whenever no other scheduler does, until the soft stop. It then resigns, so that another one can take over at once.
pub(crate) async fn run(scheduler: Arc<Scheduler>, part: Part, stop: Stop) {
    let ttl = Duration::from_secs(scheduler.settings.scheduler.leader_ttl_s);
    let holder = Uuid::new_v4();
    while !stop.soft().is_cancelled() {
        match scheduler.store.try_lead(holder, ttl.as_secs_f64()).await {
            Ok(Some(epoch)) => {
                part.ok();
                reign(&scheduler, epoch, ttl, &stop).await;
            }
            Ok(None) => part.ok(),
            Err(error) => {
                part.not_ready("the database is unavailable");
                warn!(%error, "cannot try to become the leader");
            }
        }
        tokio::select! {
            () = stop.soft().cancelled() => {}
            () = tokio::time::sleep(ttl / RENEWALS) => {}
        }
    }
}

/// One period of leadership, from its start to its end.
async fn reign(scheduler: &Arc<Scheduler>, epoch: Epoch, ttl: Duration, stop: &Stop) {
    info!(epoch = epoch.0, "leading");
    scheduler.metrics.leads(true);
    let over = stop.soft().child_token();
    let work = tokio::spawn(work(Arc::clone(scheduler), epoch, over.clone()));
    if let Err(error) = while_kept(keep(scheduler, epoch, ttl, &over), work, &over).await {
        error!(%error, "a task of the leader ended unexpectedly; resigning, so that all of them start again");
    }
    scheduler.metrics.leads(false);
    if let Err(error) = scheduler.store.resign(epoch).await {
        warn!(%error, "cannot resign; the leadership expires instead");
    }
    info!(epoch = epoch.0, "no longer leading");
}

/// Waits until the leadership or its work ends, and ends the other one. A leader that renewed its leadership without working would keep
/// every standby from taking over.
///
/// # Errors
/// The work panicked.
async fn while_kept(
    keep: impl Future<Output = ()>,
    mut work: JoinHandle<()>,
    over: &CancellationToken,
) -> Result<(), JoinError> {
    let ended = tokio::select! {
        () = keep => None,
        ended = &mut work => Some(ended),
    };
    over.cancel();
    match ended {
        Some(ended) => ended,
        None => work.await,
    }
}

/// Renews the leadership. Returns when renewals have failed for its whole lifetime, or when another scheduler leads.
async fn keep(scheduler: &Scheduler, epoch: Epoch, ttl: Duration, over: &CancellationToken) {
    let mut renewed_at = Instant::now();
    loop {
        tokio::select! {
            () = over.cancelled() => return,
            () = tokio::time::sleep(ttl / RENEWALS) => {}
        }
        // Counted from sending, not from the response, because the database's expiry may start right after sending.
        let sent_at = Instant::now();
        let kept = tokio::time::timeout(ttl, scheduler.vital.keep_leading(epoch, ttl.as_secs_f64()));
        let Ok(kept) = kept.await else {
            return warn!("leadership not renewed: the database has not responded in time");
        };
        match kept {
            Ok(true) => renewed_at = sent_at,
            Ok(false) => return warn!(epoch = epoch.0, "another scheduler leads"),
            Err(error) if renewed_at.elapsed() < ttl => warn!(%error, "leadership not renewed; trying again"),
            Err(error) => return warn!(%error, "leadership not renewed in time"),
        }
    }
}

/// All tasks of a leader, each at its own interval.
async fn work(scheduler: Arc<Scheduler>, epoch: Epoch, over: CancellationToken) {
    // The previous leader may have stopped between releasing jobs and announcing them, so all are announced again.
    match scheduler.store.forget_announcements(epoch).await {
        Ok(jobs) if jobs > 0 => info!(jobs, "announcing released jobs again"),
        Ok(_) => {}
        Err(error) => warn!(%error, "cannot announce released jobs again now; they are announced when they are due"),
    }
    let sight = Sight::default();
    let lease = Duration::from_secs(scheduler.settings.worker.lease_s);
    tokio::join!(
        round::run(&scheduler, epoch, &over),
        sight::run(&scheduler.vital, &sight, lease, &over),
        sweep::run(&scheduler, epoch, &sight, &over),
        levels::run(&scheduler, &over),
        janitor::run(&scheduler, epoch, &over),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_panics_ends_the_leadership() {
        let over = CancellationToken::new();
        let work = tokio::spawn(async { panic!("a bug") });
        while_kept(std::future::pending(), work, &over).await.expect_err("it panicked");
        assert!(over.is_cancelled());
    }

    #[tokio::test]
    async fn a_lost_leadership_ends_the_work() {
        let over = CancellationToken::new();
        let work = tokio::spawn(over.clone().cancelled_owned());
        while_kept(std::future::ready(()), work, &over).await.expect("it ended by itself");
    }
}
