//! The ways in which a worker ends a run.
//!
//! Rule: each of them ends the job as cancelled when a cancel was requested. A completion that commits first takes precedence; a
//! later cancel then finds an ended job. `ended_token` records which lease ended the job, so that a repeated call is
//! distinguished from a stale worker.

use domain::finite::or_zero;
use domain::{Failure, FailureAction, Rendered, RunRecord};

use crate::connect::Store;
use crate::error::{Result, StoreError};
use crate::leases::{Ended, Lease, RetryPolicy};
use crate::retry::on_conflict;
use crate::row::{int, to_json, word};
use crate::transition::{Moved, transition};

/// Completes `complete_job`, which begins `WITH ... moved AS (UPDATE jobs ... RETURNING ...`: writes the event and adds the
/// run to the statistics. The parameters are those of `complete_once`.
macro_rules! with_event_and_statistics {
    ($head:tt $($args:tt)*) => {
        sqlx::query_as!(
            Moved,
            $head + r#"
            ), told AS (
                -- 3. Write the event.
                INSERT INTO job_events (job_id, tenant_id, kind, detail)
                SELECT id, tenant_id, status,
                    CASE WHEN done THEN jsonb_build_object('steps', final_steps, 'run_s', $10::float8) ELSE '{}' END
                FROM moved
            ), counted AS (
                -- 4. Add to the hourly and the all-time statistics.
                INSERT INTO stats_hourly AS s (tenant_id, bucket, model_id, tier, complexity, shard, completed,
                    cancelled, cache_identical, cache_similar, cache_misses, steps_planned, steps_computed,
                    steps_skipped, wait_s, run_s, estimate_s, video_s, gpu_seconds, cost_usd, saved_s, saved_usd, deadlines_met,
                    deadlines_missed)
                SELECT tenant_id, bucket, model_id, COALESCE(tier, ''), COALESCE(complexity, ''), pg_backend_pid() % 8,
                    done::int, (NOT done)::int,
                    (done AND $7::text = 'identical')::int, (done AND $7 = 'similar')::int, (done AND $7 = 'miss')::int,
                    CASE WHEN done THEN final_steps ELSE 0 END, CASE WHEN done THEN $8::int ELSE 0 END,
                    CASE WHEN done THEN $9::int ELSE 0 END,
                    CASE WHEN done THEN extract(epoch FROM started_at - created_at) ELSE 0 END,
                    CASE WHEN done THEN $10 ELSE 0 END, CASE WHEN done THEN estimate_s ELSE 0 END,
                    CASE WHEN done THEN frames / fps ELSE 0 END,
                    CASE WHEN done THEN $14::float8 ELSE 0 END, CASE WHEN done THEN $11::float8 ELSE 0 END,
                    CASE WHEN done THEN $12::float8 ELSE 0 END, CASE WHEN done THEN $13::float8 ELSE 0 END,
                    (done AND deadline_at IS NOT NULL AND finished_at <= deadline_at)::int,
                    (done AND deadline_at IS NOT NULL AND finished_at > deadline_at)::int
                FROM moved, (VALUES (date_trunc('hour', clock_timestamp(), 'UTC')), ('-infinity')) AS b (bucket)
                ORDER BY bucket
                ON CONFLICT (tenant_id, bucket, model_id, tier, complexity, shard) DO UPDATE SET
                    completed = s.completed + EXCLUDED.completed,
                    cancelled = s.cancelled + EXCLUDED.cancelled,
                    cache_identical = s.cache_identical + EXCLUDED.cache_identical,
                    cache_similar = s.cache_similar + EXCLUDED.cache_similar,
                    cache_misses = s.cache_misses + EXCLUDED.cache_misses,
                    steps_planned = s.steps_planned + EXCLUDED.steps_planned,
                    steps_computed = s.steps_computed + EXCLUDED.steps_computed,
                    steps_skipped = s.steps_skipped + EXCLUDED.steps_skipped,
                    wait_s = s.wait_s + EXCLUDED.wait_s,
                    run_s = s.run_s + EXCLUDED.run_s,
                    estimate_s = s.estimate_s + EXCLUDED.estimate_s,
                    video_s = s.video_s + EXCLUDED.video_s,
                    gpu_seconds = s.gpu_seconds + EXCLUDED.gpu_seconds,
                    cost_usd = s.cost_usd + EXCLUDED.cost_usd,
                    saved_s = s.saved_s + EXCLUDED.saved_s,
                    saved_usd = s.saved_usd + EXCLUDED.saved_usd,
                    deadlines_met = s.deadlines_met + EXCLUDED.deadlines_met,
                    deadlines_missed = s.deadlines_missed + EXCLUDED.deadlines_missed
            )
            SELECT id AS "id!", status AS "status!", dropped FROM moved"#
            $($args)*
        )
    };
}

impl Store {
    /// Marks the job as completed and stores the keys of its video. If a cancel was requested, the job ends cancelled
    /// instead, and the caller must delete the video's objects.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`]; the caller must then delete the video's objects as well.
    pub async fn complete(&self, lease: Lease, rendered: &Rendered, record: &RunRecord) -> Result<Ended> {
        let moved = on_conflict(|| self.complete_once(lease, rendered, record)).await?;
        self.ended(lease, moved).await
    }

    async fn complete_once(&self, lease: Lease, rendered: &Rendered, record: &RunRecord) -> Result<Option<Moved>> {
        let moved = with_event_and_statistics!(
            r#"-- complete_job
            WITH held AS MATERIALIZED (
                -- 1. Lock the row if this lease still holds it. A requested cancel takes precedence over the result.
                SELECT id, checkpoint_key, cancel_requested_at IS NULL AS done FROM jobs
                WHERE id = $1 AND lease_token = $2 AND status = 'running' FOR UPDATE
            ), moved AS (
                UPDATE jobs SET
                    -- 2. Store the result and end the lease.
                    status = CASE WHEN done THEN 'completed' ELSE 'cancelled' END,
                    video_key = CASE WHEN done THEN $3 END, poster_key = CASE WHEN done THEN $4 END,
                    video_bytes = CASE WHEN done THEN $5::bigint END, record = CASE WHEN done THEN $6::jsonb END,
                    step = CASE WHEN done THEN final_steps ELSE step END, steps_skipped = $9,
                    gpu_seconds = $14,
                    -- A cancelled job may be retried from its checkpoint; a completed job no longer needs it.
                    checkpoint_key = CASE WHEN done THEN NULL ELSE jobs.checkpoint_key END,
                    checkpoint_step = CASE WHEN done THEN 0 ELSE checkpoint_step END,
                    checkpoint_checksum = CASE WHEN done THEN NULL ELSE checkpoint_checksum END,
                    checkpoint_resumes = CASE WHEN done THEN 0 ELSE checkpoint_resumes END,
                    lease_token = NULL, lease_expires_at = NULL, ended_token = $2, stage = NULL,
                    finished_at = clock_timestamp()
                FROM held WHERE jobs.id = held.id
                RETURNING jobs.id, tenant_id, model_id, tier, complexity, status, final_steps,
                    estimate_s, created_at, started_at, finished_at, deadline_at, frames, fps, done,
                    CASE WHEN done THEN held.checkpoint_key END AS dropped"#,
            lease.job_id.0,
            lease.token.0,
            rendered.video_key,
            rendered.poster_key,
            rendered.video_bytes,
            to_json("record", record)?,
            record.cache_match.as_str(),
            int("steps_computed", record.steps_computed)?,
            int("steps_skipped", record.steps_skipped)?,
            or_zero(record.stages.total_s()),
            or_zero(record.cost_usd),
            or_zero(record.saved_s),
            or_zero(record.saved_usd),
            or_zero(record.gpu_seconds)
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(moved)
    }

    /// Ends the run with a failure. `gpu_seconds` are those of this attempt.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`].
    pub async fn fail(
        &self,
        lease: Lease,
        failure: &Failure,
        action: FailureAction,
        policy: RetryPolicy,
        gpu_seconds: f64,
    ) -> Result<Ended> {
        let may_retry = action == FailureAction::Retry;
        let moved = on_conflict(|| async {
            let moved = transition!(
                r#"-- fail_job
                WITH held AS MATERIALIZED (
                    -- 1. Lock the row if this lease still holds it, and choose between cancelled, another attempt and
                    -- failed.
                    SELECT id, CASE
                        WHEN cancel_requested_at IS NOT NULL THEN 'cancelled'
                        WHEN $5 AND attempts < $6 AND attempts_total < $7 THEN 'queued'
                        ELSE 'failed' END AS next
                    FROM jobs WHERE id = $1 AND lease_token = $2 AND status = 'running' FOR UPDATE
                ), moved AS (
                    -- 2. Make the move. Only a job that goes back to the queue gets a backoff; only a failed job gets a
                    -- reason.
                    UPDATE jobs SET status = next, lease_token = NULL, lease_expires_at = NULL, ended_token = $2,
                        stage = NULL, gpu_seconds = gpu_seconds + $10,
                        pool = CASE next WHEN 'queued' THEN NULL ELSE pool END,
                        worker_id = CASE next WHEN 'queued' THEN NULL ELSE worker_id END,
                        not_before = CASE next WHEN 'queued' THEN clock_timestamp() + make_interval(
                            secs => LEAST($9, $8 * power(2, LEAST(GREATEST(attempts - 1, 0), 30)))) END,
                        failure_code = CASE next WHEN 'failed' THEN $3 END,
                        failure_reason = CASE next WHEN 'failed' THEN $4 END,
                        finished_at = CASE next WHEN 'queued' THEN NULL ELSE clock_timestamp() END
                    FROM held WHERE jobs.id = held.id
                    RETURNING jobs.id, tenant_id, model_id, tier, complexity, status,
                        CASE next WHEN 'queued' THEN 'retrying' ELSE next END AS kind,
                        jsonb_build_object('attempt', attempts_total, 'code', $3::text, 'reason', $4::text) AS detail,
                        CASE next WHEN 'queued' THEN 'requeued' ELSE next END AS counter, false AS lost,
                        NULL::text AS dropped
                )"#,
                lease.job_id.0,
                lease.token.0,
                failure.code,
                failure.reason,
                may_retry,
                policy.limits.attempts_max,
                policy.limits.attempts_total_max,
                policy.backoff_s,
                policy.backoff_max_s,
                gpu_seconds
            )
            .fetch_optional(&self.pool)
            .await?;
            Ok(moved)
        })
        .await?;
        self.ended(lease, moved).await
    }

    /// Gives the job back, because the worker stops or the scheduler asked for its slot. Costs no attempt.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`].
    pub async fn hand_back(&self, lease: Lease, gpu_seconds: f64) -> Result<Ended> {
        let moved = on_conflict(|| async {
            let moved = transition!(
                r#"-- hand_back_job
                WITH held AS MATERIALIZED (
                    SELECT id, CASE WHEN cancel_requested_at IS NULL THEN 'queued' ELSE 'cancelled' END AS next
                    FROM jobs WHERE id = $1 AND lease_token = $2 AND status = 'running' FOR UPDATE
                ), moved AS (
                    UPDATE jobs SET status = next, lease_token = NULL, lease_expires_at = NULL, ended_token = $2,
                        stage = NULL, gpu_seconds = gpu_seconds + $3, attempts = attempts - 1,
                        attempts_total = attempts_total - 1,
                        -- The checkpoint did no harm, unless the device broke.
                        checkpoint_resumes = GREATEST(0, checkpoint_resumes
                            - CASE WHEN device_faults = 0 AND stage <> 'prepare' THEN 1 ELSE 0 END),
                        pool = CASE next WHEN 'queued' THEN NULL ELSE pool END,
                        worker_id = CASE next WHEN 'queued' THEN NULL ELSE worker_id END,
                        finished_at = CASE next WHEN 'queued' THEN NULL ELSE clock_timestamp() END
                    FROM held WHERE jobs.id = held.id
                    RETURNING jobs.id, tenant_id, model_id, tier, complexity, status,
                        CASE next WHEN 'queued' THEN 'handed_back' ELSE next END AS kind,
                        jsonb_build_object('step', checkpoint_step, 'preempted', preempt_requested_at IS NOT NULL) AS detail,
                        CASE WHEN next <> 'queued' THEN next WHEN preempt_requested_at IS NULL THEN 'handed_back'
                            ELSE 'preempted' END AS counter, false AS lost,
                        NULL::text AS dropped
                )"#,
                lease.job_id.0,
                lease.token.0,
                gpu_seconds
            )
            .fetch_optional(&self.pool)
            .await?;
            Ok(moved)
        })
        .await?;
        self.ended(lease, moved).await
    }

    /// Counts that the device broke during this run; returns how often that has happened to the job. Repeating it after a lost reply
    /// may count twice.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`].
    pub async fn count_device_fault(&self, lease: Lease) -> Result<i32> {
        sqlx::query_scalar!(
            "-- count_device_fault
             UPDATE jobs SET device_faults = device_faults + 1
             WHERE id = $1 AND lease_token = $2 AND status = 'running' RETURNING device_faults",
            lease.job_id.0,
            lease.token.0
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or(StoreError::LeaseLost { job_id: lease.job_id })
    }

    /// Ends the run because of a requested cancel. Its checkpoint stays for a retry, until retention drops it.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`], also when no cancel was requested.
    pub async fn stopped(&self, lease: Lease, gpu_seconds: f64) -> Result<Ended> {
        let moved = on_conflict(|| async {
            let moved = transition!(
                r#"-- stop_job
                WITH moved AS (
                    UPDATE jobs SET status = 'cancelled', lease_token = NULL, lease_expires_at = NULL,
                        ended_token = $2, stage = NULL, gpu_seconds = gpu_seconds + $3,
                        finished_at = clock_timestamp()
                    WHERE id = $1 AND lease_token = $2 AND status = 'running' AND cancel_requested_at IS NOT NULL
                    RETURNING id, tenant_id, model_id, tier, complexity, status,
                        'cancelled' AS kind, '{}'::jsonb AS detail, 'cancelled' AS counter, false AS lost,
                        NULL::text AS dropped
                )"#,
                lease.job_id.0,
                lease.token.0,
                gpu_seconds
            )
            .fetch_optional(&self.pool)
            .await?;
            Ok(moved)
        })
        .await?;
        self.ended(lease, moved).await
    }

    /// The result of ending a run: this move, the same move of an earlier call, or a lost lease.
    pub(super) async fn ended(&self, lease: Lease, moved: Option<Moved>) -> Result<Ended> {
        if let Some(moved) = moved {
            return Ok(Ended { status: moved.status()?, drop: moved.dropped });
        }
        let status = sqlx::query_scalar!(
            "-- ended_before
             SELECT status FROM jobs WHERE id = $1 AND ended_token = $2",
            lease.job_id.0,
            lease.token.0
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or(StoreError::LeaseLost { job_id: lease.job_id })?;
        Ok(Ended { status: word(lease.job_id, "status", &status)?, drop: None })
    }
}
