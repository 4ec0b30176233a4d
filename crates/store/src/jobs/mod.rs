//! Jobs as their owners see them: submit, read, list, cancel, retry, delete, restore.
//!
//! Rule: a call on behalf of a tenant names the tenant, and another tenant's job is simply not found.

mod backlog;
mod edit;
mod insert;
mod list;
mod load;
mod position;

use domain::model::RenderShape;
use domain::{Job, JobId, JobStatus, TenantId, VideoRequest};
use uuid::Uuid;

pub use list::{JobFilter, JobPage};

/// Whose jobs a call may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One tenant's.
    Tenant(TenantId),
    /// The whole fleet's: admins and the fleet itself.
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

/// A validated request on its way into the table.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// Its id; fresh for every submission.
    pub id: JobId,
    /// Its owner.
    pub tenant_id: TenantId,
    /// The request with `seed` and `model` filled in.
    pub request: VideoRequest,
    /// Whether the seed was drawn here.
    pub seed_drawn: bool,
    /// What is rendered for it.
    pub shape: RenderShape,
    /// The client's key, at most one job for each; `None` without.
    pub idempotency_key: Option<String>,
    /// Hash of the request as it was sent, before `seed` and `model` were filled in.
    pub payload_hash: [u8; 32],
    /// W3C traceparent of the submission.
    pub traceparent: Option<String>,
}

impl NewJob {
    /// A job for a request that was validated against `model_id`. Draws the seed when the request has none.
    #[must_use]
    pub fn new(tenant_id: TenantId, mut request: VideoRequest, model_id: &str, shape: RenderShape) -> Self {
        let payload_hash = request.payload_hash();
        let seed_drawn = request.seed.is_none();
        // 53 bits: every JavaScript client can show and send it back exactly.
        let draw = || i64::try_from(Uuid::new_v4().as_u64_pair().1 & ((1 << 53) - 1)).unwrap_or_default();
        request.seed = Some(request.seed.unwrap_or_else(draw));
        request.model = Some(model_id.to_owned());
        let id = JobId::fresh();
        Self { id, tenant_id, request, seed_drawn, shape, idempotency_key: None, payload_hash, traceparent: None }
    }
}

/// What became of one submission.
#[derive(Debug, Clone, PartialEq)]
pub enum InsertOutcome {
    /// A new job.
    Created(Box<Job>),
    /// The key had been used for the same request; this is the job of then (perhaps of the same batch).
    Replayed(Box<Job>),
    /// The key had been used for another request. Nothing was inserted.
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

/// What became of a batch that is inserted whole or not at all.
#[derive(Debug, Clone, PartialEq)]
pub enum BatchOutcome {
    /// Everything is committed: [`InsertOutcome::Created`] or [`InsertOutcome::Replayed`] for each, in order.
    Committed(Vec<InsertOutcome>),
    /// Nothing was inserted, because the keys at these positions had been used for other requests.
    KeysReused(Vec<usize>),
}

/// Answer to a cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelOutcome {
    /// It waited and is cancelled.
    Cancelled,
    /// It runs; its worker is to be told. Answered again as long as the worker has not noticed.
    Requested,
    /// It had ended before.
    AlreadyEnded(JobStatus),
    /// No such job in this scope.
    NotFound,
}

/// Answer to a user's retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryOutcome {
    /// Back in the backlog.
    Queued,
    /// Only failed and cancelled jobs can be retried; it is in this state.
    NotEnded(JobStatus),
    /// No such job in this scope, or it is deleted.
    NotFound,
}

/// Answer to a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteOutcome {
    /// Hidden; if it waited it is cancelled as well.
    Deleted,
    /// Hidden, and its worker is to be told to stop.
    DeletedWhileRunning,
    /// No such job in this scope, or deleted before.
    NotFound,
}

/// A queue's depth.
#[derive(Debug, Clone, PartialEq)]
pub struct BacklogDepth {
    /// Model.
    pub model_id: String,
    /// Tier; `None` until planned.
    pub tier: Option<domain::Tier>,
    /// `Queued`, `Scheduled` or `Running`.
    pub status: JobStatus,
    /// Jobs.
    pub jobs: u64,
    /// Age of the oldest since submission, seconds, by the database's clock.
    pub oldest_s: f64,
}
