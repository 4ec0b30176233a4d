//! Jobs that a worker renders together: the scheduler releases companions of a job, and the worker that holds it claims them.
//!
//! Nothing waits for companions. The fair order chooses the jobs that are released ([`Store::release`]); after that, those of them
//! that go to workers which render several jobs at once take along jobs that wait anyway. A companion takes no slot, so the
//! order of the others does not change, and it is charged to its tenant's share like any job: a tenant whose jobs were taken
//! along releases the fewer itself.
//!
//! In the database a companion is a released job like others but for its `batch_lead`. If the lead ends or is claimed without it, it
//! is announced by itself ([`Store::reannounce_due`]).

use domain::{BatchKey, JobId, PoolId, WorkerId};

use crate::connect::Store;
use crate::dispatch::Released;
use crate::error::Result;
use crate::leader::Epoch;
use crate::retry::on_conflict;
use crate::row::{bigint, count, int};

/// A released job that others may accompany.
#[derive(Debug, Clone, PartialEq)]
pub struct Lead {
    /// The job.
    pub job_id: JobId,
    /// Equal for those that may.
    pub key: BatchKey,
    /// Width, height and frames that are rendered.
    pub size: [u32; 3],
}

/// How many jobs may accompany a released one.
#[derive(Debug, Clone, PartialEq)]
pub struct Seats {
    /// The released job.
    pub lead: JobId,
    /// Its key.
    pub key: BatchKey,
    /// Most companions.
    pub free: u32,
}

impl Store {
    /// Those of the released jobs that others may accompany.
    ///
    /// # Errors
    /// The database's error.
    pub async fn leads(&self, released: &[Released]) -> Result<Vec<Lead>> {
        let ids: Vec<_> = released.iter().map(|job| job.job_id.0).collect();
        let rows = sqlx::query!(
            r#"-- batch_leads
            SELECT id, batch_key AS "key!", width, height, frames FROM jobs
            WHERE id = ANY($1) AND batch_key IS NOT NULL AND checkpoint_key IS NULL AND requires IS NULL"#,
            &ids
        )
        .fetch_all(&self.pool)
        .await?;
        let lead = |id, key, size: [(&'static str, i32); 3]| {
            let [width, height, frames] = size.map(|(column, value)| count(id, column, value));
            Ok(Lead { job_id: JobId(id), key: BatchKey::from_stored(key), size: [width?, height?, frames?] })
        };
        rows.into_iter()
            .map(|row| lead(row.id, row.key, [("width", row.width), ("height", row.height), ("frames", row.frames)]))
            .collect()
    }

    /// Releases companions: jobs that wait already, fit the pool and have the key of a released one. Of these the fairest of the
    /// first few in their order go, spread over the leads. They are not announced. Returns how many.
    ///
    /// # Errors
    /// [`crate::StoreError::NotLeader`] when the epoch does not lead.
    pub async fn release_companions(&self, pool: &PoolId, seats: &[Seats], epoch: Epoch) -> Result<u64> {
        if seats.iter().all(|one| one.free == 0) {
            return Ok(0);
        }
        let moved = on_conflict(|| self.release_companions_once(pool, seats, epoch)).await?;
        if moved == 0 {
            self.ensure_leads(epoch).await?;
        }
        Ok(moved)
    }

    #[expect(clippy::too_many_lines, reason = "one statement")]
    async fn release_companions_once(&self, pool: &PoolId, seats: &[Seats], epoch: Epoch) -> Result<u64> {
        let leads: Vec<_> = seats.iter().map(|one| one.lead.0).collect();
        let keys: Vec<_> = seats.iter().map(|one| one.key.as_str()).collect();
        let free: Vec<_> = seats.iter().map(|one| int("free", one.free)).collect::<Result<_>>()?;
        let moved = sqlx::query_scalar!(
            r#"-- release_companions
            WITH led AS MATERIALIZED (
                -- 1. Lock the leader's row, so that only the current epoch can release.
                SELECT epoch FROM leader WHERE epoch = $4 AND expires_at > clock_timestamp() FOR SHARE
            ), given AS (
                SELECT * FROM UNNEST($5::uuid[], $6::text[], $7::int[]) AS g (lead, key, free)
            ), clock AS (
                SELECT COALESCE((SELECT now FROM dispatch_clocks WHERE model_id = $2), 0) AS now
            ), near AS (
                -- 2. The first jobs of each key, a few for each seat.
                SELECT keys.key, one.* FROM (SELECT key, sum(free) AS free FROM given GROUP BY key) AS keys
                CROSS JOIN LATERAL (
                    SELECT id, tenant_id, order_at, GREATEST(COALESCE(share_s, estimate_s), 1) AS share_s FROM jobs
                    WHERE model_id = $2 AND batch_key = keys.key AND status = 'queued' AND plan IS NOT NULL
                        AND memory_bytes <= $3 AND cancel_requested_at IS NULL
                        AND tenant_id NOT IN (SELECT tenants.id FROM tenants WHERE tenants.paused_at IS NOT NULL)
                        -- These have their forward passes alone.
                        AND checkpoint_key IS NULL AND requires IS NULL
                        AND (not_before IS NULL OR not_before <= clock_timestamp())
                    ORDER BY order_at, id LIMIT 4 * keys.free
                ) AS one
            ), timed AS (
                -- 3. Their virtual starts, as release_jobs computes them.
                SELECT near.*, near.share_s / tenants.weight AS cost,
                    GREATEST(COALESCE(shares.finish, 0), clock.now) - near.share_s / tenants.weight
                        + sum(near.share_s / tenants.weight) OVER (PARTITION BY near.tenant_id ORDER BY order_at, near.id) AS start
                FROM near CROSS JOIN clock JOIN tenants ON tenants.id = near.tenant_id
                LEFT JOIN dispatch_shares AS shares ON shares.model_id = $2 AND shares.tenant_id = near.tenant_id
            ), ranked AS (
                SELECT *, row_number() OVER (PARTITION BY key ORDER BY start, order_at, id) AS place FROM timed
            ), seats AS (
                -- 4. The first seat of each lead, then the second ones.
                SELECT lead, key, row_number() OVER (PARTITION BY key ORDER BY seat, lead) AS place
                FROM given CROSS JOIN LATERAL generate_series(1, free) AS seat
            ), chosen AS MATERIALIZED (
                SELECT ranked.id, seats.lead, ranked.cost FROM ranked JOIN seats USING (key, place)
            ), held AS MATERIALIZED (
                -- 5. Lock them; skip those that changed meanwhile or are locked by another transaction.
                SELECT id FROM jobs
                WHERE id IN (SELECT id FROM chosen) AND status = 'queued' AND plan IS NOT NULL
                    AND cancel_requested_at IS NULL AND EXISTS (SELECT FROM led)
                FOR UPDATE SKIP LOCKED
            ), moved AS (
                -- 6. Move them, write their events, and advance the shares of their tenants.
                UPDATE jobs SET status = 'scheduled', pool = $1, dispatch_no = dispatch_no + 1, not_before = NULL,
                    scheduled_at = clock_timestamp(), announced_at = clock_timestamp(), announcements = 1,
                    batch_lead = chosen.lead
                FROM held JOIN chosen USING (id) WHERE jobs.id = held.id
                RETURNING jobs.id, jobs.tenant_id, jobs.dispatch_no, chosen.cost
            ), told AS (
                INSERT INTO job_events (job_id, tenant_id, kind, detail)
                SELECT id, tenant_id, 'scheduled',
                    jsonb_build_object('pool', $1::text, 'dispatch_no', dispatch_no, 'companion', true)
                FROM moved
            ), shared AS (
                INSERT INTO dispatch_shares AS s (model_id, tenant_id, finish)
                SELECT $2, tenant_id, (SELECT now FROM clock) + sum(cost) FROM moved GROUP BY tenant_id ORDER BY tenant_id
                ON CONFLICT (model_id, tenant_id) DO UPDATE
                    SET finish = GREATEST(s.finish, (SELECT now FROM clock)) + EXCLUDED.finish - (SELECT now FROM clock)
            )
            SELECT count(*) AS "count!" FROM moved"#,
            pool.as_str(),
            pool.model_id(),
            bigint("memory_bytes", pool.memory_bytes())?,
            epoch.0,
            &leads,
            &keys as _,
            &free
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(moved.unsigned_abs())
    }

    /// Released jobs of a pool that no worker has claimed yet and whose forward passes the holder of `lead` can share: those that
    /// were released to accompany it, then, while no worker of the pool is idle, others with its key; oldest release first. Each is
    /// claimed like any job.
    ///
    /// # Errors
    /// The database's error.
    pub async fn companions(
        &self,
        pool: &PoolId,
        worker_id: WorkerId,
        lead: JobId,
        key: &BatchKey,
        limit: u32,
    ) -> Result<Vec<Released>> {
        let rows = sqlx::query!(
            "-- companions
             SELECT id, dispatch_no FROM jobs
             WHERE model_id = $6 AND batch_key = $2 AND status = 'scheduled' AND pool = $1 AND id <> $3
                 AND cancel_requested_at IS NULL AND checkpoint_key IS NULL AND requires IS NULL
                 AND (batch_lead = $3 OR NOT EXISTS (
                     -- What is released while a worker is idle goes to that worker.
                     SELECT FROM workers AS idle
                     WHERE idle.pool = $1 AND idle.state = 'ready' AND idle.id <> $4
                         AND idle.last_seen_at > clock_timestamp() - make_interval(secs => 30)
                 ))
             ORDER BY batch_lead IS NOT DISTINCT FROM $3::uuid DESC, scheduled_at LIMIT $5",
            pool.as_str(),
            key.as_str(),
            lead.0,
            worker_id.0,
            i64::from(limit),
            pool.model_id()
        )
        .fetch_all(&self.pool)
        .await?;
        let released = |id, dispatch_no| Released { job_id: JobId(id), dispatch_no, pool: pool.clone() };
        Ok(rows.into_iter().map(|row| released(row.id, row.dispatch_no)).collect())
    }
}
