//! Jobs go where their adapters are merged already, within a bound on how long anybody waits for that.
//!
//! Three parts. Workers report the adapters in their weights ([`Store::report_adapters`]). The scheduler releases jobs that
//! match them before others ([`Store::release_matching`]). A worker with a free slot takes, of the released jobs of its pool,
//! one that matches ([`Store::preferred`]); the message that woke it only said that there is one.
//!
//! # The bound
//! The order is changed only within a **round**: the jobs of a pool that would end, in the fair order, before a virtual time
//! `dispatch_rounds.until`. A round holds at most `round_s` seconds of work, and the next one begins, at the fairest waiting job,
//! when no job of it is left. So all jobs that overtake another one are of its round, and delay it by at most `round_s` divided by
//! the pool's slots. The set of a round's jobs does not depend on the order in which they go: a tenant's position moves by the cost
//! of each released job, whichever it was. A job that is released and matches no worker is taken after `patience_s` at the
//! latest. Without adapters, or when all jobs have the same, the order is the fair one.

use domain::{JobId, PoolId, WorkerId};

use crate::connect::Store;
use crate::dispatch::{Released, release_chosen};
use crate::error::Result;
use crate::leader::Epoch;
use crate::retry::on_conflict;
use crate::row::bigint;

/// Most sets of adapters that a release looks for. A pool with more of them matches only those that most workers have.
const SETS_MAX: i64 = 256;

/// A set of adapters in the weights of a pool's workers, or of released jobs that wait for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The set, as [`domain::VideoRequest::adapters_key`] writes it; empty for none.
    pub adapters: String,
    /// Workers that have it and for which no released job is waiting yet. Negative when more jobs are waiting than workers have it.
    pub wanted: i32,
    /// Whether any worker has it.
    pub held: bool,
}

/// What a release may do for the sake of adapters.
#[derive(Debug, Clone, PartialEq)]
pub struct Affinity {
    /// What the pool's workers have merged.
    pub merged: Vec<Merged>,
    /// Work of one round, seconds at the manifest's reference speed, on all slots of the pool together.
    pub round_s: f64,
}

/// What a worker knows when it looks for a job.
#[derive(Debug, Clone, Copy)]
pub struct Seeker<'a> {
    /// The worker.
    pub worker_id: WorkerId,
    /// Its pool.
    pub pool: &'a PoolId,
    /// What it has merged, as [`domain::VideoRequest::adapters_key`] writes it; empty for none.
    pub adapters: &'a str,
    /// The job that a message named.
    pub hint: Option<JobId>,
    /// How long a released job may wait for a worker that matches, seconds.
    pub patience_s: f64,
}

impl Store {
    /// Stores what a worker has merged, or is about to, and the fingerprints of the adapters whose files its machine keeps.
    ///
    /// # Errors
    /// The database's error.
    pub async fn report_adapters(&self, id: WorkerId, merged: &str, cached: &[String]) -> Result<()> {
        sqlx::query!(
            "-- report_adapters
             UPDATE workers SET adapters = $2, adapters_cached = $3
             WHERE id = $1 AND (adapters, adapters_cached) IS DISTINCT FROM ($2, $3)",
            id.0,
            merged,
            cached
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The sets of adapters that workers of a pool have merged (of very many those of most workers), and those of its released jobs.
    /// Only workers with a heartbeat within `alive_s` count.
    ///
    /// # Errors
    /// The database's error.
    pub async fn merged(&self, pool: &PoolId, alive_s: f64) -> Result<Vec<Merged>> {
        let rows = sqlx::query!(
            r#"-- merged_adapters
            WITH held AS (
                SELECT adapters, count(*) AS workers FROM workers
                WHERE pool = $1 AND state IN ('ready', 'busy')
                    AND last_seen_at > clock_timestamp() - make_interval(secs => $2)
                GROUP BY adapters ORDER BY count(*) DESC, adapters LIMIT $3
            ), waiting AS (
                SELECT adapters, count(*) AS jobs FROM jobs WHERE status = 'scheduled' AND pool = $1 GROUP BY adapters
            )
            SELECT adapters AS "adapters!", (COALESCE(held.workers, 0) - COALESCE(waiting.jobs, 0))::int AS "wanted!",
                held.workers IS NOT NULL AS "held!"
            FROM held FULL JOIN waiting USING (adapters)"#,
            pool.as_str(),
            alive_s,
            SETS_MAX
        )
        .fetch_all(&self.pool)
        .await?;
        let merged = rows.into_iter().map(|row| Merged { adapters: row.adapters, wanted: row.wanted, held: row.held });
        Ok(merged.collect())
    }

    /// As [`Store::release`], but within a round (see the file's top) jobs that match what workers have merged go first.
    ///
    /// # Errors
    /// [`crate::StoreError::NotLeader`] when the epoch does not lead.
    pub async fn release_matching(
        &self,
        pool: &PoolId,
        limit: u32,
        affinity: &Affinity,
        epoch: Epoch,
    ) -> Result<Vec<Released>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let released = on_conflict(|| self.release_matching_once(pool, limit, affinity, epoch)).await?;
        if released.is_empty() {
            self.ensure_leads(epoch).await?;
        }
        Ok(released)
    }

    #[expect(clippy::too_many_lines, reason = "one statement")]
    async fn release_matching_once(
        &self,
        pool: &PoolId,
        limit: u32,
        affinity: &Affinity,
        epoch: Epoch,
    ) -> Result<Vec<Released>> {
        let sets: Vec<&str> = affinity.merged.iter().map(|one| one.adapters.as_str()).collect();
        let wanted: Vec<i32> = affinity.merged.iter().map(|one| one.wanted).collect();
        let held: Vec<bool> = affinity.merged.iter().map(|one| one.held).collect();
        let rows = release_chosen!(
            "-- release_matching_jobs",
            by_tenant,
            r#"), turns AS MATERIALIZED (
                -- 3. Where the turn of each tenant begins, as in release_jobs. Jobs that match are looked for among the first
                -- 512 tenants.
                SELECT tenants.id, tenants.weight, base,
                    row_number() OVER (ORDER BY base, waiting.order_at, waiting.id) <= GREATEST($4::bigint, 512) AS is_read
                FROM waiting JOIN tenants ON tenants.id = waiting.tenant_id AND tenants.paused_at IS NULL
                LEFT JOIN dispatch_shares AS shares ON shares.model_id = $2 AND shares.tenant_id = tenants.id
                LEFT JOIN dispatch_clocks AS clock ON clock.model_id = $2
                CROSS JOIN LATERAL (SELECT GREATEST(COALESCE(shares.finish, 0), COALESCE(clock.now, 0)) AS base) AS turn
            ), sized AS (
                -- 4. Candidates per tenant: as release_jobs reads them, or more where tenants are few: a matching job may
                -- stand behind others. The sum stays bounded.
                SELECT GREATEST(
                    LEAST($4::bigint, GREATEST(4, 2 * $4::bigint / GREATEST(count(*), 1))),
                    LEAST(128, 512 / GREATEST(count(*), 1))) AS each
                FROM turns WHERE is_read
            ), candidates AS (
                -- 5. The first few jobs of each of these tenants, with their cost in virtual time.
                SELECT one.id, turns.id AS tenant_id, one.order_at, one.memory_bytes, one.adapters, turns.base,
                    GREATEST(one.share_s, 1) / turns.weight AS cost
                FROM turns CROSS JOIN LATERAL (
                    SELECT id, order_at, memory_bytes, adapters, COALESCE(share_s, estimate_s) AS share_s FROM jobs
                    WHERE model_id = $2 AND tenant_id = turns.id AND memory_bytes <= $3
                        AND status = 'queued' AND plan IS NOT NULL
                        AND (not_before IS NULL OR not_before <= clock_timestamp())
                        AND (requires IS NULL OR EXISTS (SELECT FROM workers AS like_first
                            WHERE like_first.pool = $1 AND like_first.identity = jobs.requires AND like_first.state <> 'gone'))
                    ORDER BY order_at, memory_bytes, id LIMIT (SELECT each FROM sized)
                ) AS one
                WHERE turns.is_read
            ), timed AS MATERIALIZED (
                -- 6. The virtual start and end of each candidate in the fair order.
                SELECT *, base + sum(cost) OVER so_far AS ends,
                    base + COALESCE(sum(cost) OVER (so_far ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS start
                FROM candidates WINDOW so_far AS (PARTITION BY tenant_id ORDER BY order_at, memory_bytes, id)
            ), horizon AS (
                -- 7. As in release_jobs: beyond this point the fair order is unknown.
                SELECT min(last) AS start FROM (
                    SELECT max(start) AS last FROM timed GROUP BY tenant_id HAVING count(*) >= (SELECT each FROM sized)
                    UNION ALL
                    SELECT min(base) FROM turns WHERE NOT is_read
                ) AS unread
            ), round AS MATERIALIZED (
                -- 8. The round goes on while one of its jobs is left. A new one begins at the fairest job. It is never longer
                -- than $8 seconds of work from there. Where all jobs have the same adapters, no order saves a swap.
                SELECT fairest.start AS head, CASE
                    WHEN NOT fairest.mixed THEN '-Infinity'
                    WHEN fairest.ends <= last.until THEN LEAST(last.until, fairest.start + fairest.length)
                    ELSE fairest.start + fairest.length END AS until
                FROM (
                    SELECT min(timed.start) AS start, min(timed.ends) AS ends,
                        min(timed.adapters) < max(timed.adapters) AS mixed,
                        $8::float8 / (SELECT sum(weight) FROM turns) AS length
                    FROM timed
                ) AS fairest LEFT JOIN dispatch_rounds AS last ON last.pool = $1
            ), rounded AS (
                INSERT INTO dispatch_rounds AS r (pool, until)
                SELECT $1, until FROM round WHERE until IS NOT NULL AND EXISTS (SELECT FROM led)
                ON CONFLICT (pool) DO UPDATE SET until = EXCLUDED.until WHERE r.until <> EXCLUDED.until
            ), merged AS (
                SELECT * FROM UNNEST($6::text[], $7::int[], $9::bool[]) AS m (adapters, wanted, held)
            ), ranked AS MATERIALIZED (
                -- 9. Which jobs are of the round, for which of them a worker waits, and their places among those with adapters
                -- that neither a worker nor a released job has.
                SELECT timed.*, round.head, timed.ends <= round.until AS within, merged.adapters IS NOT NULL AS known,
                    COALESCE(merged.wanted >= row_number() OVER (
                        PARTITION BY timed.adapters, timed.ends <= round.until
                        ORDER BY timed.start, timed.order_at, timed.id), false) AS awaited,
                    row_number() OVER (
                        PARTITION BY merged.adapters IS NULL, timed.ends <= round.until
                        ORDER BY timed.start, timed.order_at, timed.id) AS place
                FROM timed CROSS JOIN round LEFT JOIN merged USING (adapters)
            ), idle AS (
                -- 10. Workers for which the round has nothing that they have merged and nothing new is released yet: they have
                -- to swap.
                SELECT (
                    SELECT COALESCE(sum(wanted) FILTER (WHERE held AND wanted > 0 OR NOT held), 0) FROM merged
                ) - count(*) FILTER (WHERE within AND awaited) AS workers FROM ranked
            ), picked AS MATERIALIZED (
                -- 11. Of the round's jobs first those for which a worker waits, then one for each worker that has to swap, then
                -- what some worker has merged, then the others; in each class the fairest first. After the round's jobs, the
                -- fair order.
                SELECT ranked.* FROM ranked CROSS JOIN horizon CROSS JOIN idle
                WHERE within OR horizon.start IS NULL OR ranked.start <= horizon.start
                ORDER BY CASE
                    WHEN NOT within THEN 4
                    WHEN awaited THEN 0
                    WHEN NOT known AND place <= idle.workers THEN 1
                    WHEN known THEN 2
                    ELSE 3 END, ranked.start, ranked.order_at, ranked.id
                LIMIT $4::bigint
            ), chosen AS MATERIALIZED (
                -- 12. A tenant is charged the cost of its jobs, not the place where they stood. The model's clock advances by
                -- the jobs that overtook nobody, so that tenants who come later start beside the fairest waiting job.
                SELECT id, tenant_id, order_at, cost,
                    base - cost + sum(cost) OVER (PARTITION BY tenant_id ORDER BY order_at, memory_bytes, id) AS start,
                    CASE WHEN start <= (
                        SELECT COALESCE(min(start), 'Infinity') FROM timed WHERE id NOT IN (SELECT id FROM picked)
                    ) THEN start ELSE head END AS clock
                FROM picked"#,
            pool.as_str(),
            pool.model_id(),
            bigint("memory_bytes", pool.memory_bytes())?,
            i64::from(limit),
            epoch.0,
            &sets as _,
            &wanted,
            affinity.round_s,
            &held
        )
        .fetch_all(&self.pool)
        .await?;
        let released = |id, dispatch_no| Released { job_id: JobId(id), dispatch_no, pool: pool.clone() };
        Ok(rows.into_iter().map(|row| released(row.id, row.dispatch_no)).collect())
    }

    /// The released job that a worker with a free slot should claim; `None` when none is waiting. Reading it reserves nothing: the
    /// claim may still be refused.
    ///
    /// # Errors
    /// The database's error.
    pub async fn preferred(&self, seeker: Seeker<'_>) -> Result<Option<Released>> {
        let row = sqlx::query!(
            r#"-- preferred_job
            WITH waiting AS (
                -- Enough to choose from, and no more where ten thousand jobs were released at once.
                (SELECT id, dispatch_no, adapters, scheduled_at, start_by FROM jobs
                WHERE status = 'scheduled' AND pool = $1 AND cancel_requested_at IS NULL
                    -- A replay needs a worker like the first one.
                    AND (requires IS NULL OR requires = (SELECT w.identity FROM workers AS w WHERE w.id = $5))
                ORDER BY id LIMIT 64)
                UNION
                SELECT id, dispatch_no, adapters, scheduled_at, start_by FROM jobs
                WHERE id = $2 AND status = 'scheduled' AND pool = $1 AND cancel_requested_at IS NULL
                    AND (requires IS NULL OR requires = (SELECT w.identity FROM workers AS w WHERE w.id = $5))
            ), rated AS (
                SELECT *, scheduled_at <= clock_timestamp() - make_interval(secs => $4) AS overdue FROM waiting
            )
            SELECT id AS "id!", dispatch_no AS "dispatch_no!" FROM rated
            ORDER BY CASE
                -- 1. What would miss its deadline by waiting any longer.
                WHEN start_by <= clock_timestamp() + make_interval(secs => $4) THEN 0
                -- 2. What has waited long enough, whatever it needs.
                WHEN overdue THEN 1
                -- 3. What needs no swap.
                WHEN adapters = $3 THEN 2
                -- 4. What no other worker could take without a swap.
                WHEN NOT EXISTS (
                    SELECT FROM workers WHERE workers.pool = $1 AND workers.adapters = rated.adapters
                        AND workers.id <> $5 AND workers.state IN ('ready', 'busy')
                ) THEN 3
                ELSE 4 END,
                -- Of several the one that the message named, since every worker has another message.
                id IS DISTINCT FROM $2, CASE WHEN overdue OR $2 IS NULL THEN scheduled_at END, random()
            LIMIT 1"#,
            seeker.pool.as_str(),
            seeker.hint.map(|job| job.0),
            seeker.adapters,
            seeker.patience_s,
            seeker.worker_id.0
        )
        .fetch_optional(&self.pool)
        .await?;
        let pool = seeker.pool.clone();
        Ok(row.map(|row| Released { job_id: JobId(row.id), dispatch_no: row.dispatch_no, pool }))
    }
}
