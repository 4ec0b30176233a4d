//! Leadership: one scheduler of many works, and the others wait to take over.
//!
//! The leader's work runs under a token that is cancelled as soon as leadership is in doubt. That is only politeness: what
//! keeps two leaders from disagreeing is the epoch in every statement.

use std::sync::Arc;
use std::time::{Duration, Instant};

use store::Epoch;
use telemetry::{Part, Stop};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::sight::Sight;
use crate::state::Scheduler;
use crate::{janitor, levels, round, sight, sweep};

/// Renewals in one life of the leadership.
const RENEWALS: u32 = 4;

/// Leads whenever nobody else does, until the soft stop; then lets the next one take over at once.
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
                part.not_ready("the database does not answer");
                warn!(%error, "cannot ask who leads");
            }
        }
        tokio::select! {
            () = stop.soft().cancelled() => {}
            () = tokio::time::sleep(ttl / RENEWALS) => {}
        }
    }
}

/// One leadership, from taking it to losing it.
async fn reign(scheduler: &Arc<Scheduler>, epoch: Epoch, ttl: Duration, stop: &Stop) {
    info!(epoch = epoch.0, "leading");
    scheduler.metrics.leads(true);
    let over = stop.soft().child_token();
    let work = tokio::spawn(work(Arc::clone(scheduler), epoch, over.clone()));
    keep(scheduler, epoch, ttl, &over).await;
    over.cancel();
    drop(work.await);
    scheduler.metrics.leads(false);
    if let Err(error) = scheduler.store.resign(epoch).await {
        warn!(%error, "leadership not given back; it runs out");
    }
    info!(epoch = epoch.0, "no longer leading");
}

/// Renews until that fails for a whole life of the leadership, or another one leads.
async fn keep(scheduler: &Scheduler, epoch: Epoch, ttl: Duration, over: &CancellationToken) {
    let mut renewed_at = Instant::now();
    loop {
        tokio::select! {
            () = over.cancelled() => return,
            () = tokio::time::sleep(ttl / RENEWALS) => {}
        }
        let sent_at = Instant::now();
        let kept = tokio::time::timeout(ttl, scheduler.vital.keep_leading(epoch, ttl.as_secs_f64()));
        let Ok(kept) = kept.await else { return warn!("leadership not renewed: the database is silent") };
        match kept {
            Ok(true) => renewed_at = sent_at,
            Ok(false) => return warn!(epoch = epoch.0, "another scheduler leads"),
            Err(error) if renewed_at.elapsed() < ttl => warn!(%error, "leadership not renewed; trying again"),
            Err(error) => return warn!(%error, "leadership not renewed in time"),
        }
    }
}

/// Everything that a leader does, each at its own pace.
async fn work(scheduler: Arc<Scheduler>, epoch: Epoch, over: CancellationToken) {
    // The predecessor's messages may never have been sent.
    match scheduler.store.forget_announcements(epoch).await {
        Ok(jobs) if jobs > 0 => info!(jobs, "announcing released jobs again"),
        Ok(_) => {}
        Err(error) => warn!(%error, "released jobs are announced again at their own time"),
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
