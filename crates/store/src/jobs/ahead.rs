//! What would go before a job that is not submitted yet.

use domain::TenantId;

use crate::connect::Store;
use crate::error::Result;

/// The queue before a new job.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct QueueAhead {
    /// Jobs of the model that would be released first.
    pub jobs: u64,
    /// Mean estimate of the first of them, seconds; 0 without any.
    pub mean_s: f64,
    /// Whether the tenant has paused its queue.
    pub is_paused: bool,
}

/// Jobs whose estimates are averaged, for each tenant at most.
const SAMPLE: i64 = 32;

impl Store {
    /// Planned jobs of the model that would be released before a job of the tenant whose place is `order_s` seconds from now
    /// (negative: before now), counted up to `most`, which bounds the cost. As in [`Store::queue_position`], the tenant's own
    /// jobs count exactly, and every other tenant's as far as its weight lets them go first.
    ///
    /// # Errors
    /// The database's error.
    pub async fn queue_ahead(&self, tenant: TenantId, model_id: &str, order_s: f64, most: u32) -> Result<QueueAhead> {
        let row = sqlx::query!(
            r#"-- queue_ahead
            WITH mine AS (
                SELECT id, weight, paused_at, clock_timestamp() + make_interval(secs => $3) AS order_at
                FROM tenants WHERE id = $1
            ), own AS (
                SELECT count(*) AS ahead FROM mine CROSS JOIN LATERAL (
                    SELECT FROM jobs
                    WHERE model_id = $2 AND tenant_id = mine.id AND status = 'queued' AND plan IS NOT NULL
                        AND order_at < mine.order_at
                    LIMIT $4
                ) AS before
            ), others AS (
                SELECT count(*) AS ahead FROM (
                    SELECT FROM mine CROSS JOIN own JOIN tenants ON tenants.id <> mine.id AND tenants.paused_at IS NULL
                    CROSS JOIN LATERAL (
                        SELECT FROM jobs
                        WHERE model_id = $2 AND tenant_id = tenants.id AND status = 'queued' AND plan IS NOT NULL
                        LIMIT LEAST($4, ceil((own.ahead + 1) * tenants.weight / mine.weight)::bigint)
                    ) AS before
                    LIMIT $4
                ) AS before
            ), released AS (
                SELECT count(*) AS ahead FROM (
                    SELECT FROM jobs WHERE status = 'scheduled' AND model_id = $2 AND batch_lead IS NULL LIMIT $4
                ) AS before
            ), sample AS (
                SELECT avg(estimate_s) AS mean_s FROM (
                    SELECT estimate_s FROM tenants CROSS JOIN LATERAL (
                        SELECT estimate_s FROM jobs
                        WHERE model_id = $2 AND tenant_id = tenants.id AND status = 'queued' AND plan IS NOT NULL
                        ORDER BY order_at, memory_bytes, id LIMIT $5
                    ) AS first LIMIT 4 * $5
                ) AS estimates
            )
            SELECT LEAST($4, own.ahead + others.ahead + released.ahead) AS "jobs!", COALESCE(mean_s, 0) AS "mean_s!",
                mine.paused_at IS NOT NULL AS "is_paused!"
            FROM mine, own, others, released, sample"#,
            tenant.0,
            model_id,
            order_s,
            i64::from(most),
            SAMPLE
        )
        .fetch_optional(&self.pool)
        .await?;
        let ahead = |jobs: i64, mean_s, is_paused| QueueAhead { jobs: jobs.unsigned_abs(), mean_s, is_paused };
        Ok(row.map(|row| ahead(row.jobs, row.mean_s, row.is_paused)).unwrap_or_default())
    }
}
