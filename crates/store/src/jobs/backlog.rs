//! How much is waiting: for the submission limit, the metrics and the autoscaler.

use crate::connect::Store;
use crate::error::Result;
use crate::jobs::{BacklogDepth, Scope};
use crate::row::{bigint, word};

impl Store {
    /// Waiting, running and drafted jobs, counted up to `most`. The backlog limit needs no higher count, so a full backlog costs no
    /// more to count than its limit.
    ///
    /// # Errors
    /// The database's error.
    pub async fn backlog_count(&self, scope: Scope, most: u64) -> Result<u64> {
        let most = bigint("the backlog limit", most)?;
        let jobs = match scope {
            Scope::Tenant(tenant) => {
                sqlx::query_scalar!(
                    r#"-- count_backlog_of_tenant
                    SELECT count(*) AS "jobs!" FROM (
                        SELECT FROM jobs
                        WHERE tenant_id = $1 AND status IN ('queued', 'scheduled', 'running', 'drafted')
                            AND deleted_at IS NULL
                        LIMIT $2
                    ) AS waiting"#,
                    tenant.0,
                    most
                )
                .fetch_one(&self.pool)
                .await?
            }
            Scope::Fleet => {
                sqlx::query_scalar!(
                    r#"-- count_backlog
                    SELECT count(*) AS "jobs!" FROM (
                        (SELECT FROM jobs WHERE status = 'queued' AND plan IS NULL LIMIT $1)
                        UNION ALL
                        (SELECT FROM jobs WHERE status = 'queued' AND plan IS NOT NULL LIMIT $1)
                        UNION ALL
                        (SELECT FROM jobs WHERE status IN ('scheduled', 'running') LIMIT $1)
                        UNION ALL
                        -- A draft keeps its place, so that continuing it is never refused for want of room.
                        (SELECT FROM jobs WHERE status = 'drafted' LIMIT $1)
                        LIMIT $1
                    ) AS waiting"#,
                    most
                )
                .fetch_one(&self.pool)
                .await?
            }
        };
        Ok(u64::try_from(jobs).unwrap_or_default())
    }

    /// Depth and age of the queues, for metrics. Reads the indexes of all unfinished jobs: call it every few seconds, not
    /// per request.
    ///
    /// # Errors
    /// The database's error.
    pub async fn backlog_depth(&self) -> Result<Vec<BacklogDepth>> {
        let rows = sqlx::query!(
            r#"-- backlog_depth
            SELECT model_id AS "model_id!", tier, status AS "status!", jobs AS "jobs!",
                   extract(epoch FROM clock_timestamp() - oldest)::float8 AS "oldest_s!"
            FROM (
                -- One branch per partial index, so that no branch reads the table's history.
                SELECT model_id, NULL AS tier, 'queued' AS status, count(*) AS jobs, min(created_at) AS oldest
                FROM jobs WHERE status = 'queued' AND plan IS NULL
                GROUP BY model_id
                UNION ALL
                SELECT model_id, tier, 'queued', count(*), min(created_at)
                FROM jobs WHERE status = 'queued' AND plan IS NOT NULL
                GROUP BY model_id, tier
                UNION ALL
                SELECT model_id, tier, status, count(*), min(created_at)
                FROM jobs WHERE status IN ('scheduled', 'running')
                GROUP BY model_id, tier, status
                UNION ALL
                SELECT model_id, tier, 'drafted', count(*), min(created_at)
                FROM jobs WHERE status = 'drafted'
                GROUP BY model_id, tier
            ) AS depth
            ORDER BY model_id, tier, status"#
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(BacklogDepth {
                    tier: row.tier.as_deref().map(|text| word(&row.model_id, "tier", text)).transpose()?,
                    status: word(&row.model_id, "status", &row.status)?,
                    jobs: u64::try_from(row.jobs).unwrap_or_default(),
                    oldest_s: row.oldest_s.max(0.0),
                    model_id: row.model_id,
                })
            })
            .collect()
    }
}
