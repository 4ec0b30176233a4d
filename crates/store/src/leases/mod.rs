//! What a worker does with a job: claim, keep, checkpoint, finish.
//!
//! Rule: every write names the job and the token of its lease. No row changed means that the lease is lost
//! ([`crate::StoreError::LeaseLost`]) and the worker must stop writing anywhere.
//!
//! All calls may be repeated with the same arguments after a lost answer. Seconds of leases are counted by the
//! database's clock; the worker counts its own deadline by a monotonic clock from when it *sent* the call.

mod checkpoint;
mod claim;
mod finish;
mod keep;

use domain::lifecycle::AttemptLimits;
use domain::{Job, JobId, JobStatus, LeaseToken, Stage};

/// The right to write to a running job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The job.
    pub job_id: JobId,
    /// Chosen by the worker before it claimed.
    pub token: LeaseToken,
}

/// A job in the hands of a worker.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimedJob {
    /// The job, with its plan and perhaps a checkpoint.
    pub job: Job,
    /// The right to write to it.
    pub lease: Lease,
    /// Under which release it was claimed.
    pub dispatch_no: i32,
    /// Claims since the last new checkpoint, this one included.
    pub attempts: i32,
    /// Seconds until the lease expires, by the database's clock, when the row was read.
    pub lease_remaining_s: f64,
    /// GPU seconds of the attempts before this one.
    pub gpu_seconds: f64,
}

/// Answer to a claim.
#[derive(Debug, Clone, PartialEq)]
pub enum ClaimOutcome {
    /// The caller holds it.
    Claimed(Box<ClaimedJob>),
    /// Somebody else holds it, it was released again under another number, it has ended or is gone: the message is old.
    /// Ack it and forget it.
    Stale {
        /// Where the job is now; `None` when it is purged.
        status: Option<JobStatus>,
    },
}

/// How far a run is, for the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgressMark {
    /// What it is doing.
    pub stage: Stage,
    /// Denoising steps done.
    pub step: u32,
    /// Of those, answered by the step cache.
    pub steps_skipped: u32,
}

/// Answer to a renewal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Renewal {
    /// The user wants it stopped.
    pub cancel_requested: bool,
    /// Seconds until the lease expires.
    pub remaining_s: f64,
}

/// Answer to a saved checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SavedCheckpoint {
    /// The row points to it.
    Stored {
        /// The object that the row pointed to before; delete it.
        drop: Option<String>,
    },
    /// The row has one that is at least as far; delete the new object.
    NotNewer,
}

/// Answer to the wish to begin from the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResumeOutcome {
    /// Go on from it; the row counts this.
    Resume {
        /// Times a worker has begun from it, this one included.
        resumes: u32,
    },
    /// It was begun from too often and is dropped: begin anew, delete the object.
    Exhausted {
        /// The object.
        drop: String,
    },
    /// There is none.
    None,
}

/// When and how often a failed or lost run is tried again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    /// Bounds on attempts.
    pub limits: AttemptLimits,
    /// Wait before the second attempt, seconds; doubles with every attempt.
    pub backoff_s: f64,
    /// Longest wait, seconds.
    pub backoff_max_s: f64,
}

/// How a lease ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Where the job went: `Completed`, `Failed`, `Cancelled` or `Queued`. For a repeated call: where it is now.
    pub status: JobStatus,
    /// Object that the row pointed to before; delete it.
    pub drop: Option<String>,
}
