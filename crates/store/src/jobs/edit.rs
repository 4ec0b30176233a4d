//! What owners do to their jobs: cancel, retry, delete, restore.

use domain::{JobId, JobStatus};
use sqlx::{Connection, PgConnection};

use crate::connect::Store;
use crate::error::Result;
use crate::jobs::{CancelOutcome, DeleteOutcome, RetryOutcome, Scope};
use crate::retry::on_conflict;
use crate::row::word;
use crate::transition::transition;

impl Store {
    /// Cancels a job: immediately while it waits or is drafted, through its worker while it runs.
    ///
    /// # Errors
    /// The database's error.
    pub async fn cancel(&self, scope: Scope, job_id: JobId) -> Result<CancelOutcome> {
        on_conflict(|| async {
            let mut connection = self.pool.acquire().await?;
            let outcome = self.pool.in_time(cancel(&mut connection, scope, job_id)).await;
            connection.settle(outcome).await
        })
        .await
    }

    /// Puts a failed or cancelled job back into the backlog, with its attempts reset. Plan, checkpoint and seed stay, so
    /// that it renders the same video and continues where it stopped.
    ///
    /// # Errors
    /// The database's error.
    pub async fn retry(&self, scope: Scope, job_id: JobId) -> Result<RetryOutcome> {
        on_conflict(|| self.retry_once(scope, job_id)).await
    }

    async fn retry_once(&self, scope: Scope, job_id: JobId) -> Result<RetryOutcome> {
        let moved = transition!(
            r#"-- retry_job
            WITH moved AS (
                UPDATE jobs SET status = 'queued', cancel_requested_at = NULL, attempts = 0, attempts_total = 0,
                    not_before = NULL, failure_code = NULL, failure_reason = NULL, pool = NULL, worker_id = NULL,
                    stage = NULL, started_at = NULL, finished_at = NULL,
                    deadline_at = clock_timestamp()
                        + make_interval(secs => COALESCE((request ->> 'deadline_s')::int, deadline_s)),
                    start_by = clock_timestamp()
                        + make_interval(secs => COALESCE((request ->> 'deadline_s')::int, deadline_s) - estimate_s)
                WHERE id = $1 AND ($2::uuid IS NULL OR tenant_id = $2) AND deleted_at IS NULL
                    AND status IN ('failed', 'cancelled')
                RETURNING id, tenant_id, model_id, tier, complexity, status, 'queued' AS kind,
                    '{"retry": true}'::jsonb AS detail, 'retried' AS counter, false AS lost, NULL::text AS dropped
            )"#,
            job_id.0,
            scope.tenant()
        )
        .fetch_optional(&self.pool)
        .await?;
        if moved.is_some() {
            return Ok(RetryOutcome::Queued);
        }
        let mut connection = self.pool.acquire().await?;
        let status = self.pool.in_time(status_of(&mut connection, scope, job_id)).await;
        Ok(match connection.settle(status).await? {
            Some((status, false)) => RetryOutcome::NotEnded(status),
            _ => RetryOutcome::NotFound,
        })
    }

    /// Hides a job, and cancels it first if it has not ended. Its objects stay until retention purges it.
    ///
    /// # Errors
    /// The database's error.
    pub async fn soft_delete(&self, scope: Scope, job_id: JobId) -> Result<DeleteOutcome> {
        on_conflict(|| async {
            let mut connection = self.pool.acquire().await?;
            let outcome = self.pool.in_time(soft_delete(&mut connection, scope, job_id)).await;
            connection.settle(outcome).await
        })
        .await
    }

    /// Restores a deleted job; `false` when there is none.
    ///
    /// # Errors
    /// The database's error.
    pub async fn restore(&self, scope: Scope, job_id: JobId) -> Result<bool> {
        let restored = sqlx::query_scalar!(
            r#"-- restore_job
            WITH moved AS (
                UPDATE jobs SET deleted_at = NULL
                WHERE id = $1 AND ($2::uuid IS NULL OR tenant_id = $2) AND deleted_at IS NOT NULL
                RETURNING id, tenant_id
            ), told AS (
                INSERT INTO job_events (job_id, tenant_id, kind) SELECT id, tenant_id, 'restored' FROM moved
            )
            SELECT id AS "id!" FROM moved"#,
            job_id.0,
            scope.tenant()
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(restored.is_some())
    }
}

pub(crate) async fn cancel(connection: &mut PgConnection, scope: Scope, job_id: JobId) -> Result<CancelOutcome> {
    let moved = transition!(
        r#"-- cancel_job
        WITH moved AS (
            UPDATE jobs SET
                cancel_requested_at = clock_timestamp(),
                status = CASE status WHEN 'running' THEN 'running' ELSE 'cancelled' END,
                finished_at = CASE status WHEN 'running' THEN NULL ELSE clock_timestamp() END
            WHERE id = $1 AND ($2::uuid IS NULL OR tenant_id = $2)
                AND status IN ('queued', 'scheduled', 'running', 'drafted')
                -- A second request changes nothing and writes no event.
                AND cancel_requested_at IS NULL
            RETURNING id, tenant_id, model_id, tier, complexity, status,
                CASE status WHEN 'running' THEN 'cancel_requested' ELSE 'cancelled' END AS kind, '{}'::jsonb AS detail,
                CASE status WHEN 'cancelled' THEN 'cancelled' END AS counter, false AS lost, NULL::text AS dropped
        )"#,
        job_id.0,
        scope.tenant()
    )
    .fetch_optional(&mut *connection)
    .await?;
    let status = match moved {
        Some(moved) => Some(moved.status()?),
        None => match status_of(connection, scope, job_id).await? {
            Some((status, _)) if status.is_terminal() => return Ok(CancelOutcome::AlreadyEnded(status)),
            other => other.map(|(status, _)| status),
        },
    };
    Ok(match status {
        Some(JobStatus::Cancelled) => CancelOutcome::Cancelled,
        Some(_) => CancelOutcome::Requested,
        None => CancelOutcome::NotFound,
    })
}

async fn soft_delete(connection: &mut PgConnection, scope: Scope, job_id: JobId) -> Result<DeleteOutcome> {
    let mut transaction = connection.begin().await?;
    if cancel(&mut transaction, scope, job_id).await? == CancelOutcome::NotFound {
        return Ok(DeleteOutcome::NotFound);
    }
    let status = sqlx::query_scalar!(
        r#"-- soft_delete_job
                WITH moved AS (
                    UPDATE jobs SET deleted_at = clock_timestamp()
                    WHERE id = $1 AND ($2::uuid IS NULL OR tenant_id = $2) AND deleted_at IS NULL
                    RETURNING id, tenant_id, status
                ), told AS (
                    INSERT INTO job_events (job_id, tenant_id, kind) SELECT id, tenant_id, 'deleted' FROM moved
                )
                SELECT status AS "status!" FROM moved"#,
        job_id.0,
        scope.tenant()
    )
    .fetch_optional(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(match status.as_deref() {
        Some("running") => DeleteOutcome::DeletedWhileRunning,
        Some(_) => DeleteOutcome::Deleted,
        None => DeleteOutcome::NotFound,
    })
}

/// The job's status, and whether it is deleted.
pub(crate) async fn status_of(
    connection: &mut PgConnection,
    scope: Scope,
    job_id: JobId,
) -> Result<Option<(JobStatus, bool)>> {
    let row = sqlx::query!(
        r#"-- status_of_job
        SELECT status, deleted_at IS NOT NULL AS "deleted!" FROM jobs
        WHERE id = $1 AND ($2::uuid IS NULL OR tenant_id = $2)"#,
        job_id.0,
        scope.tenant()
    )
    .fetch_optional(connection)
    .await?;
    row.map(|row| Ok((word(job_id, "status", &row.status)?, row.deleted))).transpose()
}
