//! Jobs as their owners see them: submit, read, list, cancel, retry, delete, restore.
//!
//! Rule: a call on behalf of a tenant names the tenant, and another tenant's job is simply not found.

mod ahead;
mod backlog;
mod edit;
mod insert;
mod list;
mod load;
mod move_queued;
mod oldest_first;
mod position;
mod proceed;
mod replay;
mod retried;

use domain::model::RenderShape;
use domain::{GroupId, Job, JobId, JobStatus, KeyId, Origin, TenantId, VideoRequest};
use uuid::Uuid;

pub use ahead::QueueAhead;
pub use list::{JobFilter, JobPage};
pub use move_queued::{MoveOutcome, MoveTo};
pub use proceed::{Continuation, ContinueOutcome};
pub use replay::{NewReplay, ReplayOutcome};

/// Which jobs a call may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those of one tenant.
    Tenant(TenantId),
    /// Those of the whole fleet: for admins and the fleet itself.
    Fleet,
}

impl Scope {
    /// The tenant, or `None` for all, as the queries take it.
    pub(crate) fn tenant(self) -> Option<Uuid> {
        match self {
            Self::Tenant(tenant) => Some(tenant.0),
            Self::Fleet => None,
        }
    }
}

/// A validated request that is about to be inserted.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// Its id; new for every submission.
    pub id: JobId,
    /// Its owner.
    pub tenant_id: TenantId,
    /// The API key that submits it; `None` while keys are off.
    pub key_id: Option<KeyId>,
    /// The request with `seed`, `model` and guidance filled in.
    pub request: VideoRequest,
    /// Whether the fleet chose the seed.
    pub seed_drawn: bool,
    /// What will be rendered for it.
    pub shape: RenderShape,
    /// The request that it is a candidate of; `None` for a video by itself.
    pub group_id: Option<GroupId>,
    /// The client's idempotency key, with at most one job per key; `None` without one.
    pub idempotency_key: Option<String>,
    /// Hash of the request as it was sent, before anything was filled in.
    pub payload_hash: [u8; 32],
    /// W3C traceparent of the submission.
    pub traceparent: Option<String>,
    /// How it came about, if another API or an earlier job is involved.
    pub origin: Option<Origin>,
    /// Number of the HTTP retry that submits it, for a submission that [`Store::adopt_retried`] shall find again by its
    /// `payload_hash`; `None` for all others.
    ///
    /// [`Store::adopt_retried`]: crate::Store::adopt_retried
    pub retry_no: Option<i16>,
    /// Estimated GPU seconds that it reserves of its key's quota until it ends; `None` while keys are off.
    pub quota_s: Option<f64>,
}

impl NewJob {
    /// A job for a request that was validated against `model_id`. Chooses a random seed when the request has none.
    #[must_use]
    pub fn new(tenant_id: TenantId, mut request: VideoRequest, model_id: &str, shape: RenderShape) -> Self {
        let payload_hash = request.payload_hash();
        let seed_drawn = request.seed.is_none();
        // 53 bits, so that every JavaScript client can show and send back the exact seed.
        let draw = || Uuid::new_v4().as_u64_pair().1 & ((1 << 53) - 1);
        request.seed = Some(request.seed.unwrap_or_else(draw));
        request.model = Some(model_id.to_owned());
        let id = JobId::fresh();
        Self {
            id,
            tenant_id,
            key_id: None,
            request,
            seed_drawn,
            shape,
            group_id: None,
            idempotency_key: None,
            payload_hash,
            traceparent: None,
            origin: None,
            retry_no: None,
            quota_s: None,
        }
    }
}

/// Result of one submission.
#[derive(Debug, Clone, PartialEq)]
pub enum InsertOutcome {
    /// A new job.
    Created(Box<Job>),
    /// The key was used before for the same request. This is the earlier job, perhaps of the same batch.
    Replayed(Box<Job>),
    /// The key was used before for a different request. Nothing was inserted.
    KeyReused,
}

impl InsertOutcome {
    /// The job, unless the key was reused.
    #[must_use]
    pub fn job(&self) -> Option<&Job> {
        match self {
            Self::Created(job) | Self::Replayed(job) => Some(job),
            Self::KeyReused => None,
        }
    }
}

/// Result of a batch that is inserted completely or not at all.
#[derive(Debug, Clone, PartialEq)]
pub enum BatchOutcome {
    /// Everything is committed: [`InsertOutcome::Created`] or [`InsertOutcome::Replayed`] for each, in order.
    Committed(Vec<InsertOutcome>),
    /// Nothing was inserted, because the keys at these positions were used before for different requests.
    KeysReused(Vec<usize>),
}

/// Result of a cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelOutcome {
    /// It was waiting or drafted and is now cancelled.
    Cancelled,
    /// It is running, and its worker must be notified. Returned again until the worker has noticed.
    Requested,
    /// It had already ended.
    AlreadyEnded(JobStatus),
    /// The job does not exist in this scope.
    NotFound,
}

/// Result of a user's retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryOutcome {
    /// Back in the backlog.
    Queued,
    /// Only failed and cancelled jobs can be retried; the job is in this state.
    NotEnded(JobStatus),
    /// The job does not exist in this scope, or it is deleted.
    NotFound,
}

/// Result of a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteOutcome {
    /// Hidden, and cancelled if it was waiting.
    Deleted,
    /// Hidden; its worker must be notified to stop.
    DeletedWhileRunning,
    /// The job does not exist in this scope, or it was deleted before.
    NotFound,
}

/// Depth of a queue.
#[derive(Debug, Clone, PartialEq)]
pub struct BacklogDepth {
    /// The model's id.
    pub model_id: String,
    /// The tier; `None` until planned.
    pub tier: Option<domain::Tier>,
    /// `Queued`, `Scheduled`, `Running` or `Drafted`.
    pub status: JobStatus,
    /// Number of jobs.
    pub jobs: u64,
    /// Time since the oldest of them was submitted, seconds, by the database's clock.
    pub oldest_s: f64,
}
