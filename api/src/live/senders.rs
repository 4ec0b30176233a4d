//! Whose progress messages are believed.
//!
//! Every machine that joined may publish events, so a message alone does not say that its job makes progress. RabbitMQ checks
//! the user that signs a message. Those of the fleet's own user are believed. A message of any other user is believed if the
//! worker that holds the job registered under that user. Messages only show progress, so those that cannot be checked in time
//! are dropped.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use domain::{JobId, Progress};
use store::Store;
use tokio::sync::mpsc;

use super::Tail;

/// How long an answer of the database is used. A job seldom changes hands.
const KEEP: Duration = Duration::from_secs(5);
/// Most answers that are kept; beyond that all are forgotten.
const KEPT_MAX: usize = 10_000;
/// Most messages that wait for the database.
const WAITING_MAX: usize = 256;

/// Checks who sent progress.
pub(super) struct Senders {
    own: String,
    unchecked: mpsc::Sender<(Progress, Option<String>)>,
}

impl Senders {
    /// `own` is the fleet's own user. Progress of others reaches the tail after a look at the database.
    pub(super) fn start(own: String, store: Store, tail: Tail) -> Self {
        let (unchecked, waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(check(store, tail, waiting));
        Self { own, unchecked }
    }

    /// The event if it may be shown at once.
    pub(super) fn admit(&self, user: Option<&str>, progress: Progress) -> Option<Progress> {
        if user.is_some_and(|user| user == self.own) {
            return Some(progress);
        }
        // When too many wait, this one is dropped.
        drop(self.unchecked.try_send((progress, user.map(str::to_owned))));
        None
    }
}

async fn check(store: Store, tail: Tail, mut waiting: mpsc::Receiver<(Progress, Option<String>)>) {
    let mut known: HashMap<JobId, (Option<String>, Instant)> = HashMap::new();
    while let Some((progress, user)) = waiting.recv().await {
        let job_id = progress.job_id;
        let kept = known.get(&job_id).filter(|(_, at)| at.elapsed() < KEEP).map(|(holder, _)| holder.clone());
        let holder = match kept {
            Some(holder) => holder,
            None => {
                let Ok(holder) = store.broker_user_of(job_id).await else { continue };
                if known.len() >= KEPT_MAX {
                    known.clear();
                }
                known.insert(job_id, (holder.clone(), Instant::now()));
                holder
            }
        };
        if holder == user {
            tail.progress(progress);
        } else {
            tracing::debug!(job.id = %job_id, ?user, "progress ignored: its sender does not hold the job");
        }
    }
}
