//! Announces released jobs in the pools' queues.
//!
//! RabbitMQ confirms a message once its queue has it, and a release in a large fleet announces hundreds. Release rounds do not wait for
//! that: they hand their jobs over and choose the next ones meanwhile.
//!
//! Nothing depends on a message. A job whose announcement is lost, also because the scheduler stops before it is sent, is announced
//! again after `scheduler.reannounce_min_s` or by the next leader.

use std::sync::Arc;

use broker::{Broker, JobReady};
use futures::future::join_all;
use store::dispatch::Released;
use telemetry::SchedulerMetrics;
use tokio::sync::Semaphore;
use tracing::{info, warn};

/// Most calls of [`Announcer::announce_beside`] whose messages are under way. More only fill memory while RabbitMQ does not respond.
const BESIDE_MAX: usize = 4;

/// Announces released jobs.
#[derive(Clone)]
pub(crate) struct Announcer {
    broker: Broker,
    metrics: Arc<SchedulerMetrics>,
    beside: Arc<Semaphore>,
}

impl Announcer {
    pub(crate) fn new(broker: Broker, metrics: Arc<SchedulerMetrics>) -> Self {
        Self { broker, metrics, beside: Arc::new(Semaphore::new(BESIDE_MAX)) }
    }

    /// Announces jobs in the background. Waits only while the messages of [`BESIDE_MAX`] earlier calls are under way.
    pub(crate) async fn announce_beside(&self, jobs: Vec<Released>) {
        let Ok(permit) = Arc::clone(&self.beside).acquire_owned().await else { return };
        let announcer = self.clone();
        tokio::spawn(async move {
            announcer.announce(&jobs).await;
            drop(permit);
        });
    }

    /// Announces all jobs concurrently, started in order. If RabbitMQ does not respond, this costs one timeout in total instead of one
    /// per job.
    pub(crate) async fn announce(&self, jobs: &[Released]) {
        join_all(jobs.iter().map(|job| self.announce_one(job))).await;
    }

    async fn announce_one(&self, job: &Released) {
        let ready = JobReady { job_id: job.job_id, dispatch_no: job.dispatch_no, pool: job.pool.clone() };
        match self.broker.publish_ready(ready, None).await {
            Ok(()) => info!(job.id = %job.job_id, pool = %job.pool, dispatch_no = job.dispatch_no, "job released"),
            Err(error) => {
                self.metrics.announce_failures.inc();
                warn!(job.id = %job.job_id, %error, "release not announced; workers find it by polling");
            }
        }
    }
}
