//! The scheduler's first step: which jobs have no plan yet, and what was decided for them.

use chrono::{DateTime, Utc};
use domain::model::RenderShape;
use domain::{BatchKey, JobId, Plan, TenantId, VideoRequest};
use serde_json::Value;
use uuid::Uuid;

use crate::connect::Store;
use crate::document::{query_with_request, read_request};
use crate::error::{Result, StoreError};
use crate::leader::Epoch;
use crate::retry::on_conflict;
use crate::row::{bigint, count, int, to_json};
use crate::transition::transition;

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
    /// How long before its latest start a job with a deadline is placed, seconds: it goes before jobs that have waited for less
    /// than this, minus its slack.
    pub deadline_lead_s: f64,
    /// What it counts against its tenant's share, seconds at a pace that does not change between two plannings.
    pub share_s: f64,
    /// Its adapters, as [`domain::VideoRequest::adapters_key`] writes them.
    pub adapters: String,
    /// Equal for jobs that can be rendered together; `None` for a job that is rendered alone.
    pub batch_key: Option<BatchKey>,
}

/// A job without a plan: what planning needs of its row.
#[derive(Debug, Clone, PartialEq)]
pub struct UnplannedJob {
    /// The job.
    pub id: JobId,
    /// Its owner.
    pub tenant_id: TenantId,
    /// Id of its model.
    pub model_id: String,
    /// What was asked for.
    pub request: VideoRequest,
    /// What will be rendered.
    pub shape: RenderShape,
    /// When it was submitted.
    pub created_at: DateTime<Utc>,
    /// W3C traceparent of the submission.
    pub traceparent: Option<String>,
}

/// A part of the jobs without a plan.
#[derive(Debug, Default)]
pub struct UnplannedBatch {
    /// Oldest first.
    pub jobs: Vec<UnplannedJob>,
    /// Rows that this release cannot read. They wait and keep no other job from being planned.
    pub unreadable: Vec<StoreError>,
    /// The last row that was read, also an unreadable one: the next batch starts after it. `None` when there was none.
    pub last: Option<JobId>,
}

struct UnplannedRow {
    id: Uuid,
    tenant_id: Uuid,
    model_id: String,
    width: i32,
    height: i32,
    frames: i32,
    fps: f64,
    created_at: DateTime<Utc>,
    traceparent: Option<String>,
    request: Value,
}

impl UnplannedRow {
    fn read(self) -> Result<UnplannedJob> {
        Ok(UnplannedJob {
            id: JobId(self.id),
            tenant_id: TenantId(self.tenant_id),
            model_id: self.model_id,
            shape: RenderShape {
                width: count(self.id, "width", self.width)?,
                height: count(self.id, "height", self.height)?,
                frames: count(self.id, "frames", self.frames)?,
                fps: self.fps,
            },
            created_at: self.created_at,
            traceparent: self.traceparent,
            request: read_request(self.id, self.request)?,
        })
    }
}

impl Store {
    /// Up to `limit` jobs of these models without a plan, oldest first across the models, beginning after the job `after`
    /// (`None` for the oldest). Jobs of other models are not read, however many there are.
    ///
    /// # Errors
    /// The database's. A row that cannot be read is reported in [`UnplannedBatch::unreadable`].
    pub async fn unplanned(&self, models: &[String], after: Option<JobId>, limit: u32) -> Result<UnplannedBatch> {
        let rows = query_with_request!(
            UnplannedRow,
            r#"-- unplanned_jobs
            SELECT id, tenant_id, model_id, width, height, frames, fps, created_at, traceparent,"#,
            r#"
            FROM jobs
            WHERE id = ANY(ARRAY(
                SELECT one.id FROM UNNEST($1::text[]) AS known (model_id)
                CROSS JOIN LATERAL (
                    -- The index alone answers this, one range for each model.
                    SELECT waiting.id FROM jobs AS waiting
                    WHERE waiting.model_id = known.model_id AND waiting.status = 'queued' AND waiting.plan IS NULL
                        AND waiting.id > $2
                    ORDER BY waiting.id LIMIT $3::bigint
                ) AS one
                ORDER BY one.id LIMIT $3::bigint
            )) AND status = 'queued' AND plan IS NULL
            ORDER BY id"#,
            models,
            after.map_or(Uuid::nil(), |job| job.0),
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await?;
        let mut batch = UnplannedBatch { last: rows.last().map(|row| JobId(row.id)), ..UnplannedBatch::default() };
        for row in rows {
            match row.read() {
                Ok(job) => batch.jobs.push(job),
                Err(error) => batch.unreadable.push(error),
            }
        }
        Ok(batch)
    }

    /// Fails up to `limit` jobs that have waited for longer than `grace_s` seconds for a model that is not registered;
    /// returns the jobs.
    ///
    /// # Errors
    /// [`StoreError::NotLeader`] when the epoch does not lead.
    pub async fn fail_unknown_models(&self, grace_s: f64, limit: u32, epoch: Epoch) -> Result<Vec<JobId>> {
        let moved = on_conflict(|| self.fail_unknown_models_once(grace_s, limit, epoch)).await?;
        if moved.is_empty() {
            self.ensure_leads(epoch).await?;
        }
        Ok(moved)
    }

    async fn fail_unknown_models_once(&self, grace_s: f64, limit: u32, epoch: Epoch) -> Result<Vec<JobId>> {
        let moved = transition!(
            r#"-- fail_unknown_models
            WITH RECURSIVE led AS MATERIALIZED (
                SELECT epoch FROM leader WHERE epoch = $3 AND expires_at > clock_timestamp() FOR SHARE
            ), named (model_id) AS (
                -- Models of unplanned jobs, one index probe each.
                (SELECT model_id FROM jobs WHERE status = 'queued' AND plan IS NULL ORDER BY model_id LIMIT 1)
                UNION ALL
                SELECT (SELECT model_id FROM jobs
                    WHERE status = 'queued' AND plan IS NULL AND model_id > named.model_id
                    ORDER BY model_id LIMIT 1)
                FROM named WHERE named.model_id IS NOT NULL
            ), chosen AS MATERIALIZED (
                SELECT one.id FROM named CROSS JOIN LATERAL (
                    SELECT waiting.id FROM jobs AS waiting
                    WHERE waiting.model_id = named.model_id AND waiting.status = 'queued' AND waiting.plan IS NULL
                        AND waiting.created_at <= clock_timestamp() - make_interval(secs => $1)
                    ORDER BY waiting.id LIMIT $2::bigint
                ) AS one
                WHERE NOT EXISTS (SELECT FROM models WHERE models.id = named.model_id)
                LIMIT $2::bigint
            ), held AS MATERIALIZED (
                SELECT id FROM jobs
                WHERE id = ANY(ARRAY(SELECT id FROM chosen)) AND status = 'queued' AND plan IS NULL
                    AND EXISTS (SELECT FROM led)
                FOR UPDATE SKIP LOCKED
            ), moved AS (
                UPDATE jobs SET status = 'failed', finished_at = clock_timestamp(), not_before = NULL,
                    failure_code = 'unknown_model',
                    failure_reason = format('no process of the fleet has registered the model ''%s''; add its folder to '
                        'models.dirs of the API and the scheduler and retry the job, or submit it with another model',
                        model_id)
                FROM held WHERE jobs.id = held.id
                RETURNING jobs.id, tenant_id, model_id, tier, complexity, status, 'failed' AS kind,
                    jsonb_build_object('code', 'unknown_model') AS detail, 'failed' AS counter, false AS lost,
                    NULL::text AS dropped
            )"#,
            grace_s,
            i64::from(limit),
            epoch.0
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(moved.into_iter().map(|row| JobId(row.id)).collect())
    }

    /// Saves plans; returns which were saved. A job that was cancelled or planned meanwhile is left alone.
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
        let c = Columns::of(plans)?;
        let saved = sqlx::query_scalar!(
            r#"-- save_plans
            WITH led AS MATERIALIZED (
                SELECT epoch FROM leader WHERE epoch = $11 AND expires_at > clock_timestamp() FOR SHARE
            ), given AS (
                SELECT * FROM UNNEST($1::uuid[], $2::jsonb[], $3::text[], $4::text[], $5::int[], $6::float8[],
                    $7::float8[], $8::bigint[], $9::float8[], $10::float8[], $12::int[], $13::text[], $14::float8[],
                    $15::text[])
                    AS g (id, plan, tier, complexity, final_steps, estimate_s, estimate_cached_s, memory_bytes, delay_s,
                        share_s, draft_until, adapters, lead_s, batch_key)
            ), held AS MATERIALIZED (
                SELECT id FROM jobs
                WHERE id = ANY($1) AND status = 'queued' AND plan IS NULL AND EXISTS (SELECT FROM led)
                FOR UPDATE SKIP LOCKED
            ), placed AS (
                -- A deadline that cannot be met any more gives no place.
                SELECT held.id, job.created_at + make_interval(secs => given.delay_s) AS plain,
                    CASE WHEN job.deadline_at - make_interval(secs => given.estimate_s) >= clock_timestamp()
                        THEN job.deadline_at - make_interval(secs => given.estimate_s) END AS start_by
                FROM held JOIN given USING (id) JOIN jobs AS job USING (id)
            ), moved AS (
                UPDATE jobs SET plan = given.plan, tier = given.tier, complexity = given.complexity,
                    final_steps = given.final_steps, estimate_s = given.estimate_s,
                    estimate_cached_s = given.estimate_cached_s, memory_bytes = given.memory_bytes,
                    share_s = given.share_s, draft_until = given.draft_until, adapters = given.adapters,
                    batch_key = given.batch_key,
                    start_by = placed.start_by, plain_order_at = CASE WHEN jobs.deadline_at IS NOT NULL THEN placed.plain END,
                    order_at = LEAST(placed.plain, placed.start_by - make_interval(secs => given.lead_s))
                FROM placed JOIN given USING (id)
                WHERE jobs.id = placed.id
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
            &c.ids,
            &c.documents,
            &c.tiers as _,
            &c.complexities as _,
            &c.steps,
            &c.estimates,
            &c.cached,
            &c.memory,
            &c.delays,
            &c.shares,
            epoch.0,
            &c.drafts as _,
            &c.adapters as _,
            &c.leads,
            &c.batch_keys as _
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(saved.into_iter().map(JobId).collect())
    }
}

/// The columns of a batch of plans, each an array of the same length, as UNNEST takes them.
struct Columns<'a> {
    ids: Vec<Uuid>,
    documents: Vec<Value>,
    tiers: Vec<&'static str>,
    complexities: Vec<&'static str>,
    steps: Vec<i32>,
    estimates: Vec<f64>,
    cached: Vec<f64>,
    memory: Vec<i64>,
    delays: Vec<f64>,
    leads: Vec<f64>,
    shares: Vec<f64>,
    drafts: Vec<Option<i32>>,
    adapters: Vec<&'a str>,
    batch_keys: Vec<Option<&'a str>>,
}

impl<'a> Columns<'a> {
    fn of(plans: &'a [PlannedJob]) -> Result<Self> {
        let until = |planned: &PlannedJob| planned.plan.draft_steps.map(|step| int("draft_steps", step)).transpose();
        Ok(Self {
            ids: plans.iter().map(|planned| planned.job_id.0).collect(),
            documents: plans.iter().map(|planned| to_json("plan", &planned.plan)).collect::<Result<_>>()?,
            tiers: plans.iter().map(|planned| planned.plan.tier.as_str()).collect(),
            complexities: plans.iter().map(|planned| planned.plan.complexity.as_str()).collect(),
            steps: plans.iter().map(|planned| int("steps", planned.plan.steps)).collect::<Result<_>>()?,
            estimates: plans.iter().map(|planned| planned.plan.estimate_s).collect(),
            cached: plans.iter().map(|planned| planned.plan.estimate_cached_s).collect(),
            memory: plans.iter().map(|one| bigint("memory_bytes", one.plan.memory_bytes)).collect::<Result<_>>()?,
            delays: plans.iter().map(|planned| planned.order_delay_s).collect(),
            leads: plans.iter().map(|planned| planned.deadline_lead_s).collect(),
            shares: plans.iter().map(|planned| planned.share_s).collect(),
            drafts: plans.iter().map(until).collect::<Result<_>>()?,
            adapters: plans.iter().map(|planned| planned.adapters.as_str()).collect(),
            batch_keys: plans.iter().map(|planned| planned.batch_key.as_ref().map(BatchKey::as_str)).collect(),
        })
    }
}
