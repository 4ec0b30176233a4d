//! The micro-batcher: one queue, and a few lanes that each commit one batch at a time.

use std::sync::Arc;

use store::jobs::{InsertOutcome, NewJob};
use store::{Store, StoreError};
use telemetry::ApiMetrics;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::announce::Announcer;

/// Why a submission was not accepted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IngestError {
    /// More submissions are waiting to be committed than the settings allow.
    #[error("{0} submissions are already waiting to be written")]
    QueueFull(usize),
    /// The process is stopping.
    #[error("the server is stopping")]
    Stopped,
    /// The database rejected the batch or did not respond. It is then unknown whether the job exists; a repetition with the same
    /// idempotency key finds out.
    #[error(transparent)]
    Store(#[from] Arc<StoreError>),
}

/// One submission, and the channel for its result.
struct Pending {
    job: NewJob,
    answer: oneshot::Sender<Result<InsertOutcome, IngestError>>,
}

/// A handle for submitting.
#[derive(Clone)]
pub struct Ingest {
    queue: mpsc::Sender<Pending>,
    queue_max: usize,
}

/// Options of the lanes.
#[derive(Debug, Clone, Copy)]
pub struct LaneOptions {
    /// Most rows in one INSERT.
    pub rows_max: usize,
    /// Number of batches that may be committed at the same time.
    pub lanes: usize,
    /// Most submissions that may be waiting.
    pub queue_max: usize,
}

impl Ingest {
    /// Starts the lanes. They end when the last handle is dropped and every queued submission is written.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "handles move into the lanes")]
    pub fn start(store: Store, announcer: Announcer, metrics: Arc<ApiMetrics>, options: LaneOptions) -> Self {
        let (queue, waiting) = mpsc::channel(options.queue_max.max(1));
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..options.lanes.max(1) {
            let (store, announcer, metrics) = (store.clone(), announcer.clone(), Arc::clone(&metrics));
            let lane = Lane { store, announcer, metrics, rows_max: options.rows_max.max(1) };
            tokio::spawn(lane.run(Arc::clone(&waiting)));
        }
        Self { queue, queue_max: options.queue_max }
    }

    /// Submits one job and waits for its commit.
    ///
    /// # Errors
    /// [`IngestError`]. After `Store` the job may still exist, because the response to the commit may have been lost.
    pub async fn submit(&self, job: NewJob) -> Result<InsertOutcome, IngestError> {
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Pending { job, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => IngestError::QueueFull(self.queue_max),
            mpsc::error::TrySendError::Closed(_) => IngestError::Stopped,
        })?;
        answered.await.unwrap_or(Err(IngestError::Stopped))
    }
}

struct Lane {
    store: Store,
    announcer: Announcer,
    metrics: Arc<ApiMetrics>,
    rows_max: usize,
}

impl Lane {
    async fn run(self, waiting: Arc<Mutex<mpsc::Receiver<Pending>>>) {
        let mut batch = Vec::with_capacity(self.rows_max);
        loop {
            // The lock is held while receiving, so one lane waits at the queue, and the others are committing or wait for the lock.
            let taken = waiting.lock().await.recv_many(&mut batch, self.rows_max).await;
            if taken == 0 {
                return;
            }
            self.commit(std::mem::take(&mut batch)).await;
        }
    }

    async fn commit(&self, batch: Vec<Pending>) {
        let (jobs, answers): (Vec<_>, Vec<_>) = batch.into_iter().map(|pending| (pending.job, pending.answer)).unzip();
        match self.store.insert_batch(&jobs).await {
            Ok(outcomes) => {
                self.metrics.ingest_batch(u64::try_from(jobs.len()).unwrap_or(u64::MAX));
                for (outcome, answer) in outcomes.into_iter().zip(answers) {
                    if let Ok(InsertOutcome::Created(job)) = &outcome {
                        self.announcer.submitted(job.id, job.tenant_id);
                    }
                    // Sending fails if the client has disconnected. Its job exists nevertheless.
                    let _ = answer.send(outcome.map_err(|error| IngestError::Store(Arc::new(error))));
                }
            }
            Err(error) => {
                let error = Arc::new(error);
                for answer in answers {
                    let _ = answer.send(Err(IngestError::Store(Arc::clone(&error))));
                }
            }
        }
    }
}
