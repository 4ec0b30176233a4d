//! The pointer to the checkpoint. The object is written before the pointer moves to it and deleted after the pointer has
//! moved on.

use domain::CheckpointRef;

use crate::connect::Store;
use crate::error::{Result, StoreError};
use crate::leases::{Lease, ResumeOutcome, SavedCheckpoint};
use crate::row::{count, int};

impl Store {
    /// Points the row to a newer checkpoint, which resets the job's attempts. Ignores `resumes` of the argument: no worker
    /// has resumed from a new checkpoint.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`]; the caller must then delete the new object.
    pub async fn save_checkpoint(&self, lease: Lease, checkpoint: &CheckpointRef) -> Result<SavedCheckpoint> {
        let row = sqlx::query!(
            r#"-- save_checkpoint
            WITH held AS MATERIALIZED (
                SELECT id, checkpoint_key, checkpoint_step FROM jobs
                WHERE id = $1 AND lease_token = $2 AND status = 'running' FOR UPDATE
            ), moved AS (
                UPDATE jobs SET checkpoint_key = $3, checkpoint_step = $4, checkpoint_checksum = $5,
                    checkpoint_resumes = 0, attempts = 1
                FROM held WHERE jobs.id = held.id AND $4 > held.checkpoint_step
                RETURNING jobs.id
            )
            SELECT held.checkpoint_key AS previous, EXISTS (SELECT FROM moved) AS "stored!" FROM held"#,
            lease.job_id.0,
            lease.token.0,
            checkpoint.key,
            int("checkpoint_step", checkpoint.step)?,
            checkpoint.checksum
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or(StoreError::LeaseLost { job_id: lease.job_id })?;
        Ok(match row.stored {
            true => SavedCheckpoint::Stored { drop: row.previous },
            // A repeated call: the row already points to this object.
            false if row.previous.as_deref() == Some(&checkpoint.key) => SavedCheckpoint::Stored { drop: None },
            false => SavedCheckpoint::NotNewer,
        })
    }

    /// Counts that the caller resumes from the checkpoint, or drops it when `resumes_max` workers have done so before: it
    /// may be what kills them.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`].
    pub async fn begin_resume(&self, lease: Lease, resumes_max: u32) -> Result<ResumeOutcome> {
        let row = sqlx::query!(
            r#"-- begin_resume
            WITH held AS MATERIALIZED (
                SELECT id, checkpoint_key, checkpoint_resumes < $3 AS allowed FROM jobs
                WHERE id = $1 AND lease_token = $2 AND status = 'running' FOR UPDATE
            ), moved AS (
                UPDATE jobs SET
                    checkpoint_resumes = CASE WHEN held.allowed THEN checkpoint_resumes + 1 ELSE 0 END,
                    checkpoint_step = CASE WHEN held.allowed THEN checkpoint_step ELSE 0 END,
                    checkpoint_checksum = CASE WHEN held.allowed THEN checkpoint_checksum END,
                    checkpoint_key = CASE WHEN held.allowed THEN jobs.checkpoint_key END,
                    step = CASE WHEN held.allowed THEN step ELSE 0 END
                FROM held WHERE jobs.id = held.id AND held.checkpoint_key IS NOT NULL
                RETURNING jobs.id, checkpoint_resumes
            )
            SELECT held.checkpoint_key AS previous, held.allowed AS "allowed!",
                COALESCE((SELECT checkpoint_resumes FROM moved), 0) AS "resumes!"
            FROM held"#,
            lease.job_id.0,
            lease.token.0,
            int("resumes_max", resumes_max)?
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or(StoreError::LeaseLost { job_id: lease.job_id })?;
        Ok(match row.previous {
            None => ResumeOutcome::None,
            Some(_) if row.allowed => {
                ResumeOutcome::Resume { resumes: count(lease.job_id, "checkpoint_resumes", row.resumes)? }
            }
            Some(drop) => ResumeOutcome::Exhausted { drop },
        })
    }

    /// Drops a checkpoint that is damaged or of another build. Returns the object to delete.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`].
    pub async fn drop_checkpoint(&self, lease: Lease) -> Result<Option<String>> {
        let row = sqlx::query!(
            r#"-- drop_checkpoint
            WITH held AS MATERIALIZED (
                SELECT id, checkpoint_key FROM jobs
                WHERE id = $1 AND lease_token = $2 AND status = 'running' FOR UPDATE
            ), moved AS (
                UPDATE jobs SET checkpoint_key = NULL, checkpoint_step = 0, checkpoint_checksum = NULL,
                    checkpoint_resumes = 0, step = 0
                FROM held WHERE jobs.id = held.id
            )
            SELECT checkpoint_key FROM held"#,
            lease.job_id.0,
            lease.token.0
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or(StoreError::LeaseLost { job_id: lease.job_id })?;
        Ok(row.checkpoint_key)
    }
}
