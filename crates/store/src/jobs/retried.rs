//! Finds the job of an HTTP request that is sent again without an idempotency key, because its response was lost.
//!
//! Rule: a job is returned to each retry number only once. Two equal requests whose responses were both lost therefore get
//! two different jobs, and the second retry of one of them gets what its first retry got or what the other's got, which is
//! the same to the client.

use domain::{Job, JobId, TenantId};
use sqlx::{Connection, PgConnection};

use crate::connect::Store;
use crate::error::Result;
use crate::jobs::Scope;
use crate::retry::on_conflict;

impl Store {
    /// The newest job of the tenant with this `payload_hash` that was submitted in the last `window_s` seconds with a
    /// `retry_no` below `retry_no`; from then on it has this one. Jobs that an earlier retry returned go first, and failed or cancelled
    /// ones are left out. `None` if nothing matches: the first try never arrived.
    ///
    /// # Errors
    /// The database's error.
    pub async fn adopt_retried(
        &self,
        tenant_id: TenantId,
        payload_hash: &[u8; 32],
        retry_no: i16,
        window_s: f64,
    ) -> Result<Option<Job>> {
        let adopted = on_conflict(|| async {
            let mut connection = self.pool.acquire().await?;
            let found = self.pool.in_time(adopt(&mut connection, tenant_id, payload_hash, retry_no, window_s)).await;
            connection.settle(found).await
        })
        .await?;
        match adopted {
            Some(job_id) => self.get(Scope::Tenant(tenant_id), job_id).await,
            None => Ok(None),
        }
    }
}

async fn adopt(
    connection: &mut PgConnection,
    tenant_id: TenantId,
    payload_hash: &[u8; 32],
    retry_no: i16,
    window_s: f64,
) -> Result<Option<JobId>> {
    let mut transaction = connection.begin().await?;
    // Two retries of equal requests must not choose the same job, so they choose one after the other.
    let lock = i64::from_be_bytes(*payload_hash.first_chunk().expect("32 bytes have 8; this is a bug"));
    sqlx::query!("-- lock_retries\nSELECT pg_advisory_xact_lock($1)", lock).execute(&mut *transaction).await?;
    let id = sqlx::query_scalar!(
        "-- adopt_retried_job
         UPDATE jobs SET retry_no = $3
         WHERE retry_no < $3 AND id = (
             SELECT id FROM jobs
             WHERE tenant_id = $1 AND payload_hash = $2 AND retry_no < $3 AND deleted_at IS NULL
                 AND status NOT IN ('failed', 'cancelled')
                 AND created_at > clock_timestamp() - make_interval(secs => $4)
             ORDER BY retry_no DESC, id DESC LIMIT 1)
         RETURNING id",
        tenant_id.0,
        payload_hash,
        retry_no,
        window_s
    )
    .fetch_optional(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(id.map(JobId))
}
