//! From the backlog to the pools: how much room there is, which job goes next, and what must be announced again.
//!
//! Between tenants the order is start-time fair queueing over seconds at the model folder's reference speed, divided by the
//! tenant's weight (`jobs.share_s`, `dispatch_shares`). Within a tenant it is `order_at`. Both are read from an index, so
//! the cost of a release depends on how much it releases and does not grow with the backlog.

use domain::{JobId, PoolId, WorkerId};

use crate::connect::Store;
use crate::error::Result;
use crate::leader::Epoch;
use crate::retry::on_conflict;
use crate::row::bigint;
use crate::transition::transition;

/// A pool and its load, counted from rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolLoad {
    /// The pool.
    pub pool: PoolId,
    /// Workers that sent a heartbeat recently and accept jobs.
    pub workers: u32,
    /// Their slots.
    pub slots: u32,
    /// Slots in use: by running jobs, without those that are being delivered. Jobs that a worker renders together use one slot.
    pub running: u32,
    /// Released jobs that no worker has claimed yet, without those that were released to accompany another one.
    pub scheduled: u32,
    /// Different sets of adapters in the weights of those workers; 0 when none of them has merged any.
    pub adapter_sets: u32,
    /// The least [`domain::worker::WorkerInfo::batch_max`] of those workers, so that any of them can take what is released together.
    pub batch_max: u32,
    /// The least [`domain::worker::WorkerInfo::batch_tokens`] of those workers.
    pub batch_tokens: u64,
    /// The least memory of those workers, bytes.
    pub memory_bytes: u64,
}

impl PoolLoad {
    /// How many more jobs may be released: the free slots and a few more, so that a worker that becomes free finds its next
    /// job waiting. A pool without workers has no room.
    #[must_use]
    pub fn room(&self, lookahead: u32) -> u32 {
        if self.workers == 0 {
            return 0;
        }
        (self.slots + lookahead).saturating_sub(self.running + self.scheduled)
    }

    /// Slots that no job uses or waits for.
    #[must_use]
    pub fn free(&self) -> u32 {
        self.room(0)
    }
}

/// A released job, as `job.ready` announces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// The job.
    pub job_id: JobId,
    /// The number that a claim must name.
    pub dispatch_no: i32,
    /// The pool whose queue carries it.
    pub pool: PoolId,
}

/// A released job that still waits for a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The job.
    pub job: Released,
    /// How often this leader has announced it, this time included.
    pub announcements: i32,
}

/// Completes a statement that chooses jobs in `chosen`: releases them and charges them to the shares of their tenants. The first
/// five parameters are those of `release_once`; the columns of `chosen` are those of step 8 there. With `by_tenant` it also writes the
/// beginning, down to the tenants that have a job which can start.
macro_rules! release_chosen {
    ($name:tt, by_tenant, $head:tt $($args:tt)*) => {
        release_chosen!(
            $name + r#"
            WITH RECURSIVE led AS MATERIALIZED (
                -- 1. Lock the leader's row, so that only the current epoch can release.
                SELECT epoch FROM leader WHERE epoch = $5 AND expires_at > clock_timestamp() FOR SHARE
            ), waiting AS (
                -- 2. Tenants with a job that can start, and the first of these jobs, one index probe each.
                (SELECT tenant_id, order_at, id FROM jobs
                WHERE model_id = $2 AND memory_bytes <= $3 AND status = 'queued' AND plan IS NOT NULL
                    AND (not_before IS NULL OR not_before <= clock_timestamp())
                    -- A replay waits for the pool that has a worker like the first one.
                    AND (requires IS NULL OR EXISTS (SELECT FROM workers AS like_first
                        WHERE like_first.pool = $1 AND like_first.identity = jobs.requires AND like_first.state <> 'gone'))
                ORDER BY tenant_id, order_at, memory_bytes, id LIMIT 1)
                UNION ALL
                SELECT next.* FROM waiting CROSS JOIN LATERAL (
                    SELECT tenant_id, order_at, id FROM jobs
                    WHERE model_id = $2 AND tenant_id > waiting.tenant_id
                        AND memory_bytes <= $3 AND status = 'queued' AND plan IS NOT NULL
                        AND (not_before IS NULL OR not_before <= clock_timestamp())
                        AND (requires IS NULL OR EXISTS (SELECT FROM workers AS like_first
                            WHERE like_first.pool = $1 AND like_first.identity = jobs.requires AND like_first.state <> 'gone'))
                    ORDER BY tenant_id, order_at, memory_bytes, id LIMIT 1) AS next
            "# + $head $($args)*
        )
    };
    ($first:tt $(+ $more:tt)* , $($args:tt)*) => {
        sqlx::query!(
            $first $(+ $more)* + r#"
            ), held AS MATERIALIZED (
                -- 9. Lock them; skip those that changed meanwhile or are locked by another transaction. The plan of these steps knows
                -- nothing about the size of `chosen`, so each step carries on what the next one needs instead of joining again.
                SELECT jobs.id, chosen.start, chosen.cost, chosen.clock, chosen.order_at FROM jobs JOIN chosen USING (id)
                WHERE status = 'queued' AND plan IS NOT NULL AND cancel_requested_at IS NULL AND EXISTS (SELECT FROM led)
                FOR UPDATE OF jobs SKIP LOCKED
            ), moved AS (
                -- 10. Move them, write their events, and advance the shares of their tenants and the model's virtual clock.
                UPDATE jobs SET status = 'scheduled', pool = $1, dispatch_no = dispatch_no + 1, not_before = NULL,
                    scheduled_at = clock_timestamp(), announced_at = clock_timestamp(), announcements = 1, batch_lead = NULL
                FROM held WHERE jobs.id = held.id
                RETURNING jobs.id, jobs.tenant_id, jobs.dispatch_no, held.start, held.cost, held.clock, held.order_at
            ), told AS (
                INSERT INTO job_events (job_id, tenant_id, kind, detail)
                SELECT id, tenant_id, 'scheduled', jsonb_build_object('pool', $1::text, 'dispatch_no', dispatch_no)
                FROM moved
            ), shared AS (
                INSERT INTO dispatch_shares AS s (model_id, tenant_id, finish)
                SELECT $2, tenant_id, max(start + cost) FROM moved GROUP BY tenant_id ORDER BY tenant_id
                ON CONFLICT (model_id, tenant_id) DO UPDATE SET finish = GREATEST(s.finish, EXCLUDED.finish)
            ), clocked AS (
                INSERT INTO dispatch_clocks AS c (model_id, now)
                SELECT $2, max(clock) FROM moved HAVING count(*) > 0
                ON CONFLICT (model_id) DO UPDATE SET now = GREATEST(c.now, EXCLUDED.now)
            )
            SELECT id AS "id!", dispatch_no AS "dispatch_no!" FROM moved ORDER BY start, order_at, id"#
            , $($args)*
        )
    };
}
pub(crate) use release_chosen;

impl Store {
    /// Every pool that has released jobs or a worker with a heartbeat within `alive_s`.
    ///
    /// # Errors
    /// The database's error.
    pub async fn pools(&self, alive_s: f64) -> Result<Vec<PoolLoad>> {
        let rows = sqlx::query!(
            r#"-- pool_loads
            WITH alive AS MATERIALIZED (
                SELECT id, pool, slots, adapters, batch_max, batch_tokens, memory_bytes FROM workers
                WHERE state IN ('ready', 'busy') AND last_seen_at > clock_timestamp() - make_interval(secs => $1)
            ), manned AS (
                SELECT pool, count(*) AS workers, sum(slots) AS slots,
                    CASE WHEN max(adapters) > '' THEN count(DISTINCT adapters) ELSE 0 END AS adapter_sets,
                    min(batch_max) AS batch_max, min(batch_tokens) AS batch_tokens, min(memory_bytes) AS memory_bytes
                FROM alive GROUP BY pool
            ), busy AS (
                -- Counted by the worker's pool: a worker that registered again in another pool runs its job there. A job
                -- that is being delivered has left its worker's slot, and jobs that are rendered together share one.
                SELECT pool, sum(LEAST(jobs, slots)) AS running FROM (
                    SELECT alive.pool, alive.slots, count(*) AS jobs FROM jobs JOIN alive ON alive.id = jobs.worker_id
                    WHERE jobs.status = 'running' AND jobs.stage IS DISTINCT FROM 'deliver'
                    GROUP BY alive.id, alive.pool, alive.slots
                ) AS held GROUP BY pool
            ), live AS (
                SELECT pool, count(*) FILTER (WHERE batch_lead IS NULL) AS scheduled FROM jobs
                WHERE status = 'scheduled' GROUP BY pool
            )
            SELECT pool AS "pool!", COALESCE(manned.workers, 0)::int AS "workers!",
                COALESCE(manned.slots, 0)::int AS "slots!", COALESCE(busy.running, 0)::int AS "running!",
                COALESCE(live.scheduled, 0)::int AS "scheduled!", COALESCE(manned.adapter_sets, 0)::int AS "adapter_sets!",
                COALESCE(manned.batch_max, 1) AS "batch_max!", COALESCE(manned.batch_tokens, 0) AS "batch_tokens!",
                COALESCE(manned.memory_bytes, 0) AS "memory_bytes!"
            FROM manned FULL JOIN live USING (pool) LEFT JOIN busy USING (pool)
            ORDER BY pool"#,
            alive_s
        )
        .fetch_all(&self.pool)
        .await?;
        let number = |value: i32| u32::try_from(value).unwrap_or_default();
        let load = rows.into_iter().map(|row| PoolLoad {
            pool: PoolId::from_stored(row.pool),
            workers: number(row.workers),
            slots: number(row.slots),
            running: number(row.running),
            scheduled: number(row.scheduled),
            adapter_sets: number(row.adapter_sets),
            batch_max: number(row.batch_max),
            batch_tokens: u64::try_from(row.batch_tokens).unwrap_or_default(),
            memory_bytes: u64::try_from(row.memory_bytes).unwrap_or_default(),
        });
        Ok(load.collect())
    }

    /// Releases up to `limit` planned jobs that fit the pool, fairest first, and returns them in that order. Fewer than
    /// `limit` does not mean that no more are waiting: call it again until it returns none. Announce only the returned
    /// jobs, and only after the call has returned.
    ///
    /// # Errors
    /// [`crate::StoreError::NotLeader`] when the epoch does not lead.
    pub async fn release(&self, pool: &PoolId, limit: u32, epoch: Epoch) -> Result<Vec<Released>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let released = on_conflict(|| self.release_once(pool, limit, epoch)).await?;
        if released.is_empty() {
            self.ensure_leads(epoch).await?;
        }
        Ok(released)
    }

    async fn release_once(&self, pool: &PoolId, limit: u32, epoch: Epoch) -> Result<Vec<Released>> {
        let rows = release_chosen!(
            "-- release_jobs",
            by_tenant,
            r#"), turns AS MATERIALIZED (
                -- 3. Where the turn of each tenant begins in virtual time. Of a release of `limit` jobs none belongs to a tenant
                -- behind the first `limit`, so only these are read further.
                SELECT tenants.id, tenants.weight, base, row_number() OVER (ORDER BY base, waiting.order_at, waiting.id) AS place
                FROM waiting JOIN tenants ON tenants.id = waiting.tenant_id AND tenants.paused_at IS NULL
                LEFT JOIN dispatch_shares AS shares ON shares.model_id = $2 AND shares.tenant_id = tenants.id
                LEFT JOIN dispatch_clocks AS clock ON clock.model_id = $2
                CROSS JOIN LATERAL (SELECT GREATEST(COALESCE(shares.finish, 0), COALESCE(clock.now, 0)) AS base) AS turn
            ), sized AS (
                -- 4. Candidates per tenant: twice its part of the release. With one tenant that is the whole release, with
                -- hundreds a few each, so the cost depends on the release and not on tenants times the release.
                SELECT LEAST($4::bigint, GREATEST(8, 2 * $4::bigint / GREATEST(count(*), 1))) AS each
                FROM turns WHERE place <= $4::bigint
            ), candidates AS (
                -- 5. The first few jobs of each of these tenants, with their cost in virtual time.
                SELECT one.id, turns.id AS tenant_id, one.order_at, one.memory_bytes, turns.base,
                    GREATEST(one.share_s, 1) / turns.weight AS cost
                FROM turns CROSS JOIN LATERAL (
                    SELECT id, order_at, memory_bytes, COALESCE(share_s, estimate_s) AS share_s FROM jobs
                    WHERE model_id = $2 AND tenant_id = turns.id AND memory_bytes <= $3
                        AND status = 'queued' AND plan IS NOT NULL
                        AND (not_before IS NULL OR not_before <= clock_timestamp())
                        AND (requires IS NULL OR EXISTS (SELECT FROM workers AS like_first
                            WHERE like_first.pool = $1 AND like_first.identity = jobs.requires AND like_first.state <> 'gone'))
                    ORDER BY order_at, memory_bytes, id LIMIT (SELECT each FROM sized)
                ) AS one
                WHERE turns.place <= $4::bigint
            ), timed AS (
                -- 6. The virtual start of each candidate: its tenant's base plus the cost of the tenant's jobs before it. That of
                -- the first is the base itself and no sum: rounded up, it would lie beyond the horizon, and nothing were released.
                SELECT *, base + COALESCE(sum(cost) OVER (
                    PARTITION BY tenant_id ORDER BY order_at, memory_bytes, id
                    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS start
                FROM candidates
            ), horizon AS (
                -- 7. A tenant with unread jobs may have one that starts right after its last candidate, and the tenants of
                -- which nothing was read begin where the first of them does. Beyond the earliest such point the order is
                -- unknown, and the next call continues from there.
                SELECT min(last) AS start FROM (
                    SELECT max(start) AS last FROM timed GROUP BY tenant_id HAVING count(*) >= (SELECT each FROM sized)
                    UNION ALL
                    SELECT min(base) FROM turns WHERE place > $4::bigint
                ) AS unread
            ), chosen AS MATERIALIZED (
                -- 8. The fairest candidates up to the limit.
                SELECT timed.*, timed.start AS clock FROM timed, horizon
                WHERE horizon.start IS NULL OR timed.start <= horizon.start
                ORDER BY timed.start, order_at, id LIMIT $4::bigint"#,
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

    /// Released jobs of a pool that no worker has claimed yet and that this worker may claim, oldest release first. Workers find
    /// work this way while RabbitMQ is unavailable.
    ///
    /// # Errors
    /// The database's error.
    pub async fn unclaimed(&self, pool: &PoolId, worker_id: WorkerId, limit: u32) -> Result<Vec<Released>> {
        let rows = sqlx::query!(
            "-- unclaimed_jobs
             SELECT id, dispatch_no FROM jobs
             WHERE status = 'scheduled' AND pool = $1
                 AND (requires IS NULL OR requires = (SELECT w.identity FROM workers AS w WHERE w.id = $3))
             ORDER BY scheduled_at LIMIT $2",
            pool.as_str(),
            i64::from(limit),
            worker_id.0
        )
        .fetch_all(&self.pool)
        .await?;
        let released = |id, dispatch_no| Released { job_id: JobId(id), dispatch_no, pool: pool.clone() };
        Ok(rows.into_iter().map(|row| released(row.id, row.dispatch_no)).collect())
    }

    /// Takes back one release that its receiver cannot use (an extra delivery). `false` when it is no longer scheduled
    /// under this number.
    ///
    /// # Errors
    /// The database's error.
    pub async fn unrelease(&self, job_id: JobId, dispatch_no: i32) -> Result<bool> {
        let moved = transition!(
            r#"-- unrelease_job
            WITH moved AS (
                UPDATE jobs SET status = 'queued', pool = NULL, announced_at = NULL, announcements = 0
                WHERE id = $1 AND status = 'scheduled' AND dispatch_no = $2
                RETURNING id, tenant_id, model_id, tier, complexity, status, 'queued' AS kind,
                    '{"unreleased": true}'::jsonb AS detail, NULL::text AS counter, false AS lost,
                    NULL::text AS dropped
            )"#,
            job_id.0,
            dispatch_no
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(moved.is_some())
    }

    /// Takes back releases to pools without a worker that sent a heartbeat within `alive_s`; returns the jobs.
    ///
    /// # Errors
    /// [`crate::StoreError::NotLeader`] when the epoch does not lead.
    pub async fn unrelease_dead_pools(&self, alive_s: f64, limit: u32, epoch: Epoch) -> Result<Vec<JobId>> {
        let moved = transition!(
            r#"-- unrelease_dead_pools
            WITH led AS MATERIALIZED (
                SELECT epoch FROM leader WHERE epoch = $3 AND expires_at > clock_timestamp() FOR SHARE
            ), alive AS (
                SELECT DISTINCT pool FROM workers
                WHERE state IN ('ready', 'busy') AND last_seen_at > clock_timestamp() - make_interval(secs => $1)
            ), held AS MATERIALIZED (
                SELECT id FROM jobs
                WHERE status = 'scheduled' AND pool NOT IN (SELECT pool FROM alive) AND EXISTS (SELECT FROM led)
                ORDER BY scheduled_at LIMIT $2 FOR UPDATE SKIP LOCKED
            ), moved AS (
                UPDATE jobs SET status = 'queued', pool = NULL, announced_at = NULL, announcements = 0
                FROM held WHERE jobs.id = held.id
                RETURNING jobs.id, tenant_id, model_id, tier, complexity, status, 'queued' AS kind,
                    '{"unreleased": true}'::jsonb AS detail, NULL::text AS counter, false AS lost,
                    NULL::text AS dropped
            )"#,
            alive_s,
            i64::from(limit),
            epoch.0
        )
        .fetch_all(&self.pool)
        .await?;
        if moved.is_empty() {
            self.ensure_leads(epoch).await?;
        }
        Ok(moved.into_iter().map(|row| JobId(row.id)).collect())
    }

    /// Released jobs that still wait for a worker: `first_s` after the last announcement, then after twice as long, up to `max_s`. This
    /// call counts as their announcement. Jobs that accompany another one are among them as soon as that one
    /// has been claimed without them, or has ended.
    ///
    /// # Errors
    /// [`crate::StoreError::NotLeader`] when the epoch does not lead.
    pub async fn reannounce_due(&self, first_s: f64, max_s: f64, limit: u32, epoch: Epoch) -> Result<Vec<Due>> {
        let rows = sqlx::query!(
            r#"-- reannounce_due
            WITH led AS MATERIALIZED (
                SELECT epoch FROM leader WHERE epoch = $4 AND expires_at > clock_timestamp() FOR SHARE
            ), held AS MATERIALIZED (
                SELECT id FROM jobs
                WHERE status = 'scheduled' AND EXISTS (SELECT FROM led)
                    -- A job that accompanies another one is announced by itself once that one does not wait any more.
                    AND (batch_lead IS NULL OR NOT EXISTS (
                        SELECT FROM jobs AS lead WHERE lead.id = jobs.batch_lead AND lead.status = 'scheduled'))
                    AND (announced_at IS NULL OR announced_at <= clock_timestamp() - make_interval(
                        secs => LEAST($2, $1 * power(2, LEAST(GREATEST(announcements - 1, 0), 30)))))
                ORDER BY announced_at NULLS FIRST LIMIT $3 FOR UPDATE SKIP LOCKED
            )
            UPDATE jobs SET announced_at = clock_timestamp(), announcements = announcements + 1, batch_lead = NULL
            FROM held WHERE jobs.id = held.id
            RETURNING jobs.id, jobs.dispatch_no, jobs.pool AS "pool!", jobs.announcements"#,
            first_s,
            max_s,
            i64::from(limit),
            epoch.0
        )
        .fetch_all(&self.pool)
        .await?;
        if rows.is_empty() {
            self.ensure_leads(epoch).await?;
        }
        let due = rows.into_iter().map(|row| Due {
            job: Released { job_id: JobId(row.id), dispatch_no: row.dispatch_no, pool: PoolId::from_stored(row.pool) },
            announcements: row.announcements,
        });
        Ok(due.collect())
    }

    /// Makes every released job due for an announcement: a new leader cannot know what its predecessor sent.
    ///
    /// # Errors
    /// [`crate::StoreError::NotLeader`] when the epoch does not lead.
    pub async fn forget_announcements(&self, epoch: Epoch) -> Result<u64> {
        let forgotten = sqlx::query!(
            "-- forget_announcements
             WITH led AS MATERIALIZED (
                 SELECT epoch FROM leader WHERE epoch = $1 AND expires_at > clock_timestamp() FOR SHARE
             )
             UPDATE jobs SET announced_at = NULL, announcements = 0
             WHERE status = 'scheduled' AND EXISTS (SELECT FROM led)",
            epoch.0
        )
        .execute(&self.pool)
        .await?
        .rows_affected();
        if forgotten == 0 {
            self.ensure_leads(epoch).await?;
        }
        Ok(forgotten)
    }
}
