//! What time does to jobs: leases that ran out, rows and objects past their retention.
//!
//! Rule: conditions on times compare with `statement_timestamp()`, which an index can answer; `clock_timestamp()` may change within
//! a statement, so Postgres would look at every row.
//!
//! Rule: an object is deleted only after the row's pointer to it has moved in a committed, guarded statement; what a
//! crash leaves between the two is found by [`Store::orphans`].

use chrono::{DateTime, Utc};
use domain::{JobId, JobStatus, LeaseToken};
use uuid::Uuid;

use crate::connect::Store;
use crate::error::Result;
use crate::leader::Epoch;
use crate::leases::RetryPolicy;
use crate::retry::on_conflict;
use crate::transition::transition;

/// A job whose lease ran out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostLease {
    /// The job.
    pub job_id: JobId,
    /// Where it went: `Queued`, `Failed` or `Cancelled`.
    pub status: JobStatus,
}

/// A purged job and the objects that nothing points to any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purged {
    /// The job.
    pub job_id: JobId,
    /// Its objects, to delete.
    pub objects: Vec<String>,
}

/// An object found in the store, named by its own key `<job>/<token>/...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// The whole key.
    pub key: String,
    /// Its first part.
    pub job_id: JobId,
    /// Its second part.
    pub token: LeaseToken,
}

impl Store {
    /// Takes jobs away from workers that stopped renewing. Nothing expires while Postgres itself has been up for less
    /// than `lease_s`, since nobody could renew before. The caller must in addition have seen the database answer for
    /// that long.
    ///
    /// # Errors
    /// [`crate::StoreError::NotLeader`] when the epoch does not lead.
    pub async fn expire_leases(
        &self,
        lease_s: f64,
        policy: RetryPolicy,
        limit: u32,
        epoch: Epoch,
    ) -> Result<Vec<LostLease>> {
        let moved = on_conflict(|| async {
            let moved = transition!(
                r#"-- expire_leases
                WITH led AS MATERIALIZED (
                    SELECT epoch FROM leader WHERE epoch = $7 AND expires_at > clock_timestamp() FOR SHARE
                ), held AS MATERIALIZED (
                    SELECT id, CASE
                        WHEN cancel_requested_at IS NOT NULL THEN 'cancelled'
                        WHEN attempts < $2 AND attempts_total < $3 THEN 'queued'
                        ELSE 'failed' END AS next,
                        -- Jobs that a worker rendered together share its time.
                        GREATEST(0, extract(epoch FROM progressed_at - claimed_at)) * CASE stage WHEN 'deliver' THEN 1 ELSE (
                            SELECT LEAST(1, COALESCE(max(w.slots), 1)::float8 / GREATEST(count(*), 1))
                            FROM jobs AS beside LEFT JOIN workers AS w ON w.id = beside.worker_id
                            WHERE beside.worker_id = jobs.worker_id AND beside.status = 'running'
                                AND beside.stage IS DISTINCT FROM 'deliver') END AS worked_s
                    FROM jobs
                    WHERE status = 'running' AND lease_expires_at < clock_timestamp()
                        AND pg_postmaster_start_time() < clock_timestamp() - make_interval(secs => $1)
                        AND EXISTS (SELECT FROM led)
                    -- By the lease: ordered by id, the planner might walk through all jobs to find the first few.
                    ORDER BY lease_expires_at LIMIT $6 FOR UPDATE SKIP LOCKED
                ), moved AS (
                    UPDATE jobs SET status = next, lease_token = NULL, lease_expires_at = NULL, stage = NULL,
                        gpu_seconds = gpu_seconds + worked_s,
                        pool = CASE next WHEN 'queued' THEN NULL ELSE pool END,
                        worker_id = CASE next WHEN 'queued' THEN NULL ELSE worker_id END,
                        not_before = CASE next WHEN 'queued' THEN clock_timestamp() + make_interval(
                            secs => LEAST($5, $4 * power(2, LEAST(GREATEST(attempts - 1, 0), 30)))) END,
                        failure_code = CASE next WHEN 'failed' THEN 'worker_lost' END,
                        failure_reason = CASE next WHEN 'failed' THEN format('its worker stopped answering, %s times '
                            'in all; look at the workers'' logs and memory, then retry the job', attempts_total) END,
                        finished_at = CASE next WHEN 'queued' THEN NULL ELSE clock_timestamp() END
                    FROM held WHERE jobs.id = held.id
                    RETURNING jobs.id, tenant_id, model_id, tier, complexity, status,
                        CASE next WHEN 'queued' THEN 'retrying' ELSE next END AS kind,
                        jsonb_build_object('attempt', attempts_total, 'code', 'worker_lost') AS detail,
                        CASE next WHEN 'queued' THEN 'requeued' ELSE next END AS counter, true AS lost,
                        NULL::text AS dropped
                )"#,
                lease_s,
                policy.limits.attempts_max,
                policy.limits.attempts_total_max,
                policy.backoff_s,
                policy.backoff_max_s,
                i64::from(limit),
                epoch.0
            )
            .fetch_all(&self.pool)
            .await?;
            Ok(moved)
        })
        .await?;
        if moved.is_empty() {
            self.ensure_leads(epoch).await?;
        }
        moved.iter().map(|row| Ok(LostLease { job_id: JobId(row.id), status: row.status()? })).collect()
    }

    /// Marks jobs that ended more than `keep_s` seconds ago as deleted, oldest first; returns how many. From then on they
    /// are treated like jobs that their owners deleted: [`Store::purge_deleted`] removes them after its own time.
    ///
    /// # Errors
    /// The database's.
    pub async fn delete_finished(&self, keep_s: f64, limit: u32) -> Result<u64> {
        let deleted = sqlx::query_scalar!(
            r#"-- delete_finished_jobs
            WITH held AS MATERIALIZED (
                SELECT id FROM jobs
                WHERE deleted_at IS NULL AND status IN ('completed', 'failed', 'cancelled')
                    AND finished_at <= statement_timestamp() - make_interval(secs => $1)
                ORDER BY finished_at LIMIT $2 FOR UPDATE SKIP LOCKED
            ), moved AS (
                UPDATE jobs SET deleted_at = clock_timestamp() WHERE id = ANY(ARRAY(SELECT id FROM held))
                RETURNING id, tenant_id
            ), told AS (
                INSERT INTO job_events (job_id, tenant_id, kind) SELECT id, tenant_id, 'deleted' FROM moved
            )
            SELECT count(*) AS "jobs!" FROM moved"#,
            keep_s,
            i64::from(limit)
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(u64::try_from(deleted).unwrap_or_default())
    }

    /// Removes jobs that their owners deleted more than `retention_s` ago and that have ended, with their events.
    ///
    /// # Errors
    /// The database's.
    pub async fn purge_deleted(&self, retention_s: f64, limit: u32) -> Result<Vec<Purged>> {
        let rows = sqlx::query!(
            r#"-- purge_deleted_jobs
            WITH held AS MATERIALIZED (
                SELECT id FROM jobs
                WHERE deleted_at <= statement_timestamp() - make_interval(secs => $1)
                    AND status IN ('completed', 'failed', 'cancelled')
                ORDER BY deleted_at LIMIT $2 FOR UPDATE SKIP LOCKED
            ), forgotten AS (
                DELETE FROM job_events WHERE job_id = ANY(ARRAY(SELECT id FROM held))
            ), purged AS (
                DELETE FROM job_runs WHERE job_id = ANY(ARRAY(SELECT id FROM held))
            )
            DELETE FROM jobs WHERE id = ANY(ARRAY(SELECT id FROM held))
            RETURNING jobs.id, array_remove(ARRAY[video_key, poster_key, checkpoint_key, preview_key], NULL) AS "objects!""#,
            retention_s,
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| Purged { job_id: JobId(row.id), objects: row.objects }).collect())
    }

    /// Drops the checkpoints of jobs that ended without a video more than `keep_s` ago; answers the objects to delete.
    /// Until then a retry goes on from them.
    ///
    /// # Errors
    /// The database's.
    pub async fn drop_stale_checkpoints(&self, keep_s: f64, limit: u32) -> Result<Vec<String>> {
        let rows = sqlx::query_scalar!(
            r#"-- drop_stale_checkpoints
            WITH held AS MATERIALIZED (
                SELECT id, checkpoint_key FROM jobs
                WHERE checkpoint_key IS NOT NULL AND status IN ('completed', 'failed', 'cancelled')
                    AND finished_at <= statement_timestamp() - make_interval(secs => $1)
                ORDER BY finished_at LIMIT $2 FOR UPDATE SKIP LOCKED
            ), moved AS (
                UPDATE jobs SET checkpoint_key = NULL, checkpoint_step = 0, checkpoint_checksum = NULL,
                    checkpoint_resumes = 0
                FROM held WHERE jobs.id = held.id
                RETURNING jobs.id
            )
            SELECT held.checkpoint_key AS "key!" FROM held JOIN moved USING (id)"#,
            keep_s,
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows)
    }

    /// Of these objects, the keys that no row points to and whose token holds no lease. The caller spares what is
    /// younger than a grace age, since an upload goes before its commit.
    ///
    /// # Errors
    /// The database's.
    pub async fn orphans(&self, objects: &[StoredObject]) -> Result<Vec<String>> {
        let keys: Vec<&str> = objects.iter().map(|object| object.key.as_str()).collect();
        let jobs: Vec<Uuid> = objects.iter().map(|object| object.job_id.0).collect();
        let tokens: Vec<Uuid> = objects.iter().map(|object| object.token.0).collect();
        let orphans = sqlx::query_scalar!(
            r#"-- orphaned_objects
            SELECT given.key AS "key!"
            FROM UNNEST($1::text[], $2::uuid[], $3::uuid[]) AS given (key, job_id, token)
            LEFT JOIN jobs ON jobs.id = given.job_id
            WHERE (jobs.lease_token = given.token) IS NOT TRUE
                AND (given.key IN (jobs.video_key, jobs.poster_key, jobs.checkpoint_key, jobs.preview_key)) IS NOT TRUE"#,
            &keys as _,
            &jobs,
            &tokens
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(orphans)
    }

    /// Forgets events older than `keep_s`; answers how many. Streams that were away for longer start at what is left.
    ///
    /// # Errors
    /// The database's.
    pub async fn purge_events(&self, keep_s: f64, limit: u32) -> Result<u64> {
        let purged = sqlx::query!(
            "-- purge_events
             -- The oldest events by the order in which they were written, which is nearly that of their times. By their places in
             -- the table, since events never change and any other join might read all of it.
             DELETE FROM job_events WHERE ctid = ANY(ARRAY(
                 SELECT place FROM (SELECT ctid AS place, at FROM job_events ORDER BY txid, seq LIMIT $2) AS oldest
                 WHERE at < statement_timestamp() - make_interval(secs => $1)))",
            keep_s,
            i64::from(limit)
        )
        .execute(&self.pool)
        .await?;
        Ok(purged.rows_affected())
    }

    /// The database's time and when its server started: what a sweeper compares its own observations with.
    ///
    /// # Errors
    /// The database's.
    pub async fn server_times(&self) -> Result<(DateTime<Utc>, DateTime<Utc>)> {
        let row = sqlx::query!(
            r#"-- server_times
            SELECT clock_timestamp() AS "now!", pg_postmaster_start_time() AS "started!""#
        )
        .fetch_one(&self.pool)
        .await?;
        Ok((row.now, row.started))
    }
}
