//! Claiming a job, and recognising one's own claim afterwards.

use domain::{BatchKey, JobId, JobStatus, LeaseToken, WorkerId};

use crate::connect::Store;
use crate::error::Result;
use crate::leases::{ClaimOutcome, ClaimedJob, Lease};
use crate::retry::on_conflict;
use crate::row::word;
use crate::transition::transition;

impl Store {
    /// Claims the job that a message announced, under a token that the caller has just created. If several workers try, one
    /// gets it. Repeating the call with the same token returns the same claim.
    ///
    /// # Errors
    /// The database's error. The outcome is then unknown; repeat the call to find out.
    pub async fn claim(
        &self,
        job_id: JobId,
        dispatch_no: i32,
        token: LeaseToken,
        worker_id: WorkerId,
        lease_s: f64,
    ) -> Result<ClaimOutcome> {
        let lease = Lease { job_id, token };
        // 1. Claim it, if it is still released under this number. Losing the race changes no row.
        on_conflict(|| async {
            transition!(
                r#"-- claim_job
                WITH moved AS (
                    UPDATE jobs SET status = 'running', lease_token = $3, worker_id = $4,
                        lease_expires_at = clock_timestamp() + make_interval(secs => $5),
                        claimed_at = clock_timestamp(), progressed_at = clock_timestamp(),
                        started_at = COALESCE(started_at, clock_timestamp()),
                        attempts = attempts + 1, attempts_total = attempts_total + 1,
                        stage = 'prepare', step = checkpoint_step, steps_skipped = 0, preempt_requested_at = NULL
                    WHERE id = $1 AND status = 'scheduled' AND dispatch_no = $2 AND cancel_requested_at IS NULL
                        -- A replay needs a worker like the first one. The message of a refused claim is not lost: the release
                        -- is announced again, and idle workers look for it.
                        AND (requires IS NULL OR requires = (SELECT w.identity FROM workers AS w WHERE w.id = $4))
                    RETURNING id, tenant_id, model_id, tier, complexity, status, 'running' AS kind,
                        jsonb_build_object('attempt', attempts_total, 'worker', $4::uuid) AS detail,
                        NULL::text AS counter, false AS lost, NULL::text AS dropped
                )"#,
                job_id.0,
                dispatch_no,
                token.0,
                worker_id.0,
                lease_s
            )
            .fetch_optional(&self.pool)
            .await?;
            Ok(())
        })
        .await?;
        // 2. Read the job back by the token. This deliberately does not distinguish whether this call or an earlier one with
        // the same token made the claim.
        if let Some(claimed) = self.find_by_lease(lease).await? {
            return Ok(ClaimOutcome::Claimed(Box::new(claimed)));
        }
        // 3. The claim was refused: return the current status, so that the caller can log why.
        let status = sqlx::query_scalar!("-- status_for_claim\nSELECT status FROM jobs WHERE id = $1", job_id.0)
            .fetch_optional(&self.pool)
            .await?;
        let status = status.map(|text| word::<JobStatus>(job_id, "status", &text)).transpose()?;
        Ok(ClaimOutcome::Stale { status })
    }

    /// The job if this lease holds it. Shows whether a claim whose response was lost took effect.
    ///
    /// # Errors
    /// The database's error.
    pub async fn find_by_lease(&self, lease: Lease) -> Result<Option<ClaimedJob>> {
        let mut rows = self.load_rows(None, &[lease.job_id.0]).await?;
        let Some(row) = rows.remove(&lease.job_id.0).filter(|row| row.lease_token == Some(lease.token.0)) else {
            return Ok(None);
        };
        Ok(Some(ClaimedJob {
            lease,
            dispatch_no: row.dispatch_no,
            // A run that goes on from a checkpoint or must reproduce another one has its forward passes alone.
            batch_key: row
                .batch_key
                .clone()
                .filter(|_| row.checkpoint_key.is_none() && row.replays.is_none())
                .map(BatchKey::from_stored),
            attempts: row.attempts,
            lease_remaining_s: row.lease_remaining_s.unwrap_or_default(),
            gpu_seconds: row.gpu_seconds,
            job: row.into_job()?,
        }))
    }
}
