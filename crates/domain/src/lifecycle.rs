//! The states of a job and every legal move between them.
//!
//! [`Lifecycle`] is the model that the SQL in `store` repeats as guards: a transition consumes the old state and returns
//! the new one, or the reason why it is not allowed. Property tests run both side by side.
//!
//! ```text
//! queued --release--> scheduled --claim--> running --complete--> completed
//!   ^  ^                 |                  | | |
//!   |  +---unrelease-----+                  | | +--fail (no retry left)--> failed
//!   +------hand_back, retry, lost-----------+ |
//!   any of the first three --cancel-----------+--> cancelled
//!
//! running --preempt--> running, which its worker then hands back
//! running --pause--> drafted --proceed--> queued
//!                    drafted --cancel, expire--> cancelled
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::LeaseToken;
use crate::record::FailureAction;
use crate::tier::{UnknownWord, words};

words!(
    /// Where a job is, as users see it.
    JobStatus {
        /// In the backlog.
        Queued = "queued",
        /// Released to a pool of workers.
        Scheduled = "scheduled",
        /// A worker holds its lease.
        Running = "running",
        /// It paused after its first steps and waits until it is continued. No worker holds it.
        Drafted = "drafted",
        /// The video is stored.
        Completed = "completed",
        /// It ended without a video.
        Failed = "failed",
        /// It was stopped.
        Cancelled = "cancelled",
    }
);

impl JobStatus {
    /// Whether nothing more will happen by itself.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// A move that is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTransition {
    /// The job is in a state without this move.
    #[error("a {from} job cannot {action}")]
    State {
        /// Its state.
        from: JobStatus,
        /// The attempted move.
        action: &'static str,
    },
    /// Another lease, or none, holds the job.
    #[error("the lease is not the one that holds the job")]
    StaleLease,
    /// The message belongs to an earlier release.
    #[error("the dispatch number is not current")]
    StaleDispatch,
    /// The user asked to cancel the job.
    #[error("a cancel is requested")]
    CancelRequested,
}

/// The part of a job that transitions touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifecycle {
    /// The job's state.
    pub status: JobStatus,
    /// Counts releases; a claim must name the current one.
    pub dispatch_no: i32,
    /// Token of the worker that holds it, while running.
    pub lease: Option<LeaseToken>,
    /// Claims since the last new checkpoint; bounded by `attempts_max`.
    pub attempts: i32,
    /// Claims in total; bounded by `attempts_total_max`, whatever checkpoints were stored.
    pub attempts_total: i32,
    /// Steps covered by the stored checkpoint; 0 without one.
    pub checkpoint_step: i32,
    /// The user asked to cancel the job.
    pub cancel_requested: bool,
    /// Steps after which the run pauses; `None` for a run to the end, and once it has paused.
    pub pause_at: Option<i32>,
    /// The scheduler asked the current run to give its slot to a job with a deadline. Only meaningful while running.
    pub preempt_requested: bool,
    /// How often it has asked for that.
    pub preemptions: i32,
}

/// Bounds on attempts (rule: attempts are bounded, a newer checkpoint resets the count, with a hard cap).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptLimits {
    /// Most claims without progress.
    pub attempts_max: i32,
    /// Most claims in total.
    pub attempts_total_max: i32,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self {
            status: JobStatus::Queued,
            dispatch_no: 0,
            lease: None,
            attempts: 0,
            attempts_total: 0,
            checkpoint_step: 0,
            cancel_requested: false,
            pause_at: None,
            preempt_requested: false,
            preemptions: 0,
        }
    }
}

impl Lifecycle {
    fn refuse<T>(&self, action: &'static str) -> Result<T, InvalidTransition> {
        Err(InvalidTransition::State { from: self.status, action })
    }

    fn held_by(&self, token: LeaseToken, action: &'static str) -> Result<(), InvalidTransition> {
        match self.status {
            JobStatus::Running if self.lease == Some(token) => Ok(()),
            JobStatus::Running => Err(InvalidTransition::StaleLease),
            _ => self.refuse(action),
        }
    }

    /// Scheduler: release to a pool.
    ///
    /// # Errors
    /// Not queued, or a cancel is requested.
    pub fn release(mut self) -> Result<Self, InvalidTransition> {
        match self.status {
            JobStatus::Queued if self.cancel_requested => Err(InvalidTransition::CancelRequested),
            JobStatus::Queued => {
                self.status = JobStatus::Scheduled;
                self.dispatch_no += 1;
                Ok(self)
            }
            _ => self.refuse("be released"),
        }
    }

    /// Scheduler: take back a release that no worker claimed (its pool is gone).
    ///
    /// # Errors
    /// Not scheduled.
    pub fn unrelease(mut self) -> Result<Self, InvalidTransition> {
        match self.status {
            JobStatus::Scheduled => {
                self.status = if self.cancel_requested { JobStatus::Cancelled } else { JobStatus::Queued };
                Ok(self)
            }
            _ => self.refuse("be taken back"),
        }
    }

    /// Worker: take the job under a fresh token.
    ///
    /// # Errors
    /// Not scheduled, another dispatch number, or a cancel is requested.
    pub fn claim(mut self, dispatch_no: i32, token: LeaseToken) -> Result<Self, InvalidTransition> {
        match self.status {
            JobStatus::Scheduled if self.dispatch_no != dispatch_no => Err(InvalidTransition::StaleDispatch),
            JobStatus::Scheduled if self.cancel_requested => Err(InvalidTransition::CancelRequested),
            JobStatus::Scheduled => {
                self.status = JobStatus::Running;
                self.lease = Some(token);
                self.preempt_requested = false;
                self.attempts += 1;
                self.attempts_total += 1;
                Ok(self)
            }
            _ => self.refuse("be claimed"),
        }
    }

    /// Worker: a newer checkpoint is stored. It is progress, so earlier attempts no longer count.
    ///
    /// # Errors
    /// Not held by `token`.
    pub fn checkpoint(mut self, token: LeaseToken, step: i32) -> Result<Self, InvalidTransition> {
        self.held_by(token, "take a checkpoint")?;
        if step > self.checkpoint_step {
            self.checkpoint_step = step;
            self.attempts = 1;
        }
        Ok(self)
    }

    /// Worker: the stored checkpoint cannot be used (damaged, resumed too often, of another build); start from the
    /// beginning.
    ///
    /// # Errors
    /// Not held by `token`.
    pub fn drop_checkpoint(mut self, token: LeaseToken) -> Result<Self, InvalidTransition> {
        self.held_by(token, "drop its checkpoint")?;
        self.checkpoint_step = 0;
        Ok(self)
    }

    /// Worker: the requested cancel has taken effect.
    ///
    /// # Errors
    /// Not held by `token`, or no cancel was requested.
    pub fn stopped(mut self, token: LeaseToken) -> Result<Self, InvalidTransition> {
        self.held_by(token, "stop")?;
        if !self.cancel_requested {
            return self.refuse("stop without a cancel");
        }
        self.lease = None;
        self.status = JobStatus::Cancelled;
        Ok(self)
    }

    /// Worker: the video is stored.
    ///
    /// # Errors
    /// Not held by `token`. With a cancel requested the job ends cancelled instead.
    pub fn complete(mut self, token: LeaseToken) -> Result<Self, InvalidTransition> {
        self.held_by(token, "complete")?;
        self.status = if self.cancel_requested { JobStatus::Cancelled } else { JobStatus::Completed };
        self.lease = None;
        Ok(self)
    }

    /// Worker: the draft is stored as the job's checkpoint; the job waits until it is continued.
    ///
    /// # Errors
    /// Not held by `token`, not a draft, or its checkpoint does not reach the draft's step.
    pub fn pause(mut self, token: LeaseToken) -> Result<Self, InvalidTransition> {
        self.held_by(token, "pause")?;
        if self.pause_at.is_none_or(|step| self.checkpoint_step < step) {
            return self.refuse("pause before its draft is stored");
        }
        self.lease = None;
        self.pause_at = None;
        self.status = if self.cancel_requested { JobStatus::Cancelled } else { JobStatus::Drafted };
        Ok(self)
    }

    /// User or judge: continue a draft to its end, with its attempts reset.
    ///
    /// # Errors
    /// Not drafted.
    pub fn proceed(mut self) -> Result<Self, InvalidTransition> {
        match self.status {
            JobStatus::Drafted => {
                self.status = JobStatus::Queued;
                self.attempts = 0;
                self.attempts_total = 0;
                Ok(self)
            }
            _ => self.refuse("be continued"),
        }
    }

    /// Sweeper: nobody continued the draft in time.
    ///
    /// # Errors
    /// Not drafted.
    pub fn expire(mut self) -> Result<Self, InvalidTransition> {
        match self.status {
            JobStatus::Drafted => {
                self.status = JobStatus::Cancelled;
                Ok(self)
            }
            _ => self.refuse("expire"),
        }
    }

    /// Scheduler: ask the run to give its slot to a job that would miss its deadline otherwise, at most `preemptions_max` times.
    /// The worker then hands the job back; a run that ends first has ended.
    ///
    /// # Errors
    /// Not running, asked already, asked too often, or a cancel is requested.
    pub fn preempt(mut self, preemptions_max: i32) -> Result<Self, InvalidTransition> {
        match self.status {
            JobStatus::Running if self.cancel_requested => Err(InvalidTransition::CancelRequested),
            JobStatus::Running if !self.preempt_requested && self.preemptions < preemptions_max => {
                self.preempt_requested = true;
                self.preemptions += 1;
                Ok(self)
            }
            _ => self.refuse("be preempted"),
        }
    }

    /// Worker: give the job back, because the worker stops or was asked to. Costs no attempt.
    ///
    /// # Errors
    /// Not held by `token`.
    pub fn hand_back(mut self, token: LeaseToken) -> Result<Self, InvalidTransition> {
        self.held_by(token, "be handed back")?;
        self.lease = None;
        self.attempts -= 1;
        self.attempts_total -= 1;
        self.status = if self.cancel_requested { JobStatus::Cancelled } else { JobStatus::Queued };
        Ok(self)
    }

    /// Worker: the run failed.
    ///
    /// # Errors
    /// Not held by `token`.
    pub fn fail(
        mut self,
        token: LeaseToken,
        action: FailureAction,
        limits: AttemptLimits,
    ) -> Result<Self, InvalidTransition> {
        self.held_by(token, "fail")?;
        self.lease = None;
        let retry = action == FailureAction::Retry && self.attempts_left(limits);
        self.status = match (self.cancel_requested, retry) {
            (true, _) => JobStatus::Cancelled,
            (false, true) => JobStatus::Queued,
            (false, false) => JobStatus::Failed,
        };
        Ok(self)
    }

    /// Sweeper: the lease ran out. The outcome is that of a failure that may be retried.
    ///
    /// # Errors
    /// Not running.
    pub fn lose(self, limits: AttemptLimits) -> Result<Self, InvalidTransition> {
        match (self.status, self.lease) {
            (JobStatus::Running, Some(token)) => self.fail(token, FailureAction::Retry, limits),
            _ => self.refuse("lose its lease"),
        }
    }

    /// User: cancel. A running job ends when its worker notices, a waiting job or a draft ends now.
    ///
    /// # Errors
    /// The job has already ended.
    pub fn cancel(mut self) -> Result<Self, InvalidTransition> {
        match self.status {
            JobStatus::Queued | JobStatus::Scheduled | JobStatus::Drafted => {
                self.cancel_requested = true;
                self.status = JobStatus::Cancelled;
                Ok(self)
            }
            JobStatus::Running => {
                self.cancel_requested = true;
                Ok(self)
            }
            _ => self.refuse("be cancelled"),
        }
    }

    /// User: try a failed or cancelled job again, with its attempts reset.
    ///
    /// # Errors
    /// Not failed or cancelled.
    pub fn retry(mut self) -> Result<Self, InvalidTransition> {
        match self.status {
            JobStatus::Failed | JobStatus::Cancelled => {
                self.status = JobStatus::Queued;
                self.cancel_requested = false;
                self.attempts = 0;
                self.attempts_total = 0;
                Ok(self)
            }
            _ => self.refuse("be retried"),
        }
    }

    fn attempts_left(&self, limits: AttemptLimits) -> bool {
        self.attempts < limits.attempts_max && self.attempts_total < limits.attempts_total_max
    }
}
