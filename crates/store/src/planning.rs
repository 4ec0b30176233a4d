//! The scheduler's first step: which jobs have no plan yet, and what was decided for them.

use domain::{Job, JobId, Plan};
use uuid::Uuid;

use crate::connect::Store;
use crate::error::Result;
use crate::jobs::Scope;
use crate::leader::Epoch;
use crate::retry::on_conflict;
use crate::row::{bigint, int, to_json};

/// A decision for one job.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedJob {
    /// The job.
    pub job_id: JobId,
    /// What was decided.
    pub plan: Plan,
    /// The tier's delay, seconds: among a tenant's jobs this one stands where a job of delay 0 would that was submitted
    /// so much later. Cheap tiers overtake, and nobody starves.
    pub order_delay_s: f64,
    /// What it counts against its tenant's share, seconds at a pace that does not change between two plannings.
    pub share_s: f64,
}

impl Store {
    /// Jobs without a plan, oldest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn unplanned(&self, limit: u32) -> Result<Vec<Job>> {
        let ids = sqlx::query_scalar!(
            "-- unplanned_jobs
             SELECT id FROM jobs WHERE status = 'queued' AND plan IS NULL ORDER BY id LIMIT $1",
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await?;
        let ids: Vec<JobId> = ids.into_iter().map(JobId).collect();
        self.get_many(Scope::Fleet, &ids).await
    }

    /// Saves plans; answers which were saved. A job that was cancelled or planned meanwhile is left alone.
    ///
    /// # Errors
    /// [`crate::StoreError::NotLeader`] when the epoch does not lead.
    pub async fn save_plans(&self, plans: &[PlannedJob], epoch: Epoch) -> Result<Vec<JobId>> {
        if plans.is_empty() {
            return Ok(Vec::new());
        }
        let saved = on_conflict(|| self.save_plans_once(plans, epoch)).await?;
        if saved.is_empty() {
            self.ensure_leads(epoch).await?;
        }
        Ok(saved)
    }

    async fn save_plans_once(&self, plans: &[PlannedJob], epoch: Epoch) -> Result<Vec<JobId>> {
        let ids: Vec<Uuid> = plans.iter().map(|planned| planned.job_id.0).collect();
        let documents = plans.iter().map(|planned| to_json("plan", &planned.plan)).collect::<Result<Vec<_>>>()?;
        let tiers: Vec<&str> = plans.iter().map(|planned| planned.plan.tier.as_str()).collect();
        let complexities: Vec<&str> = plans.iter().map(|planned| planned.plan.complexity.as_str()).collect();
        let steps = plans.iter().map(|planned| int("steps", planned.plan.steps)).collect::<Result<Vec<_>>>()?;
        let estimates: Vec<f64> = plans.iter().map(|planned| planned.plan.estimate_s).collect();
        let cached: Vec<f64> = plans.iter().map(|planned| planned.plan.estimate_cached_s).collect();
        let memory =
            plans.iter().map(|one| bigint("memory_bytes", one.plan.memory_bytes)).collect::<Result<Vec<_>>>()?;
        let delays: Vec<f64> = plans.iter().map(|planned| planned.order_delay_s).collect();
        let shares: Vec<f64> = plans.iter().map(|planned| planned.share_s).collect();
        let saved = sqlx::query_scalar!(
            r#"-- save_plans
            WITH led AS MATERIALIZED (
                SELECT epoch FROM leader WHERE epoch = $11 AND expires_at > clock_timestamp() FOR SHARE
            ), given AS (
                SELECT * FROM UNNEST($1::uuid[], $2::jsonb[], $3::text[], $4::text[], $5::int[], $6::float8[],
                    $7::float8[], $8::bigint[], $9::float8[], $10::float8[])
                    AS g (id, plan, tier, complexity, final_steps, estimate_s, estimate_cached_s, memory_bytes, delay_s,
                        share_s)
            ), held AS MATERIALIZED (
                SELECT id FROM jobs
                WHERE id = ANY($1) AND status = 'queued' AND plan IS NULL AND EXISTS (SELECT FROM led)
                FOR UPDATE SKIP LOCKED
            ), moved AS (
                UPDATE jobs SET plan = given.plan, tier = given.tier, complexity = given.complexity,
                    final_steps = given.final_steps, estimate_s = given.estimate_s,
                    estimate_cached_s = given.estimate_cached_s, memory_bytes = given.memory_bytes,
                    share_s = given.share_s,
                    order_at = LEAST(jobs.created_at + make_interval(secs => given.delay_s),
                                     jobs.deadline_at - make_interval(secs => given.estimate_s))
                FROM held JOIN given USING (id)
                WHERE jobs.id = held.id
                RETURNING jobs.id, jobs.tenant_id, jobs.model_id, jobs.tier, jobs.complexity, jobs.final_steps
            ), told AS (
                INSERT INTO job_events (job_id, tenant_id, kind, detail)
                SELECT id, tenant_id, 'planned', jsonb_build_object('tier', tier, 'complexity', complexity,
                    'steps', final_steps)
                FROM moved
            ), counted AS (
                INSERT INTO stats_hourly AS s (tenant_id, bucket, model_id, tier, complexity, shard, planned)
                SELECT tenant_id, bucket, model_id, tier, complexity, pg_backend_pid() % 8, count(*)
                FROM moved, (VALUES (date_trunc('hour', clock_timestamp(), 'UTC')), ('-infinity')) AS b (bucket)
                GROUP BY tenant_id, bucket, model_id, tier, complexity
                ORDER BY tenant_id, bucket, model_id, tier, complexity
                ON CONFLICT (tenant_id, bucket, model_id, tier, complexity, shard)
                    DO UPDATE SET planned = s.planned + EXCLUDED.planned
            )
            SELECT id AS "id!" FROM moved"#,
            &ids,
            &documents,
            &tiers as _,
            &complexities as _,
            &steps,
            &estimates,
            &cached,
            &memory,
            &delays,
            &shares,
            epoch.0
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(saved.into_iter().map(JobId).collect())
    }
}
