//! A channel per audience: a stream receives what it shows, instead of everything that happens in the fleet.
//!
//! With one channel for all, two thousand streams would each look at every event of ten thousand workers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{JobEvent, JobId, Preview, Progress, TenantId};
use store::events::EventScope;
use tokio::sync::broadcast;

/// Something to send to streams.
#[derive(Debug, Clone)]
pub enum Item {
    /// A change of state.
    State(Arc<JobEvent>),
    /// Progress of a running job.
    Progress(Progress),
    /// A picture of a running job. Shared, because it is larger than everything else.
    Preview(Arc<Preview>),
}

impl Item {
    /// The job that it is about, and that job's owner.
    fn subject(&self) -> (JobId, TenantId) {
        match self {
            Self::State(event) => (event.job_id, event.tenant_id),
            Self::Progress(progress) => (progress.job_id, progress.tenant_id),
            Self::Preview(preview) => (preview.job_id, preview.tenant_id),
        }
    }
}

/// Number of forgotten audiences after which the map is tidied.
const TIDY_EVERY: usize = 256;
/// Least number of items that a channel holds.
const BUFFER_MIN: usize = 16;

/// All channels. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Channels {
    /// Items that a channel of the whole fleet holds; those of tenants and jobs hold less, since less happens there.
    buffer: usize,
    open: Arc<Mutex<HashMap<EventScope, broadcast::Sender<Item>>>>,
}

impl Channels {
    pub(super) fn new(buffer: usize) -> Self {
        Self { buffer, open: Arc::default() }
    }

    /// Receives what is sent to this audience from now on.
    pub(super) fn subscribe(&self, scope: EventScope) -> broadcast::Receiver<Item> {
        let mut open = self.open();
        if open.len() % TIDY_EVERY == TIDY_EVERY - 1 {
            open.retain(|_, sender| sender.receiver_count() > 0);
        }
        let buffer = match scope {
            EventScope::Fleet => self.buffer,
            EventScope::Tenant(_) => self.buffer / 4,
            EventScope::Job(_) => self.buffer / 16,
        };
        open.entry(scope).or_insert_with(|| broadcast::channel(buffer.max(BUFFER_MIN)).0).subscribe()
    }

    /// Sends an item to those who may see it. An audience without listeners is forgotten.
    pub(super) fn send(&self, item: &Item) {
        let (job_id, tenant_id) = item.subject();
        let mut open = self.open();
        for scope in [EventScope::Fleet, EventScope::Tenant(tenant_id), EventScope::Job(job_id)] {
            if let Some(sender) = open.get(&scope)
                && sender.send(item.clone()).is_err()
            {
                open.remove(&scope);
            }
        }
    }

    /// Whether anybody listens.
    pub(super) fn has_listeners(&self) -> bool {
        self.open().values().any(|sender| sender.receiver_count() > 0)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<EventScope, broadcast::Sender<Item>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use domain::Stage;

    use super::*;

    fn progress(job: u128, tenant: u128) -> Item {
        Item::Progress(Progress {
            job_id: JobId(uuid::Uuid::from_u128(job)),
            tenant_id: TenantId(uuid::Uuid::from_u128(tenant)),
            stage: Stage::Denoise,
            step: 1,
            steps: 2,
            skipped: 0,
            remaining_s: None,
        })
    }

    #[test]
    fn an_audience_receives_only_what_it_may_see() {
        let channels = Channels::new(64);
        let (job, tenant) = (JobId(uuid::Uuid::from_u128(1)), TenantId(uuid::Uuid::from_u128(2)));
        let mut fleet = channels.subscribe(EventScope::Fleet);
        let mut own = channels.subscribe(EventScope::Tenant(tenant));
        let mut one = channels.subscribe(EventScope::Job(job));
        for (job, tenant) in [(1, 2), (3, 2), (4, 5)] {
            channels.send(&progress(job, tenant));
        }
        let count = |receiver: &mut broadcast::Receiver<Item>| std::iter::from_fn(|| receiver.try_recv().ok()).count();
        assert_eq!((count(&mut fleet), count(&mut own), count(&mut one)), (3, 2, 1));
    }

    #[test]
    fn audiences_without_listeners_are_forgotten() {
        let channels = Channels::new(64);
        for job in 0..2_000 {
            drop(channels.subscribe(EventScope::Job(JobId(uuid::Uuid::from_u128(job)))));
        }
        assert!(!channels.has_listeners());
        assert!(channels.open().len() <= TIDY_EVERY, "{} channels are left", channels.open().len());
        let _listening = channels.subscribe(EventScope::Fleet);
        assert!(channels.has_listeners());
    }
}
