//! Leadership of the scheduler: one row with an epoch.
//!
//! Rule: every statement that only the leader may run locks that row in share mode and compares the epoch, so that a
//! scheduler that was paused and resumed cannot change anything after another one has taken over.

use uuid::Uuid;

use crate::connect::Store;
use crate::error::{Result, StoreError};

/// Number of a leadership term; later terms have higher numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub i64);

impl Store {
    /// Takes over when there is no leader. `holder` identifies one run of one process. Repeating it while leading returns
    /// the same epoch and extends it, so that a lost response costs nothing.
    ///
    /// # Errors
    /// The database's error.
    pub async fn try_lead(&self, holder: Uuid, ttl_s: f64) -> Result<Option<Epoch>> {
        let epoch = sqlx::query_scalar!(
            "-- try_lead
             UPDATE leader SET
                 epoch = CASE WHEN holder = $1 THEN epoch ELSE epoch + 1 END,
                 holder = $1, expires_at = clock_timestamp() + make_interval(secs => $2)
             WHERE expires_at < clock_timestamp() OR holder = $1
             RETURNING epoch",
            holder,
            ttl_s
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(epoch.map(Epoch))
    }

    /// Extends the leadership; `false` when another scheduler has taken over.
    ///
    /// # Errors
    /// The database's error.
    pub async fn keep_leading(&self, epoch: Epoch, ttl_s: f64) -> Result<bool> {
        let kept = sqlx::query!(
            "-- keep_leading
             UPDATE leader SET expires_at = clock_timestamp() + make_interval(secs => $2) WHERE epoch = $1",
            epoch.0,
            ttl_s
        )
        .execute(&self.pool)
        .await?;
        Ok(kept.rows_affected() == 1)
    }

    /// Stops leading, so that the next leader need not wait for the expiry.
    ///
    /// # Errors
    /// The database's error.
    pub async fn resign(&self, epoch: Epoch) -> Result<()> {
        sqlx::query!(
            "-- resign
             UPDATE leader SET expires_at = '-infinity', holder = NULL WHERE epoch = $1",
            epoch.0
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Distinguishes "nothing to do" from "no longer the leader" after a guarded statement changed no row.
    pub(crate) async fn ensure_leads(&self, epoch: Epoch) -> Result<()> {
        let leads = sqlx::query_scalar!(
            r#"-- leads
            SELECT epoch = $1 AND expires_at > clock_timestamp() AS "leads!" FROM leader"#,
            epoch.0
        )
        .fetch_one(&self.pool)
        .await?;
        if leads { Ok(()) } else { Err(StoreError::NotLeader { epoch: epoch.0 }) }
    }
}
