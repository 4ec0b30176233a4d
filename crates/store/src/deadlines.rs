//! Deadlines of waiting jobs: giving up those that cannot be met, and taking slots from running jobs for those that can.
//!
//! Which job gives its slot to which is decided by `optimizer::preempt`; this file reads what that needs and makes the move:
//! it marks the running job's row, which its worker sees at the next renewal of the lease, and releases the waiting job.

use domain::{JobId, LeaseToken, PoolId, TenantId};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::connect::Store;
use crate::dispatch::Released;
use crate::error::Result;
use crate::leader::Epoch;
use crate::retry::on_conflict;
use crate::row::bigint;
use crate::transition::transition;

/// Most workers whose running jobs one statement reads.
const HOLDERS_PART: i64 = 2_000;

/// A waiting job whose deadline can still be met, if it starts soon.
#[derive(Debug, Clone, PartialEq)]
pub struct UrgentJob {
    /// The job.
    pub job_id: JobId,
    /// Its owner.
    pub tenant_id: TenantId,
    /// Id of its model.
    pub model_id: String,
    /// Device memory that it needs, bytes.
    pub memory_bytes: i64,
    /// The pool that it is released to; `None` while it is queued.
    pub pool: Option<PoolId>,
    /// Seconds until it must start.
    pub slack_s: f64,
    /// Where its tenant's share ends in virtual time.
    pub share: f64,
}

/// A job that occupies a slot.
#[derive(Debug, Clone, PartialEq)]
pub struct SlotHolder {
    /// The job.
    pub job_id: JobId,
    /// Its owner.
    pub tenant_id: TenantId,
    /// The lease under which it runs.
    pub token: LeaseToken,
    /// Estimated seconds until it ends, by its steps; 0 once it was asked for its slot.
    pub remaining_s: f64,
    /// Whether it may be asked for its slot.
    pub may_yield: bool,
    /// Where its tenant's share ends in virtual time.
    pub share: f64,
}

/// A running job that is to give its slot to a waiting one.
#[derive(Debug, Clone, PartialEq)]
pub struct Preemption {
    /// The running job.
    pub job_id: JobId,
    /// The lease under which it was seen.
    pub token: LeaseToken,
    /// The waiting job.
    pub urgent: JobId,
    /// Whose slot it is.
    pub pool: PoolId,
    /// Released jobs of the pool without a deadline that go back to the queue, so that the slot does not go to them.
    pub displace_max: u32,
    /// How often a job may be asked.
    pub preemptions_max: i32,
}

impl Store {
    /// Returns queued jobs whose deadlines cannot be met any more to the places that they would have without them, so that they
    /// push no other job back. Returns how many.
    ///
    /// # Errors
    /// [`crate::StoreError::NotLeader`] when the epoch does not lead.
    pub async fn give_up_deadlines(&self, limit: u32, epoch: Epoch) -> Result<u64> {
        let given_up = on_conflict(|| async {
            let done = sqlx::query!(
                "-- give_up_deadlines
                 WITH led AS MATERIALIZED (
                     SELECT epoch FROM leader WHERE epoch = $2 AND expires_at > clock_timestamp() FOR SHARE
                 ), held AS MATERIALIZED (
                     -- now() and not clock_timestamp(), which no index can be searched by.
                     SELECT id FROM jobs
                     WHERE start_by IS NOT NULL AND start_by < now() AND status = 'queued'
                         AND EXISTS (SELECT FROM led)
                     ORDER BY start_by, id LIMIT $1 FOR UPDATE SKIP LOCKED
                 )
                 UPDATE jobs SET start_by = NULL, order_at = COALESCE(plain_order_at, order_at)
                 FROM held WHERE jobs.id = held.id",
                i64::from(limit),
                epoch.0
            )
            .execute(&self.pool)
            .await?;
            Ok(done.rows_affected())
        })
        .await?;
        if given_up == 0 {
            self.ensure_leads(epoch).await?;
        }
        Ok(given_up)
    }

    /// Waiting jobs that must start within `notice_s` seconds to meet their deadlines, the most urgent first.
    ///
    /// # Errors
    /// The database's error.
    pub async fn urgent_jobs(&self, notice_s: f64, limit: u32) -> Result<Vec<UrgentJob>> {
        let rows = sqlx::query!(
            r#"-- urgent_jobs
            SELECT jobs.id, jobs.tenant_id, jobs.model_id, memory_bytes AS "memory_bytes!", pool,
                extract(epoch FROM start_by - clock_timestamp())::float8 AS "slack_s!",
                GREATEST(COALESCE(shares.finish, 0), COALESCE(clock.now, 0)) AS "share!"
            FROM jobs JOIN tenants ON tenants.id = jobs.tenant_id
            LEFT JOIN dispatch_shares AS shares ON shares.model_id = jobs.model_id AND shares.tenant_id = jobs.tenant_id
            LEFT JOIN dispatch_clocks AS clock ON clock.model_id = jobs.model_id
            WHERE start_by IS NOT NULL AND status IN ('queued', 'scheduled')
                -- now() and not clock_timestamp(), which no index can be searched by.
                AND start_by BETWEEN now() AND now() + make_interval(secs => $1)
                AND (status = 'scheduled' OR tenants.paused_at IS NULL)
                AND (not_before IS NULL OR not_before <= clock_timestamp())
                -- A replay runs on certain workers only.
                AND requires IS NULL
            ORDER BY start_by, jobs.id LIMIT $2"#,
            notice_s,
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await?;
        let urgent = rows.into_iter().map(|row| UrgentJob {
            job_id: JobId(row.id),
            tenant_id: TenantId(row.tenant_id),
            model_id: row.model_id,
            memory_bytes: row.memory_bytes,
            pool: row.pool.map(PoolId::from_stored),
            slack_s: row.slack_s,
            share: row.share,
        });
        Ok(urgent.collect())
    }

    /// Jobs that occupy slots of the pool. Reads the pool's running jobs, in parts of at most [`HOLDERS_PART`] workers: call it only
    /// when a job is urgent.
    ///
    /// # Errors
    /// The database's error.
    pub async fn slot_holders(&self, pool: &PoolId, preemptions_max: i32) -> Result<Vec<SlotHolder>> {
        let ends = sqlx::query_scalar!(
            r#"-- slot_holder_parts
            SELECT worker_id AS "worker_id!" FROM (
                SELECT worker_id, row_number() OVER (ORDER BY worker_id) AS place FROM (
                    SELECT DISTINCT worker_id FROM jobs WHERE pool = $1 AND status = 'running' AND worker_id IS NOT NULL
                ) AS busy
            ) AS placed WHERE place % $2 = 0 ORDER BY worker_id"#,
            pool.as_str(),
            HOLDERS_PART
        )
        .fetch_all(&self.pool)
        .await?;
        let mut holders = Vec::new();
        let mut begin = Uuid::nil();
        for end in ends.into_iter().chain([Uuid::max()]) {
            holders.extend(self.slot_holders_of(pool, preemptions_max, begin, end).await?);
            begin = end;
        }
        Ok(holders)
    }

    /// Those of the workers after `begin`, up to `end`.
    async fn slot_holders_of(
        &self,
        pool: &PoolId,
        preemptions_max: i32,
        begin: Uuid,
        end: Uuid,
    ) -> Result<Vec<SlotHolder>> {
        let rows = sqlx::query!(
            r#"-- slot_holders
            SELECT id AS "id!", tenant_id AS "tenant_id!", token AS "token!", remaining_s AS "remaining_s!",
                may_yield AND members <= slots AS "may_yield!", share AS "share!"
            FROM (
                SELECT jobs.id, jobs.tenant_id, lease_token AS token, remaining.s AS remaining_s,
                    (stage = 'denoise' AND preempt_requested_at IS NULL AND cancel_requested_at IS NULL AND preemptions < $2
                        AND (deadline_at IS NULL OR deadline_at < clock_timestamp())) AS may_yield,
                    GREATEST(COALESCE(shares.finish, 0), COALESCE(clock.now, 0)) AS share,
                    -- Jobs that a worker renders together use one slot, which is free when the last of them ends.
                    GREATEST(workers.slots, 1) AS slots, count(*) OVER (PARTITION BY jobs.worker_id) AS members,
                    row_number() OVER (PARTITION BY jobs.worker_id ORDER BY remaining.s DESC, jobs.id) AS place
                FROM jobs LEFT JOIN workers ON workers.id = jobs.worker_id
                -- Early steps at half the size count less.
                CROSS JOIN LATERAL (SELECT COALESCE((plan -> 'progressive' ->> 'steps')::float8, 0) AS steps,
                    1 - COALESCE((plan -> 'progressive' ->> 'step_share')::float8, 1) AS less) AS early
                CROSS JOIN LATERAL (SELECT
                    CASE WHEN preempt_requested_at IS NOT NULL OR cancel_requested_at IS NOT NULL THEN 0
                        ELSE estimate_s * (1 - LEAST(1, (step - early.less * LEAST(step, early.steps))
                            / GREATEST(final_steps - early.less * early.steps, 1))) END AS s) AS remaining
                LEFT JOIN dispatch_shares AS shares ON shares.model_id = jobs.model_id AND shares.tenant_id = jobs.tenant_id
                LEFT JOIN dispatch_clocks AS clock ON clock.model_id = jobs.model_id
                WHERE jobs.pool = $1 AND status = 'running' AND stage <> 'deliver' AND worker_id > $3 AND worker_id <= $4
            ) AS held
            WHERE place <= slots ORDER BY id"#,
            pool.as_str(),
            preemptions_max,
            begin,
            end
        )
        .fetch_all(&self.pool)
        .await?;
        let holders = rows.into_iter().map(|row| SlotHolder {
            job_id: JobId(row.id),
            tenant_id: TenantId(row.tenant_id),
            token: LeaseToken(row.token),
            remaining_s: row.remaining_s,
            may_yield: row.may_yield,
            share: row.share,
        });
        Ok(holders.collect())
    }

    /// Asks a running job for its slot and releases the waiting job to it; both or neither. Returns the release, which must be
    /// announced, unless the job was released before. `None` when a guard refused: one of the two has moved meanwhile.
    ///
    /// # Errors
    /// [`crate::StoreError::NotLeader`] when the epoch does not lead.
    pub async fn preempt(&self, wish: &Preemption, epoch: Epoch) -> Result<Option<Vec<Released>>> {
        let done = on_conflict(|| async {
            let mut connection = self.pool.acquire().await?;
            let outcome = self.pool.in_time(preempt(&mut connection, wish, epoch)).await;
            connection.settle(outcome).await
        })
        .await?;
        if done.is_none() {
            self.ensure_leads(epoch).await?;
        }
        Ok(done)
    }
}

async fn preempt(connection: &mut PgConnection, wish: &Preemption, epoch: Epoch) -> Result<Option<Vec<Released>>> {
    let mut transaction = connection.begin().await?;
    // 1. Mark the running job, if it still is the run that was seen.
    let marked = sqlx::query!(
        "-- preempt_job
         WITH led AS MATERIALIZED (
             SELECT epoch FROM leader WHERE epoch = $4 AND expires_at > clock_timestamp() FOR SHARE
         )
         UPDATE jobs SET preempt_requested_at = clock_timestamp(), preemptions = preemptions + 1
         WHERE id = $1 AND lease_token = $2 AND status = 'running' AND cancel_requested_at IS NULL
             AND preempt_requested_at IS NULL AND preemptions < $3 AND EXISTS (SELECT FROM led)",
        wish.job_id.0,
        wish.token.0,
        wish.preemptions_max,
        epoch.0
    )
    .execute(&mut *transaction)
    .await?;
    if marked.rows_affected() == 0 {
        transaction.rollback().await?;
        return Ok(None);
    }
    // 2. Make way, then release the waiting job. It may have been released before.
    displace(&mut transaction, wish).await?;
    let released = release_urgent(&mut transaction, wish).await?;
    if released.is_empty() && !is_released(&mut transaction, wish).await? {
        transaction.rollback().await?;
        return Ok(None);
    }
    transaction.commit().await?;
    Ok(Some(released))
}

/// Takes back releases of the pool that nothing hurries, newest first, and refunds them to their tenants' shares.
async fn displace(connection: &mut PgConnection, wish: &Preemption) -> Result<()> {
    transition!(
        r#"-- displace_jobs
        WITH held AS MATERIALIZED (
            SELECT id FROM jobs
            WHERE status = 'scheduled' AND pool = $1 AND start_by IS NULL AND id <> $2
                -- A companion waits for no slot.
                AND batch_lead IS NULL
            ORDER BY scheduled_at DESC LIMIT $3 FOR UPDATE SKIP LOCKED
        ), moved AS (
            UPDATE jobs SET status = 'queued', pool = NULL, announced_at = NULL, announcements = 0
            FROM held WHERE jobs.id = held.id
            RETURNING jobs.id, tenant_id, model_id, tier, complexity, status, 'queued' AS kind,
                '{"unreleased": true}'::jsonb AS detail, NULL::text AS counter, false AS lost, NULL::text AS dropped,
                COALESCE(share_s, estimate_s) AS share_s
        ), refunded AS (
            UPDATE dispatch_shares SET finish = finish - back.cost
            FROM (SELECT tenant_id, model_id, sum(GREATEST(share_s, 1) / weight) AS cost
                FROM moved JOIN tenants ON tenants.id = tenant_id GROUP BY tenant_id, model_id) AS back
            WHERE dispatch_shares.tenant_id = back.tenant_id AND dispatch_shares.model_id = back.model_id
        )"#,
        wish.pool.as_str(),
        wish.urgent.0,
        i64::from(wish.displace_max)
    )
    .fetch_all(connection)
    .await?;
    Ok(())
}

/// Releases the waiting job out of the order between tenants, and charges it to its tenant's share as any other.
async fn release_urgent(connection: &mut PgConnection, wish: &Preemption) -> Result<Vec<Released>> {
    let rows = sqlx::query!(
        r#"-- release_urgent_job
        WITH moved AS (
            UPDATE jobs SET status = 'scheduled', pool = $2, dispatch_no = dispatch_no + 1, not_before = NULL,
                scheduled_at = clock_timestamp(), announced_at = clock_timestamp(), announcements = 1, batch_lead = NULL
            FROM tenants
            WHERE jobs.id = $1 AND status = 'queued' AND plan IS NOT NULL AND cancel_requested_at IS NULL
                AND memory_bytes <= $3 AND start_by >= clock_timestamp()
                AND tenants.id = tenant_id AND tenants.paused_at IS NULL
            RETURNING jobs.id, tenant_id, model_id, dispatch_no,
                GREATEST(COALESCE(share_s, estimate_s), 1) / tenants.weight AS cost
        ), told AS (
            INSERT INTO job_events (job_id, tenant_id, kind, detail)
            SELECT id, tenant_id, 'scheduled', jsonb_build_object('pool', $2::text, 'dispatch_no', dispatch_no,
                'deadline', true)
            FROM moved
        ), shared AS (
            INSERT INTO dispatch_shares AS s (model_id, tenant_id, finish)
            SELECT moved.model_id, moved.tenant_id, COALESCE(clock.now, 0) + cost
            FROM moved LEFT JOIN dispatch_clocks AS clock ON clock.model_id = moved.model_id
            ON CONFLICT (model_id, tenant_id) DO UPDATE
                SET finish = GREATEST(s.finish + (SELECT cost FROM moved), EXCLUDED.finish)
        )
        SELECT id AS "id!", dispatch_no AS "dispatch_no!" FROM moved"#,
        wish.urgent.0,
        wish.pool.as_str(),
        bigint("memory_bytes", wish.pool.memory_bytes())?
    )
    .fetch_all(connection)
    .await?;
    let released = |id, dispatch_no| Released { job_id: JobId(id), dispatch_no, pool: wish.pool.clone() };
    Ok(rows.into_iter().map(|row| released(row.id, row.dispatch_no)).collect())
}

async fn is_released(connection: &mut PgConnection, wish: &Preemption) -> Result<bool> {
    let released = sqlx::query_scalar!(
        r#"-- is_released_urgently
        SELECT EXISTS (SELECT FROM jobs WHERE id = $1 AND status = 'scheduled' AND pool = $2) AS "released!""#,
        wish.urgent.0,
        wish.pool.as_str()
    )
    .fetch_one(connection)
    .await?;
    Ok(released)
}
