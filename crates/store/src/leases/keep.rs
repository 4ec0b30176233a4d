//! Renewing a lease and reporting progress. Both update one row in place: no index entry, no event.

use crate::connect::Store;
use crate::error::{Result, StoreError};
use crate::leases::{Lease, ProgressMark, Renewal};
use crate::row::int;

impl Store {
    /// Extends the lease to `lease_s` from now. Also works after its expiry, as long as no other worker has taken the job.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`].
    pub async fn renew(&self, lease: Lease, lease_s: f64) -> Result<Renewal> {
        sqlx::query_as!(
            Renewal,
            r#"-- renew_lease
            UPDATE jobs SET lease_expires_at = clock_timestamp() + make_interval(secs => $3)
            WHERE id = $1 AND lease_token = $2 AND status = 'running'
            RETURNING cancel_requested_at IS NOT NULL AS "cancel_requested!",
                preempt_requested_at IS NOT NULL AS "preempt_requested!",
                extract(epoch FROM lease_expires_at - clock_timestamp())::float8 AS "remaining_s!""#,
            lease.job_id.0,
            lease.token.0,
            lease_s
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or(StoreError::LeaseLost { job_id: lease.job_id })
    }

    /// Stores the run's progress; does not extend the lease.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`].
    pub async fn progress(&self, lease: Lease, mark: ProgressMark) -> Result<Renewal> {
        sqlx::query_as!(
            Renewal,
            r#"-- note_progress
            UPDATE jobs SET stage = $3, step = $4, steps_skipped = $5, progressed_at = clock_timestamp()
            WHERE id = $1 AND lease_token = $2 AND status = 'running'
            RETURNING cancel_requested_at IS NOT NULL AS "cancel_requested!",
                preempt_requested_at IS NOT NULL AS "preempt_requested!",
                extract(epoch FROM lease_expires_at - clock_timestamp())::float8 AS "remaining_s!""#,
            lease.job_id.0,
            lease.token.0,
            mark.stage.as_str(),
            int("step", mark.step)?,
            int("steps_skipped", mark.steps_skipped)?
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or(StoreError::LeaseLost { job_id: lease.job_id })
    }
}
