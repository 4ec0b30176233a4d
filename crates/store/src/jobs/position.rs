//! How many jobs go before a waiting one.

use domain::JobId;

use crate::connect::Store;
use crate::error::Result;
use crate::jobs::Scope;

impl Store {
    /// Jobs of the same model that will be released before this one, judging by the current backlog; `None` when it is not
    /// waiting or not planned yet. Counted up to `most`, which bounds the cost.
    ///
    /// Within the job's own tenant the order is exact. Fair sharing lets every other tenant release as many jobs meanwhile
    /// as its weight allows, so at most that many of each tenant's jobs are counted.
    ///
    /// # Errors
    /// The database's error.
    pub async fn queue_position(&self, scope: Scope, job_id: JobId, most: u32) -> Result<Option<i64>> {
        let position = sqlx::query_scalar!(
            r#"-- queue_position
            WITH mine AS (
                SELECT jobs.id, tenant_id, model_id, order_at, memory_bytes, status, weight
                FROM jobs JOIN tenants ON tenants.id = tenant_id
                WHERE jobs.id = $1 AND ($2::uuid IS NULL OR tenant_id = $2)
                    AND (status = 'scheduled' OR status = 'queued' AND plan IS NOT NULL)
            ), own AS (
                -- Jobs of the same tenant, in their exact order.
                SELECT count(*) AS ahead FROM mine CROSS JOIN LATERAL (
                    SELECT FROM jobs
                    WHERE mine.status = 'queued' AND model_id = mine.model_id AND tenant_id = mine.tenant_id
                        AND status = 'queued' AND plan IS NOT NULL
                        AND (order_at, memory_bytes, id) < (mine.order_at, mine.memory_bytes, mine.id)
                    LIMIT $3
                ) AS before
            ), others AS (
                -- Jobs of every other tenant, at most what its weight lets it release before this job.
                SELECT count(*) AS ahead FROM (
                    SELECT FROM mine CROSS JOIN own
                    JOIN tenants ON tenants.id <> mine.tenant_id AND tenants.paused_at IS NULL
                    CROSS JOIN LATERAL (
                        SELECT FROM jobs
                        WHERE mine.status = 'queued' AND model_id = mine.model_id AND tenant_id = tenants.id
                            AND status = 'queued' AND plan IS NOT NULL
                        LIMIT LEAST($3, ceil((own.ahead + 1) * tenants.weight / mine.weight)::bigint)
                    ) AS before
                    -- Limit the sum too: a thousand tenants must not each be counted up to the limit.
                    LIMIT $3
                ) AS before
            ), released AS (
                -- Jobs that are released already.
                SELECT count(*) AS ahead FROM (
                    SELECT FROM mine JOIN jobs
                        ON jobs.status = 'scheduled' AND jobs.model_id = mine.model_id AND jobs.id <> mine.id
                        -- Those that accompany another one take no place of their own.
                        AND jobs.batch_lead IS NULL
                        AND (mine.status = 'queued' OR jobs.order_at < mine.order_at)
                    LIMIT $3
                ) AS before
            )
            SELECT LEAST($3, own.ahead + others.ahead + released.ahead) AS "position!"
            FROM mine, own, others, released"#,
            job_id.0,
            scope.tenant(),
            i64::from(most)
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(position)
    }
}
