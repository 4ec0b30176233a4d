//! Quotas of keys: how much GPU time a key may use in a day, and how much it has used.
//!
//! Used seconds are those of the ledger, also of runs without a video. Unfinished jobs reserve their estimates. Days are those of
//! UTC, by the database's clock.

use chrono::{DateTime, Utc};
use domain::KeyId;

use crate::connect::Store;
use crate::error::Result;

/// Limits of one key; without a value there is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Quota {
    /// GPU seconds a day.
    pub gpu_s: Option<f64>,
    /// US dollars a day.
    pub usd: Option<f64>,
}

/// A key's quota and how much of it is taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QuotaState {
    /// Its limits.
    pub quota: Quota,
    /// GPU seconds used since the day began.
    pub used_s: f64,
    /// Estimated GPU seconds of its unfinished jobs; not read without a quota.
    pub reserved_s: f64,
    /// When the next day begins.
    pub renews_at: DateTime<Utc>,
    /// Seconds until then.
    pub renews_in_s: f64,
}

impl Store {
    /// The key's quota and its use; `None` when the key does not exist. Reads the unfinished jobs of the key.
    ///
    /// # Errors
    /// The database's error.
    pub async fn quota_state(&self, key_id: KeyId) -> Result<Option<QuotaState>> {
        let row = sqlx::query!(
            r#"-- quota_state
            WITH today AS (SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date AS day)
            SELECT quota_gpu_s, quota_usd,
                COALESCE((SELECT sum(gpu_seconds) FROM usage_daily AS used
                    WHERE used.tenant_id = api_keys.tenant_id AND used.day = today.day AND used.key_id = $1), 0) AS "used_s!",
                COALESCE(CASE WHEN quota_gpu_s IS NOT NULL OR quota_usd IS NOT NULL THEN
                    (SELECT sum(quota_s) FROM jobs
                    WHERE jobs.key_id = $1 AND status IN ('queued', 'scheduled', 'running', 'drafted')) END, 0)
                    AS "reserved_s!",
                ((today.day + 1)::timestamp AT TIME ZONE 'UTC') AS "renews_at!",
                extract(epoch FROM ((today.day + 1)::timestamp AT TIME ZONE 'UTC') - clock_timestamp())::float8
                    AS "renews_in_s!"
            FROM api_keys, today WHERE id = $1"#,
            key_id.0
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| QuotaState {
            quota: Quota { gpu_s: row.quota_gpu_s, usd: row.quota_usd },
            used_s: row.used_s,
            reserved_s: row.reserved_s,
            renews_at: row.renews_at,
            renews_in_s: row.renews_in_s,
        }))
    }

    /// Sets the key's quota; `false` when the key does not exist or is revoked.
    ///
    /// # Errors
    /// The database's error, also for a negative limit.
    pub async fn set_quota(&self, key_id: KeyId, quota: Quota) -> Result<bool> {
        let set = sqlx::query!(
            "-- set_quota
             UPDATE api_keys SET quota_gpu_s = $2, quota_usd = $3 WHERE id = $1 AND revoked_at IS NULL",
            key_id.0,
            quota.gpu_s,
            quota.usd
        )
        .execute(&self.pool)
        .await?;
        Ok(set.rows_affected() == 1)
    }
}
