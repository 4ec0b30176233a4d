//! Submissions: many rows in one statement, committed before any client gets a response.
//!
//! Rows are sorted by key before they reach the unique index, so that two batches wait for each other in one order and
//! cannot deadlock. Conflicting rows are skipped (`DO NOTHING`) and looked up afterwards in a second statement, because the
//! first statement's snapshot cannot see what another transaction has just committed.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::{Job, JobId, JobStatus, Origin, VideoRequest};
use sqlx::types::Json;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::connect::Store;
use crate::error::{Result, StoreError};
use crate::jobs::load::rows_by_id;
use crate::jobs::{BatchOutcome, InsertOutcome, NewJob};
use crate::retry::on_conflict;
use crate::row::int;

impl Store {
    /// Inserts a micro-batch of unrelated submissions in one transaction; returns a result for each, in order. When
    /// Postgres refuses the batch because of one row, the rows are inserted one by one, so that only that row fails.
    ///
    /// Repeating the call with the same jobs is harmless: existing jobs are returned as replayed.
    ///
    /// # Errors
    /// The outer error when nothing is known about any row: the database is unavailable or too busy.
    pub async fn insert_batch(&self, jobs: &[NewJob]) -> Result<Vec<Result<InsertOutcome>>> {
        match on_conflict(|| self.insert_in_one(jobs)).await {
            Ok(outcomes) => Ok(outcomes.into_iter().map(Ok).collect()),
            Err(StoreError::Refused(_) | StoreError::ImageReference(_) | StoreError::Unstorable { .. })
                if jobs.len() > 1 =>
            {
                tracing::warn!(rows = jobs.len(), "a batch was refused; inserting its rows one by one");
                let mut outcomes = Vec::with_capacity(jobs.len());
                for job in jobs {
                    outcomes.push(self.insert(job).await);
                }
                Ok(outcomes)
            }
            Err(error) => Err(error),
        }
    }

    /// Inserts one submission.
    ///
    /// # Errors
    /// The database's error.
    pub async fn insert(&self, job: &NewJob) -> Result<InsertOutcome> {
        Ok(on_conflict(|| self.insert_in_one(std::slice::from_ref(job))).await?.swap_remove(0))
    }

    /// Inserts a user's batch, either all of it or nothing.
    ///
    /// # Errors
    /// The database's error. Then nothing was inserted or, if only the response was lost, everything: repeat the call with
    /// the same jobs.
    pub async fn insert_all_or_nothing(&self, jobs: &[NewJob]) -> Result<BatchOutcome> {
        on_conflict(|| async {
            let mut connection = self.pool.acquire().await?;
            let outcome = self.pool.in_time(insert_whole(&mut connection, jobs)).await;
            connection.settle(outcome).await
        })
        .await
    }

    /// One try of a micro-batch. The insert is a transaction by itself, so it commits in one round trip.
    async fn insert_in_one(&self, jobs: &[NewJob]) -> Result<Vec<InsertOutcome>> {
        let mut connection = self.pool.acquire().await?;
        let outcome = self.pool.in_time(insert_and_look_up(&mut connection, jobs)).await;
        connection.settle(outcome).await
    }
}

async fn insert_whole(connection: &mut PgConnection, jobs: &[NewJob]) -> Result<BatchOutcome> {
    let mut transaction = connection.begin().await?;
    let outcomes = insert_and_look_up(&mut transaction, jobs).await?;
    let is_reused = |outcome: &InsertOutcome| matches!(outcome, InsertOutcome::KeyReused);
    let reused: Vec<usize> = (0..outcomes.len()).filter(|at| is_reused(&outcomes[*at])).collect();
    if reused.is_empty() {
        transaction.commit().await?;
        return Ok(BatchOutcome::Committed(outcomes));
    }
    transaction.rollback().await?;
    Ok(BatchOutcome::KeysReused(reused))
}

async fn insert_and_look_up(connection: &mut PgConnection, jobs: &[NewJob]) -> Result<Vec<InsertOutcome>> {
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let created = insert_rows(connection, jobs).await?;
    if created.len() == jobs.len() {
        return Ok(jobs.iter().map(|job| InsertOutcome::Created(Box::new(as_job(job, created[&job.id.0])))).collect());
    }
    let earlier = find_earlier(connection, jobs, &created).await?;
    let ids: Vec<Uuid> = earlier.values().copied().collect();
    let rows = rows_by_id(connection, None, &ids).await?;
    jobs.iter()
        .map(|job| {
            if let Some(at) = created.get(&job.id.0) {
                return Ok(InsertOutcome::Created(Box::new(as_job(job, *at))));
            }
            match earlier.get(&job.id.0).and_then(|id| rows.get(id)) {
                Some(row) if row.payload_hash == job.payload_hash => {
                    Ok(InsertOutcome::Replayed(Box::new(row.clone().into_job()?)))
                }
                Some(_) => Ok(InsertOutcome::KeyReused),
                // Purged between the two statements: the next try inserts it.
                None => Err(StoreError::Conflict(sqlx::Error::RowNotFound)),
            }
        })
        .collect()
}

/// The columns of a batch, each an array of the same length, as UNNEST takes them. Values that SQL filters or sorts by are
/// extracted from the request document.
#[derive(Default)]
struct Columns<'a> {
    id: Vec<Uuid>,
    tenant_id: Vec<Uuid>,
    request: Vec<Json<&'a VideoRequest>>,
    seed_drawn: Vec<bool>,
    width: Vec<i32>,
    height: Vec<i32>,
    frames: Vec<i32>,
    fps: Vec<f64>,
    group_id: Vec<Option<Uuid>>,
    idempotency_key: Vec<Option<&'a str>>,
    payload_hash: Vec<&'a [u8]>,
    traceparent: Vec<Option<&'a str>>,
    origin: Vec<Option<Json<&'a Origin>>>,
    retry_no: Vec<Option<i16>>,
    key_id: Vec<Option<Uuid>>,
    quota_s: Vec<Option<f64>>,
}

impl<'a> Columns<'a> {
    fn of(jobs: &'a [NewJob]) -> Result<Self> {
        let mut columns = Self::default();
        for job in jobs {
            columns.push(job)?;
        }
        Ok(columns)
    }

    fn push(&mut self, job: &'a NewJob) -> Result<()> {
        if job.request.seed.is_none() || job.request.model.is_none() {
            let reason = "seed and model must be set".to_owned();
            return Err(StoreError::Unstorable { what: "request", reason });
        }
        self.id.push(job.id.0);
        self.tenant_id.push(job.tenant_id.0);
        self.request.push(Json(&job.request));
        self.seed_drawn.push(job.seed_drawn);
        self.width.push(int("width", job.shape.width)?);
        self.height.push(int("height", job.shape.height)?);
        self.frames.push(int("frames", job.shape.frames)?);
        self.fps.push(job.shape.fps);
        self.group_id.push(job.group_id.map(|group| group.0));
        self.idempotency_key.push(job.idempotency_key.as_deref());
        self.payload_hash.push(&job.payload_hash);
        self.traceparent.push(job.traceparent.as_deref());
        self.origin.push(job.origin.as_ref().map(Json));
        self.retry_no.push(job.retry_no);
        self.key_id.push(job.key_id.map(|key| key.0));
        self.quota_s.push(job.quota_s);
        Ok(())
    }
}

/// Inserts the rows without a conflict; returns their ids and creation times.
async fn insert_rows(connection: &mut PgConnection, jobs: &[NewJob]) -> Result<HashMap<Uuid, DateTime<Utc>>> {
    let c = Columns::of(jobs)?;
    let rows = sqlx::query!(
        r#"-- insert_jobs
        WITH placed AS (
            -- 1. One row per submission. Existing keys and ids are skipped; see the top of this file.
            INSERT INTO jobs (
                id, tenant_id, request, seed_drawn, width, height, frames, fps, idempotency_key, payload_hash, traceparent,
                group_id, origin, retry_no, key_id, quota_s, prompt, model_id, deadline_at, webhook, webhook_events, image_id,
                video_size, aspect_ratio, video_length, infer_steps, quality_tier, seed, cfg_scale, flow_reverse,
                negative_prompt, true_cfg_scale, step_cache, similar_prompts, deadline_s)
            SELECT id, tenant_id, request, seed_drawn, width, height, frames, fps, idempotency_key, payload_hash, traceparent,
                group_id, origin, retry_no, key_id, quota_s, prompt, model,
                clock_timestamp() + make_interval(secs => deadline_s),
                webhook, regexp_split_to_array(webhook_events, '\s*,\s*'), (image ->> 'id')::uuid,
                -- Superseded columns, for releases that read them. A new field has none. Theirs holds no seed beyond 2^63 - 1.
                video_size, aspect_ratio, video_length, infer_steps, quality_tier, LEAST(seed, 9223372036854775807)::bigint, cfg_scale, flow_reverse,
                negative_prompt, true_cfg_scale, step_cache, similar_prompts, deadline_s
            FROM UNNEST(
                $1::uuid[], $2::uuid[], $3::jsonb[], $4::bool[], $5::int[], $6::int[], $7::int[], $8::float8[], $9::text[],
                $10::bytea[], $11::text[], $12::uuid[], $13::jsonb[], $14::smallint[], $15::uuid[], $16::float8[])
                AS given (id, tenant_id, request, seed_drawn, width, height, frames, fps, idempotency_key, payload_hash,
                    traceparent, group_id, origin, retry_no, key_id, quota_s),
            jsonb_to_record(request) AS fields (prompt text, model text, deadline_s int, video_size text, aspect_ratio text,
                video_length int, infer_steps int, quality_tier text, seed numeric, cfg_scale float8, flow_reverse bool,
                negative_prompt text, true_cfg_scale float8, step_cache text, similar_prompts bool,
                webhook text, webhook_events text, image jsonb)
            ORDER BY tenant_id, idempotency_key, id
            ON CONFLICT DO NOTHING
            RETURNING id, tenant_id, model_id, created_at
        ), told AS (
            -- 2. The events of the new rows.
            INSERT INTO job_events (job_id, tenant_id, kind) SELECT id, tenant_id, 'queued' FROM placed
        ), counted AS (
            -- 3. The hourly and the all-time statistics, in a fixed order, so that two batches cannot deadlock.
            INSERT INTO stats_hourly AS s (tenant_id, bucket, model_id, tier, complexity, shard, submitted)
            SELECT tenant_id, bucket, model_id, '', '', pg_backend_pid() % 8, count(*)
            FROM placed, (VALUES (date_trunc('hour', clock_timestamp(), 'UTC')), ('-infinity')) AS b (bucket)
            GROUP BY tenant_id, bucket, model_id
            ORDER BY tenant_id, bucket, model_id
            ON CONFLICT (tenant_id, bucket, model_id, tier, complexity, shard)
                DO UPDATE SET submitted = s.submitted + EXCLUDED.submitted
        )
        SELECT id AS "id!", created_at AS "created_at!" FROM placed"#,
        &c.id,
        &c.tenant_id,
        &c.request as _,
        &c.seed_drawn,
        &c.width,
        &c.height,
        &c.frames,
        &c.fps,
        &c.idempotency_key as _,
        &c.payload_hash as _,
        &c.traceparent as _,
        &c.group_id as _,
        &c.origin as _,
        &c.retry_no as _,
        &c.key_id as _,
        &c.quota_s as _,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.created_at)).collect())
}

/// For each row with a conflict, the existing job: with the same id (a repeated call) or the same key.
async fn find_earlier(
    connection: &mut PgConnection,
    jobs: &[NewJob],
    created: &HashMap<Uuid, DateTime<Utc>>,
) -> Result<HashMap<Uuid, Uuid>> {
    let skipped: Vec<&NewJob> = jobs.iter().filter(|job| !created.contains_key(&job.id.0)).collect();
    let ids: Vec<Uuid> = skipped.iter().map(|job| job.id.0).collect();
    let tenants: Vec<Uuid> = skipped.iter().map(|job| job.tenant_id.0).collect();
    let keys: Vec<Option<&str>> = skipped.iter().map(|job| job.idempotency_key.as_deref()).collect();
    let rows = sqlx::query!(
        r#"-- find_earlier_jobs
        SELECT given.id AS "given!", COALESCE(same.id, keyed.id) AS earlier
        FROM UNNEST($1::uuid[], $2::uuid[], $3::text[]) AS given (id, tenant_id, key)
        LEFT JOIN jobs AS same ON same.id = given.id
        LEFT JOIN jobs AS keyed ON keyed.tenant_id = given.tenant_id AND keyed.idempotency_key = given.key"#,
        &ids,
        &tenants,
        &keys as _
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().filter_map(|row| Some((row.given, row.earlier?))).collect())
}

/// The job as the table now holds it, for a row that was just inserted.
fn as_job(new: &NewJob, created_at: DateTime<Utc>) -> Job {
    Job {
        id: JobId(new.id.0),
        tenant_id: new.tenant_id,
        request: new.request.clone(),
        seed_drawn: new.seed_drawn,
        shape: new.shape,
        status: JobStatus::Queued,
        plan: None,
        not_before: None,
        queue_position: None,
        worker_id: None,
        attempts_total: 0,
        stage: None,
        step: 0,
        steps_skipped: 0,
        checkpoint: None,
        preview: None,
        draft_until: None,
        draft: None,
        group_id: new.group_id,
        choice: None,
        gpu_seconds: 0.0,
        cancel_requested: false,
        rendered: None,
        record: None,
        failure: None,
        traceparent: new.traceparent.clone(),
        origin: new.origin.clone(),
        replays: None,
        created_at,
        started_at: None,
        finished_at: None,
        deleted_at: None,
    }
}
