//! The pointer to the preview. The object is written before the pointer moves to it and deleted after the pointer has moved
//! on, as with checkpoints.

use crate::connect::Store;
use crate::error::{Result, StoreError};
use crate::leases::Lease;
use crate::row::int;

impl Store {
    /// Points the row to a newer preview; returns the object that it pointed to before, to be deleted.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`]; the caller must then delete the new object.
    pub async fn save_preview(&self, lease: Lease, key: &str, step: u32) -> Result<Option<String>> {
        let row = sqlx::query!(
            r#"-- save_preview
            WITH held AS MATERIALIZED (
                SELECT id, preview_key FROM jobs
                WHERE id = $1 AND lease_token = $2 AND status = 'running' FOR UPDATE
            ), moved AS (
                UPDATE jobs SET preview_key = $3, preview_step = $4 FROM held WHERE jobs.id = held.id
            )
            SELECT preview_key FROM held"#,
            lease.job_id.0,
            lease.token.0,
            key,
            int("step", step)?
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or(StoreError::LeaseLost { job_id: lease.job_id })?;
        // A repeated call finds its own object.
        Ok(row.preview_key.filter(|previous| previous != key))
    }
}
