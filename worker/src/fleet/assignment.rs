//! A claimed job, and how its run may end without a video. All parts of a run use these types.

use domain::{BatchKey, Failure, FailureAction, Job, Plan};
use store::Lease;
use store::leases::ClaimedJob;

use super::Fleet;
use super::trace::RunTrace;
use crate::engine::{Paused, RenderError};

/// A claimed job with its plan, which every released job has.
#[derive(Debug, Clone)]
pub(super) struct Assignment {
    /// The job as it was when claimed.
    pub(super) job: Job,
    /// What to do.
    pub(super) plan: Plan,
    /// The right to write to it.
    pub(super) lease: Lease,
    /// Equal for jobs that can be rendered together.
    pub(super) batch_key: Option<BatchKey>,
    /// GPU seconds of earlier attempts.
    pub(super) gpu_seconds_before: f64,
    /// The spans of this run.
    pub(super) trace: RunTrace,
}

impl Assignment {
    /// `None` for a row without a plan, which nothing releases.
    pub(super) fn of(fleet: &Fleet, claimed: ClaimedJob) -> Option<Self> {
        let plan = claimed.job.plan.clone()?;
        let trace = RunTrace::begin(fleet, &claimed.job, &plan);
        Some(Self {
            job: claimed.job,
            plan,
            lease: claimed.lease,
            batch_key: claimed.batch_key,
            gpu_seconds_before: claimed.gpu_seconds,
            trace,
        })
    }
}

/// A run that gave no video.
#[derive(Debug)]
pub(super) enum Ended {
    /// Stopped from outside; [`super::heart::HeldLease::interrupted`] says why.
    Interrupted {
        /// State of the last step boundary.
        checkpoint: Option<(u32, Vec<u8>)>,
    },
    /// It is a draft, and has come to its end.
    Paused(Box<Paused>),
    /// The device broke; this process must end.
    DeviceBroken {
        /// What it reported.
        reason: String,
    },
    /// It failed.
    Failed {
        /// For the user.
        failure: Failure,
        /// Whether another attempt makes sense.
        action: FailureAction,
    },
}

impl Ended {
    /// A failure in one line.
    pub(super) fn failed(code: &str, reason: String, action: FailureAction) -> Self {
        Self::Failed { failure: Failure { code: code.to_owned(), reason }, action }
    }

    /// Whether it is a failure with this code.
    pub(super) fn is_failure(&self, code: &str) -> bool {
        matches!(self, Self::Failed { failure, .. } if failure.code == code)
    }
}

impl From<RenderError> for Ended {
    fn from(error: RenderError) -> Self {
        match error {
            RenderError::Stopped { checkpoint } => Self::Interrupted { checkpoint },
            RenderError::Paused(paused) => Self::Paused(paused),
            RenderError::DeviceBroken { reason } => Self::DeviceBroken { reason },
            RenderError::Failed { failure, action } => Self::Failed { failure, action },
        }
    }
}
