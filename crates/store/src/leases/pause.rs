//! Ending a run in a pause: the draft is stored, and the job waits without a worker until it is continued.

use domain::DraftRecord;
use domain::finite::or_zero;

use crate::connect::Store;
use crate::error::Result;
use crate::leases::{Ended, Lease};
use crate::retry::on_conflict;
use crate::row::to_json;
use crate::transition::Moved;

impl Store {
    /// Pauses the job at its draft, whose checkpoint must be stored. If a cancel was requested, the job ends cancelled
    /// instead. `gpu_seconds` are those of this attempt.
    ///
    /// # Errors
    /// [`crate::StoreError::LeaseLost`], also when the job is not a draft or its checkpoint does not reach the draft's step.
    pub async fn pause(&self, lease: Lease, draft: &DraftRecord, gpu_seconds: f64) -> Result<Ended> {
        let moved = on_conflict(|| self.pause_once(lease, draft, gpu_seconds)).await?;
        self.ended(lease, moved).await
    }

    async fn pause_once(&self, lease: Lease, draft: &DraftRecord, gpu_seconds: f64) -> Result<Option<Moved>> {
        let moved = sqlx::query_as!(
            Moved,
            r#"-- pause_job
            WITH held AS MATERIALIZED (
                -- 1. Lock the row if this lease still holds it and the draft is stored.
                SELECT id, cancel_requested_at IS NULL AS kept FROM jobs
                WHERE id = $1 AND lease_token = $2 AND status = 'running' AND checkpoint_step >= draft_until FOR UPDATE
            ), moved AS (
                -- 2. End the lease. A job pauses once: whatever continues it takes it to its end.
                UPDATE jobs SET status = CASE WHEN kept THEN 'drafted' ELSE 'cancelled' END,
                    lease_token = NULL, lease_expires_at = NULL, ended_token = $2, stage = NULL, pool = NULL,
                    step = checkpoint_step, draft_until = NULL, drafted_at = clock_timestamp(), draft = $3::jsonb,
                    gpu_seconds = gpu_seconds + $4, finished_at = CASE WHEN kept THEN NULL ELSE clock_timestamp() END
                FROM held WHERE jobs.id = held.id
                RETURNING jobs.id, tenant_id, model_id, tier, complexity, status, kept, checkpoint_step
            ), told AS (
                -- 3. Write the event.
                INSERT INTO job_events (job_id, tenant_id, kind, detail)
                SELECT id, tenant_id, status, jsonb_build_object('step', checkpoint_step) FROM moved
            ), counted AS (
                -- 4. Add to the hourly and the all-time statistics.
                INSERT INTO stats_hourly AS s (tenant_id, bucket, model_id, tier, complexity, shard, drafted, cancelled,
                    draft_gpu_seconds)
                SELECT tenant_id, bucket, model_id, COALESCE(tier, ''), COALESCE(complexity, ''), pg_backend_pid() % 8,
                    kept::int, (NOT kept)::int, $4
                FROM moved, (VALUES (date_trunc('hour', clock_timestamp(), 'UTC')), ('-infinity')) AS b (bucket)
                ORDER BY bucket
                ON CONFLICT (tenant_id, bucket, model_id, tier, complexity, shard) DO UPDATE SET
                    drafted = s.drafted + EXCLUDED.drafted,
                    cancelled = s.cancelled + EXCLUDED.cancelled,
                    draft_gpu_seconds = s.draft_gpu_seconds + EXCLUDED.draft_gpu_seconds
            )
            SELECT id AS "id!", status AS "status!", NULL::text AS dropped FROM moved"#,
            lease.job_id.0,
            lease.token.0,
            to_json("draft", draft)?,
            or_zero(gpu_seconds)
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(moved)
    }
}
