//! Reads whole jobs. The only query that lists all columns, so that a new column is added in one place.

use std::collections::HashMap;

use domain::{Job, JobId, TenantId};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::connect::Store;
use crate::document::query_with_request;
use crate::error::Result;
use crate::jobs::Scope;
use crate::readable::readable;
use crate::row::JobRow;

impl Store {
    /// One job, also if it is deleted (`deleted_at` is set). Does not fill in `queue_position`; see
    /// [`Store::queue_position`].
    ///
    /// # Errors
    /// The database's error.
    pub async fn get(&self, scope: Scope, job_id: JobId) -> Result<Option<Job>> {
        let mut rows = self.load_rows(scope.tenant(), &[job_id.0]).await?;
        rows.remove(&job_id.0).map(JobRow::into_job).transpose()
    }

    /// Several jobs in the order of `ids`, without those that do not exist or belong to another tenant.
    ///
    /// # Errors
    /// The database's error.
    pub async fn get_many(&self, scope: Scope, ids: &[JobId]) -> Result<Vec<Job>> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let mut rows = self.load_rows(scope.tenant(), &ids).await?;
        readable(ids.iter().filter_map(|id| rows.remove(id)).map(JobRow::into_job))
    }

    /// Rows by id; a `tenant` of `None` means the whole fleet.
    pub(crate) async fn load_rows(&self, tenant: Option<Uuid>, ids: &[Uuid]) -> Result<HashMap<Uuid, JobRow>> {
        let mut connection = self.pool.acquire().await?;
        let rows = self.pool.in_time(rows_by_id(&mut connection, tenant, ids)).await;
        connection.settle(rows).await
    }

    /// The job of one tenant that was submitted with this idempotency key.
    ///
    /// # Errors
    /// The database's error.
    pub async fn get_by_key(&self, tenant_id: TenantId, key: &str) -> Result<Option<Job>> {
        let id = sqlx::query_scalar!(
            "-- find_job_by_key
             SELECT id FROM jobs WHERE tenant_id = $1 AND idempotency_key = $2",
            tenant_id.0,
            key
        )
        .fetch_optional(&self.pool)
        .await?;
        match id {
            Some(id) => self.get(Scope::Tenant(tenant_id), JobId(id)).await,
            None => Ok(None),
        }
    }
}

/// Rows by id; a `tenant` of `None` means the whole fleet.
pub(crate) async fn rows_by_id(
    connection: &mut PgConnection,
    tenant: Option<Uuid>,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, JobRow>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = query_with_request!(
        JobRow,
        r#"-- load_jobs
            SELECT id, tenant_id, seed_drawn, width, height, frames, fps,"#,
        r#",
                   status, not_before, plan, worker_id, attempts_total, stage, step, steps_skipped,
                   checkpoint_key, checkpoint_step, checkpoint_checksum, checkpoint_resumes,
                   preview_key, preview_step, draft_until, draft, group_id, choice,
                   cancel_requested_at IS NOT NULL AND status IN ('queued', 'scheduled', 'running')
                       AS "cancel_requested!",
                   video_key, poster_key, video_bytes, record, failure_code, failure_reason, traceparent, origin,
                   replays,
                   created_at, started_at, finished_at, deleted_at,
                   dispatch_no, batch_key, lease_token, attempts, gpu_seconds, payload_hash,
                   extract(epoch FROM lease_expires_at - clock_timestamp())::double precision AS lease_remaining_s
            FROM jobs
            WHERE id = ANY($1) AND ($2::uuid IS NULL OR tenant_id = $2)"#,
        ids,
        tenant
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row)).collect())
}
