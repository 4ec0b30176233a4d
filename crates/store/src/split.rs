//! Releases in a model whose workers have different numbers of devices: premium jobs and all others are counted apart.
//!
//! Which of them go to which pool is decided by `optimizer::several`; this file counts what waits and makes the releases.

use domain::{JobId, PoolId};

use crate::connect::Store;
use crate::dispatch::{Released, release_chosen};
use crate::error::Result;
use crate::leader::Epoch;
use crate::retry::on_conflict;
use crate::row::bigint;

/// Waiting jobs of a model by tier, without replays, counted up to a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waiting {
    /// Of the premium tier.
    pub premium: u32,
    /// Of the other tiers.
    pub others: u32,
}

/// Most jobs that a release moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// Of the premium tier.
    pub premium: u32,
    /// Of the other tiers.
    pub others: u32,
    /// Of both together.
    pub limit: u32,
}

impl Store {
    /// Planned jobs of a model that could be released now and that a pool of this memory holds, each tier counted up to `most`. Replays do
    /// not count: they go where a worker like the first one is ([`Store::release_replays`]).
    ///
    /// # Errors
    /// The database's error.
    pub async fn waiting_by_tier(&self, pool: &PoolId, most: u32) -> Result<Waiting> {
        let row = sqlx::query!(
            r#"-- waiting_by_tier
            WITH paused AS MATERIALIZED (SELECT id FROM tenants WHERE paused_at IS NOT NULL)
            SELECT
                (SELECT count(*) FROM (SELECT FROM jobs
                    WHERE model_id = $1 AND CASE WHEN tier = 'premium' THEN 1 ELSE 0 END = 1
                        AND status = 'queued' AND plan IS NOT NULL AND memory_bytes <= $2 AND requires IS NULL
                        AND (not_before IS NULL OR not_before <= clock_timestamp())
                        AND tenant_id NOT IN (SELECT id FROM paused)
                    LIMIT $3) AS counted)::int AS "premium!",
                (SELECT count(*) FROM (SELECT FROM jobs
                    WHERE model_id = $1 AND CASE WHEN tier = 'premium' THEN 1 ELSE 0 END = 0
                        AND status = 'queued' AND plan IS NOT NULL AND memory_bytes <= $2 AND requires IS NULL
                        AND (not_before IS NULL OR not_before <= clock_timestamp())
                        AND tenant_id NOT IN (SELECT id FROM paused)
                    LIMIT $3) AS counted)::int AS "others!""#,
            pool.model_id(),
            bigint("memory_bytes", pool.memory_bytes())?,
            i64::from(most)
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(Waiting { premium: row.premium.unsigned_abs(), others: row.others.unsigned_abs() })
    }

    /// Releases up to `limit` waiting replays that a worker of the pool may render. They are of no part of a division, because only workers
    /// like the first one may claim them.
    ///
    /// # Errors
    /// [`crate::StoreError::NotLeader`] when the epoch does not lead.
    pub async fn release_replays(&self, pool: &PoolId, limit: u32, epoch: Epoch) -> Result<Vec<Released>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let released = on_conflict(|| self.release_replays_once(pool, limit, epoch)).await?;
        if released.is_empty() {
            self.ensure_leads(epoch).await?;
        }
        Ok(released)
    }

    async fn release_replays_once(&self, pool: &PoolId, limit: u32, epoch: Epoch) -> Result<Vec<Released>> {
        let rows = release_chosen!(
            r#"-- release_replays
            WITH led AS MATERIALIZED (
                -- 1. Lock the leader's row, so that only the current epoch can release.
                SELECT epoch FROM leader WHERE epoch = $5 AND expires_at > clock_timestamp() FOR SHARE
            ), candidates AS (
                -- 2. The first replays that a worker of the pool may render, with their cost in virtual time. They are rare.
                SELECT jobs.id, jobs.tenant_id, jobs.order_at, jobs.memory_bytes,
                    GREATEST(COALESCE(share_s, estimate_s), 1) / tenants.weight AS cost,
                    GREATEST(COALESCE(shares.finish, 0), COALESCE(clock.now, 0)) AS base
                FROM jobs JOIN tenants ON tenants.id = jobs.tenant_id AND tenants.paused_at IS NULL
                LEFT JOIN dispatch_shares AS shares ON shares.model_id = $2 AND shares.tenant_id = jobs.tenant_id
                LEFT JOIN dispatch_clocks AS clock ON clock.model_id = $2
                WHERE requires IS NOT NULL AND jobs.status = 'queued' AND plan IS NOT NULL
                    AND jobs.model_id = $2 AND jobs.memory_bytes <= $3
                    AND (not_before IS NULL OR not_before <= clock_timestamp())
                    AND EXISTS (SELECT FROM workers AS like_first
                        WHERE like_first.pool = $1 AND like_first.identity = jobs.requires AND like_first.state <> 'gone')
                ORDER BY jobs.id LIMIT 4 * $4::bigint
            ), timed AS (
                SELECT *, base + COALESCE(sum(cost) OVER (
                    PARTITION BY tenant_id ORDER BY order_at, memory_bytes, id
                    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS start
                FROM candidates
            ), chosen AS MATERIALIZED (
                -- 3. The fairest of them. The model's clock stays where it is: other jobs wait, too.
                SELECT *, 0::float8 AS clock FROM timed ORDER BY start, order_at, id LIMIT $4::bigint"#,
            pool.as_str(),
            pool.model_id(),
            bigint("memory_bytes", pool.memory_bytes())?,
            i64::from(limit),
            epoch.0
        )
        .fetch_all(&self.pool)
        .await?;
        let released = |id, dispatch_no| Released { job_id: JobId(id), dispatch_no, pool: pool.clone() };
        Ok(rows.into_iter().map(|row| released(row.id, row.dispatch_no)).collect())
    }

    /// As [`Store::release`], but at most so many jobs of the premium tier and of the others, and no replays.
    ///
    /// # Errors
    /// [`crate::StoreError::NotLeader`] when the epoch does not lead.
    pub async fn release_split(&self, pool: &PoolId, most: Split, epoch: Epoch) -> Result<Vec<Released>> {
        if most.limit == 0 || most.premium.saturating_add(most.others) == 0 {
            return Ok(Vec::new());
        }
        let released = on_conflict(|| self.release_split_once(pool, most, epoch)).await?;
        if released.is_empty() {
            self.ensure_leads(epoch).await?;
        }
        Ok(released)
    }

    #[expect(clippy::too_many_lines, reason = "one statement")]
    async fn release_split_once(&self, pool: &PoolId, most: Split, epoch: Epoch) -> Result<Vec<Released>> {
        let rows = release_chosen!(
            r#"-- release_split_jobs
            WITH RECURSIVE led AS MATERIALIZED (
                -- 1. Lock the leader's row, so that only the current epoch can release.
                SELECT epoch FROM leader WHERE epoch = $5 AND expires_at > clock_timestamp() FOR SHARE
            ), classes (class, most) AS (
                VALUES (1, LEAST($4::bigint, $6::bigint)), (0, LEAST($4::bigint, $7::bigint))
            ), waiting AS (
                -- 2. Tenants with a job of each class that can start, and the first of these jobs, one index probe each.
                SELECT class, first.* FROM classes CROSS JOIN LATERAL (
                    SELECT tenant_id, order_at, id FROM jobs
                    WHERE model_id = $2 AND CASE WHEN tier = 'premium' THEN 1 ELSE 0 END = class
                        AND memory_bytes <= $3 AND status = 'queued' AND plan IS NOT NULL
                        AND requires IS NULL AND (not_before IS NULL OR not_before <= clock_timestamp())
                    ORDER BY tenant_id, order_at, memory_bytes, id LIMIT 1) AS first
                WHERE most > 0
                UNION ALL
                SELECT class, next.* FROM waiting CROSS JOIN LATERAL (
                    SELECT tenant_id, order_at, id FROM jobs
                    WHERE model_id = $2 AND CASE WHEN tier = 'premium' THEN 1 ELSE 0 END = class
                        AND tenant_id > waiting.tenant_id
                        AND memory_bytes <= $3 AND status = 'queued' AND plan IS NOT NULL
                        AND requires IS NULL AND (not_before IS NULL OR not_before <= clock_timestamp())
                    ORDER BY tenant_id, order_at, memory_bytes, id LIMIT 1) AS next
            ), turns AS MATERIALIZED (
                -- 3. Where the turn of each tenant begins, as in release_jobs. Of each class as many tenants are read further
                -- as it releases jobs at most.
                SELECT class, tenants.id, tenants.weight, base,
                    row_number() OVER (PARTITION BY class ORDER BY base, waiting.order_at, waiting.id) <= most AS is_read
                FROM waiting JOIN classes USING (class)
                JOIN tenants ON tenants.id = waiting.tenant_id AND tenants.paused_at IS NULL
                LEFT JOIN dispatch_shares AS shares ON shares.model_id = $2 AND shares.tenant_id = tenants.id
                LEFT JOIN dispatch_clocks AS clock ON clock.model_id = $2
                CROSS JOIN LATERAL (SELECT GREATEST(COALESCE(shares.finish, 0), COALESCE(clock.now, 0)) AS base) AS turn
            ), sized AS (
                -- 4. Candidates per tenant and class, as release_jobs reads them.
                SELECT LEAST($4::bigint, GREATEST(8, 2 * $4::bigint / GREATEST(count(*), 1))) AS each FROM turns WHERE is_read
            ), candidates AS (
                -- 5. The first few jobs of each tenant and class, with their cost in virtual time.
                SELECT one.id, turns.id AS tenant_id, turns.class, one.order_at, one.memory_bytes, turns.base,
                    GREATEST(one.share_s, 1) / turns.weight AS cost
                FROM turns CROSS JOIN LATERAL (
                    SELECT id, order_at, memory_bytes, COALESCE(share_s, estimate_s) AS share_s FROM jobs
                    WHERE model_id = $2 AND CASE WHEN tier = 'premium' THEN 1 ELSE 0 END = turns.class
                        AND tenant_id = turns.id AND memory_bytes <= $3 AND status = 'queued' AND plan IS NOT NULL
                        AND requires IS NULL AND (not_before IS NULL OR not_before <= clock_timestamp())
                    ORDER BY order_at, memory_bytes, id LIMIT (SELECT each FROM sized)
                ) AS one
                WHERE turns.is_read
            ), timed AS MATERIALIZED (
                -- 6. The virtual start of each candidate, as in release_jobs.
                SELECT *, base + COALESCE(sum(cost) OVER (
                    PARTITION BY tenant_id ORDER BY order_at, memory_bytes, id
                    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS start
                FROM candidates
            ), horizon AS MATERIALIZED (
                -- 7. As in release_jobs: beyond this point the fair order of a class is unknown.
                SELECT class, LEAST((
                    SELECT min(last) FROM (
                        SELECT max(start) AS last FROM timed GROUP BY tenant_id, class
                        HAVING count(*) >= (SELECT each FROM sized)
                    ) AS unfinished
                ), (
                    SELECT min(base) FROM turns WHERE turns.class = classes.class AND NOT is_read
                )) AS start FROM classes
            ), ranked AS (
                SELECT timed.*, row_number() OVER (PARTITION BY class ORDER BY timed.start, order_at, id) AS place
                FROM timed JOIN horizon USING (class) WHERE horizon.start IS NULL OR timed.start <= horizon.start
            ), picked AS MATERIALIZED (
                -- 8. The fairest of each class up to its limit, and of both together.
                SELECT * FROM ranked WHERE place <= CASE class WHEN 1 THEN $6::bigint ELSE $7::bigint END
                ORDER BY start, order_at, id LIMIT $4::bigint
            ), chosen AS MATERIALIZED (
                -- 9. A tenant is charged the cost of its jobs, whatever stood between them. Several pools serve the model at their own
                -- pace, so its clock advances to the earliest of the starts.
                SELECT id, tenant_id, order_at, cost,
                    base - cost + sum(cost) OVER (PARTITION BY tenant_id ORDER BY order_at, memory_bytes, id) AS start,
                    min(start) OVER () AS clock
                FROM picked"#,
            pool.as_str(),
            pool.model_id(),
            bigint("memory_bytes", pool.memory_bytes())?,
            i64::from(most.limit),
            epoch.0,
            i64::from(most.premium),
            i64::from(most.others)
        )
        .fetch_all(&self.pool)
        .await?;
        let released = |id, dispatch_no| Released { job_id: JobId(id), dispatch_no, pool: pool.clone() };
        Ok(rows.into_iter().map(|row| released(row.id, row.dispatch_no)).collect())
    }
}
