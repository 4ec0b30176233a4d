//! Whose progress messages and previews are believed.
//!
//! Every machine that joined may publish events, so a message alone does not say that its job makes progress. RabbitMQ checks
//! the user that signs a message. Those of the fleet's own user are believed. A message of any other user is believed if the
//! worker that holds the job registered under that user. Messages only show progress, so those that cannot be checked in time
//! are dropped.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use domain::{JobId, Preview, Progress, TenantId};
use store::Store;
use tokio::sync::mpsc;

use super::Tail;

/// How long an answer of the database is used. A job seldom changes hands.
const KEEP: Duration = Duration::from_secs(5);
/// Most answers that are kept; beyond that all are forgotten.
const KEPT_MAX: usize = 10_000;
/// Most messages that wait for the database.
const WAITING_MAX: usize = 256;

/// What a worker says of its job without writing it to the row.
#[derive(Debug)]
pub(super) enum Seen {
    Progress(Progress),
    Preview(Preview),
}

impl Seen {
    /// The job that it claims to be about, and that job's owner.
    fn subject(&self) -> (JobId, TenantId) {
        match self {
            Self::Progress(progress) => (progress.job_id, progress.tenant_id),
            Self::Preview(preview) => (preview.job_id, preview.tenant_id),
        }
    }

    /// Passes it to the open streams.
    pub(super) fn show(self, tail: &Tail) {
        match self {
            Self::Progress(progress) => tail.progress(progress),
            Self::Preview(preview) => tail.preview(preview),
        }
    }
}

/// A message whose sender is not known yet, and the user that signed it.
type Unchecked = (Seen, Option<String>);

/// Checks who sent a message.
pub(super) struct Senders {
    own: String,
    unchecked: mpsc::Sender<Unchecked>,
}

impl Senders {
    /// `own` is the fleet's own user. Messages of others reach the tail after a look at the database.
    pub(super) fn start(own: String, store: Store, tail: Tail) -> Self {
        let (unchecked, waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(check(store, tail, waiting));
        Self { own, unchecked }
    }

    /// The message if it may be shown at once.
    pub(super) fn admit(&self, user: Option<&str>, seen: Seen) -> Option<Seen> {
        if user.is_some_and(|user| user == self.own) {
            return Some(seen);
        }
        // When too many wait, this one is dropped.
        drop(self.unchecked.try_send((seen, user.map(str::to_owned))));
        None
    }
}

async fn check(store: Store, tail: Tail, mut waiting: mpsc::Receiver<Unchecked>) {
    let mut known: HashMap<(JobId, TenantId, Option<String>), (bool, Instant)> = HashMap::new();
    while let Some((seen, user)) = waiting.recv().await {
        let (job_id, tenant_id) = seen.subject();
        let question = (job_id, tenant_id, user);
        let kept = known.get(&question).filter(|(_, at)| at.elapsed() < KEEP).map(|(holds, _)| *holds);
        let holds = if let Some(holds) = kept {
            holds
        } else {
            let Ok(holds) = store.holds_job(question.2.as_deref(), job_id, tenant_id).await else { continue };
            if known.len() >= KEPT_MAX {
                known.clear();
            }
            known.insert(question, (holds, Instant::now()));
            holds
        };
        if holds {
            seen.show(&tail);
        } else {
            tracing::debug!(job.id = %job_id, "message ignored: its sender does not hold the job");
        }
    }
}
