//! How long a claimed job has waited.

use chrono::{DateTime, Utc};

use crate::connect::Store;
use crate::error::Result;
use crate::leases::Lease;

/// The wait of a run, by the database's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueWait {
    /// When the job joined the queue: at its submission, or after its last run, pause or retry.
    pub queued_at: DateTime<Utc>,
    /// When it was released to a pool.
    pub released_at: Option<DateTime<Utc>>,
    /// When it was claimed.
    pub claimed_at: DateTime<Utc>,
}

impl Store {
    /// How long the job waited before this lease. `None` if the lease is lost.
    ///
    /// # Errors
    /// The database's error.
    pub async fn queue_wait(&self, lease: Lease) -> Result<Option<QueueWait>> {
        let wait = sqlx::query_as!(
            QueueWait,
            r#"-- queue_wait
            SELECT COALESCE(queued_at, created_at) AS "queued_at!", scheduled_at AS released_at, claimed_at AS "claimed_at!"
            FROM jobs WHERE id = $1 AND lease_token = $2"#,
            lease.job_id.0,
            lease.token.0
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(wait)
    }
}
