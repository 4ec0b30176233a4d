//! Notifies the fleet of what this process has committed: new jobs to the scheduler, changes to the event streams of the other
//! replicas, cancel requests to workers.
//!
//! Rule: every message is a hint. No request waits for RabbitMQ: hints go into a bounded buffer, and one task sends what has
//! accumulated. A hint is dropped if the buffer is full or the broker is unavailable; polling finds those rows later, and
//! workers learn of a cancel request with their next heartbeat.

use std::time::Duration;

use broker::{Broker, FleetEvent, JobSubmitted};
use domain::{Clock, EventCursor, Job, JobEvent, JobEventKind, JobId, SystemClock, TenantId};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::live::Tail;

/// Number of hints taken from the buffer at once, and the most in one message.
const HINTS_MAX: usize = 500;
/// Shortest time between two messages of a kind. When idle, a hint is sent at once; under load one message carries all hints of
/// the meantime: RabbitMQ then spends 6 to 9 microseconds per job, and 19 without the pause.
const PAUSE: Duration = Duration::from_millis(10);

/// A handle for sending hints.
#[derive(Debug, Clone)]
pub struct Announcer {
    hints: mpsc::Sender<Hint>,
    tail: Tail,
}

#[derive(Debug)]
enum Hint {
    Submitted(JobId, TenantId),
    Changed(JobId, TenantId, JobEventKind),
    Cancel(JobId, TenantId),
}

impl Announcer {
    /// Starts the task that sends hints; it ends when the last handle is dropped.
    #[must_use]
    pub fn start(broker: Broker, tail: Tail, buffer: usize) -> Self {
        let (hints, waiting) = mpsc::channel(buffer.max(1));
        tokio::spawn(send(broker, waiting));
        Self { hints, tail }
    }

    /// A job was committed to the backlog.
    pub fn submitted(&self, job_id: JobId, tenant_id: TenantId) {
        self.hint(Hint::Submitted(job_id, tenant_id));
    }

    /// A job changed state through this process.
    pub fn changed(&self, job: &Job, kind: JobEventKind) {
        self.hint(Hint::Changed(job.id, job.tenant_id, kind));
    }

    /// The cancellation of a running job was requested.
    pub fn cancel_requested(&self, job_id: JobId, tenant_id: TenantId) {
        self.hint(Hint::Cancel(job_id, tenant_id));
    }

    fn hint(&self, hint: Hint) {
        // This replica's own streams need no broker.
        self.tail.wake();
        let _ = self.hints.try_send(hint);
    }
}

async fn send(broker: Broker, mut waiting: mpsc::Receiver<Hint>) {
    let mut hints = Vec::with_capacity(HINTS_MAX);
    while waiting.recv_many(&mut hints, HINTS_MAX).await > 0 {
        let begun = Instant::now();
        let mut submitted = Vec::new();
        // Event streams only need to be woken, so the last change represents all of them.
        let mut changed = None;
        for hint in hints.drain(..) {
            match hint {
                Hint::Submitted(job_id, tenant_id) => {
                    submitted.push(job_id);
                    changed = Some((job_id, tenant_id, JobEventKind::Queued));
                }
                Hint::Changed(job_id, tenant_id, kind) => changed = Some((job_id, tenant_id, kind)),
                Hint::Cancel(job_id, tenant_id) => {
                    changed = Some((job_id, tenant_id, JobEventKind::CancelRequested));
                    tell(&broker, FleetEvent::CancelRequested { job_id, tenant_id });
                }
            }
        }
        if !submitted.is_empty()
            && let Err(error) = broker.publish_submitted(JobSubmitted { job_ids: submitted }, None).await
        {
            tracing::debug!(error = %error, "submitted jobs not announced; the scheduler finds them by polling");
        }
        if let Some((job_id, tenant_id, kind)) = changed {
            // Only the database assigns cursors. Receivers treat this message as a wake-up and read the event from there.
            let (cursor, detail, at) = (EventCursor::default(), serde_json::Value::Null, SystemClock.now());
            tell(&broker, FleetEvent::Job(JobEvent { job_id, tenant_id, cursor, kind, detail, at }));
        }
        tokio::time::sleep_until(begun + PAUSE).await;
    }
}

fn tell(broker: &Broker, event: FleetEvent) {
    broker.tell(event);
}
