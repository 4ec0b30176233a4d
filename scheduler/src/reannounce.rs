//! Announces released jobs again whose messages seem to be lost.
//!
//! A job may also wait long because no worker is free, or because so many became free at once that RabbitMQ is still delivering. A second
//! message would then stay in the queue when the job is gone, and cost a worker a claim in vain later. In a fleet of thousands these
//! add up until idle workers mostly read old messages. So a pool's queue gets no more messages than it lacks.

use std::collections::BTreeMap;

use broker::QueueLoad;
use domain::PoolId;
use futures::future::join_all;
use store::dispatch::Due;
use store::{Epoch, StoreError};
use tokio_util::sync::CancellationToken;

use crate::state::Scheduler;
use crate::sweep::PASSES_MAX;
use crate::timing::seconds;

/// How many messages each pool's queue lacks.
type Missing = BTreeMap<PoolId, u32>;

impl Scheduler {
    /// Announces again the released jobs that no worker has claimed for a while, with a growing interval for each job.
    ///
    /// # Errors
    /// An error of the database, or the leadership was lost.
    pub(crate) async fn reannounce(&self, epoch: Epoch, over: &CancellationToken) -> Result<(), StoreError> {
        let settings = &self.settings.scheduler;
        let (first_s, max_s) = (seconds(settings.reannounce_min_s), seconds(settings.reannounce_max_s));
        let mut missing = None;
        for _ in 0..PASSES_MAX {
            let due = self.store.reannounce_due(first_s, max_s, settings.sweep_batch, epoch).await?;
            let is_last = due.len() < settings.sweep_batch as usize;
            if !due.is_empty() {
                let missing = match &mut missing {
                    Some(known) => known,
                    None => missing.insert(self.missing_messages().await?),
                };
                let lost: Vec<_> = due.into_iter().filter(|one| is_lost(one, missing)).map(|one| one.job).collect();
                self.metrics.reannounced.inc_by(lost.len() as u64);
                self.announcer.announce(&lost).await;
            }
            if is_last || over.is_cancelled() {
                break;
            }
        }
        Ok(())
    }

    /// Compares the queues with the released jobs of their pools. Where RabbitMQ does not respond, every message may be lost.
    async fn missing_messages(&self) -> Result<Missing, StoreError> {
        let loads = self.store.pools(self.worker_gone_s()).await?;
        let looks = loads.into_iter().map(async |load| {
            let queue = self.broker.queue_load(&load.pool).await;
            let missing = queue.map_or(load.scheduled, |queue| missing(load.scheduled, queue));
            (load.pool, missing)
        });
        Ok(join_all(looks).await.into_iter().collect())
    }
}

/// How many messages a queue lacks, for so many released jobs. Each consumer may have received one and be claiming its job.
fn missing(released: u32, queue: QueueLoad) -> u32 {
    match queue.messages {
        // Free workers get nothing here, whatever they may have received before.
        0 => released,
        messages => released.saturating_sub(messages.saturating_add(queue.consumers)),
    }
}

/// Whether to send this job's message again; counts it as sent.
fn is_lost(due: &Due, missing: &mut Missing) -> bool {
    let Some(missing) = missing.get_mut(&due.job.pool) else { return true };
    let found = *missing > 0;
    *missing = missing.saturating_sub(1);
    // What the leader before has sent is not known.
    found || due.announcements <= 1
}

#[cfg(test)]
mod tests {
    use domain::JobId;
    use store::dispatch::Released;

    use super::*;

    fn due(pool: &PoolId, announcements: i32) -> Due {
        Due { job: Released { job_id: JobId::fresh(), dispatch_no: 1, pool: pool.clone() }, announcements }
    }

    #[test]
    fn a_queue_lacks_what_neither_waits_in_it_nor_may_have_been_received() {
        let load = |messages, consumers| QueueLoad { messages, consumers };
        assert_eq!(missing(3, load(3, 0)), 0, "all workers are busy");
        assert_eq!(missing(3, load(2, 0)), 1, "one message was lost");
        assert_eq!(missing(900, load(500, 400)), 0, "RabbitMQ is still delivering");
        assert_eq!(missing(3, load(0, 400)), 3, "free workers wait, and there is nothing to deliver");
        assert_eq!(missing(3, load(11_000, 5)), 0);
    }

    #[test]
    fn no_more_messages_are_sent_again_than_are_missing() {
        let pool = PoolId::of_worker("m", 8 << 30);
        let mut missing = Missing::from([(pool.clone(), 2)]);
        let sent = [(); 4].map(|()| is_lost(&due(&pool, 3), &mut missing));
        assert_eq!(sent, [true, true, false, false]);
        assert!(is_lost(&due(&pool, 1), &mut missing), "a new leader announces each job once");
        let other = PoolId::of_worker("other", 8 << 30);
        assert!(is_lost(&due(&other, 3), &mut missing), "a pool without workers, whose queue was not looked at");
    }
}
