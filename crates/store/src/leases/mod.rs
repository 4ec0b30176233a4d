//! What a worker does with a job: claim, keep, checkpoint, finish.
//!
//! Rule: every write names the job and the token of its lease. If no row changed, the lease is lost
//! ([`crate::StoreError::LeaseLost`]) and the worker must stop writing anywhere.
//!
//! All calls may be repeated with the same arguments after a lost response. The database's clock counts the seconds of a
//! lease; the worker counts its own deadline with a monotonic clock from the moment it *sent* the call.

mod checkpoint;
mod claim;
mod finish;
mod keep;
mod pause;
mod preview;
mod waited;

use domain::lifecycle::AttemptLimits;
use domain::{BatchKey, Job, JobId, JobStatus, LeaseToken, Stage};

pub use waited::QueueWait;

/// The right to write to a running job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The job.
    pub job_id: JobId,
    /// The token, chosen by the worker before it claimed.
    pub token: LeaseToken,
}

/// A job that a worker has claimed.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimedJob {
    /// The job, with its plan and perhaps a checkpoint.
    pub job: Job,
    /// The right to write to it.
    pub lease: Lease,
    /// The number of the release under which it was claimed.
    pub dispatch_no: i32,
    /// Equal for jobs whose forward passes can be shared; `None` for a job that is rendered alone. See [`domain::BatchKey`].
    pub batch_key: Option<BatchKey>,
    /// Claims since the last new checkpoint, this one included.
    pub attempts: i32,
    /// Seconds until the lease expires, by the database's clock, when the row was read.
    pub lease_remaining_s: f64,
    /// GPU seconds of the attempts before this one.
    pub gpu_seconds: f64,
}

/// Result of a claim.
#[derive(Debug, Clone, PartialEq)]
pub enum ClaimOutcome {
    /// The caller holds the job.
    Claimed(Box<ClaimedJob>),
    /// The message is old: another worker holds the job, it was released again under another number, or it has ended or
    /// been purged. Ack the message and ignore it.
    Stale {
        /// The job's current status; `None` when it is purged.
        status: Option<JobStatus>,
    },
}

/// Progress of a run, for the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgressMark {
    /// Its current stage.
    pub stage: Stage,
    /// Denoising steps done.
    pub step: u32,
    /// How many of them the step cache replaced.
    pub steps_skipped: u32,
}

/// Result of a renewal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Renewal {
    /// A cancel was requested.
    pub cancel_requested: bool,
    /// The scheduler asked the run to give its slot to a job with a deadline.
    pub preempt_requested: bool,
    /// Seconds until the lease expires.
    pub remaining_s: f64,
}

/// Result of saving a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SavedCheckpoint {
    /// The row points to it.
    Stored {
        /// The object that the row pointed to before; delete it.
        drop: Option<String>,
    },
    /// The row has a checkpoint that is at least as far; delete the new object.
    NotNewer,
}

/// Result of asking to resume from the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResumeOutcome {
    /// Resume from it; the row has counted this.
    Resume {
        /// Number of workers that have resumed from it, including this one.
        resumes: u32,
    },
    /// It was resumed too often and is dropped: start from the beginning and delete the object.
    Exhausted {
        /// The object.
        drop: String,
    },
    /// There is no checkpoint.
    None,
}

/// When and how often a failed or lost run is retried.
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
    /// The job's new status: `Completed`, `Drafted`, `Failed`, `Cancelled` or `Queued`. For a repeated call: its current status.
    pub status: JobStatus,
    /// The object that the row pointed to before; delete it.
    pub drop: Option<String>,
}
