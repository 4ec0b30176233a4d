//! Replays: a finished job is rendered again with the same request and the same plan, on a worker like the first one.

use domain::{Job, JobId, KeyId, WorkerIdentity};

use crate::connect::Store;
use crate::error::Result;
use crate::jobs::Scope;
use crate::leader::Epoch;
use crate::retry::on_conflict;
use crate::transition::transition;

/// A replay to be submitted.
#[derive(Debug, Clone, PartialEq)]
pub struct NewReplay<'a> {
    /// Its id. Repeating a call with the same id submits nothing more.
    pub id: JobId,
    /// The job to be rendered again.
    pub of: JobId,
    /// The identity of the workers that may render it.
    pub worker: &'a WorkerIdentity,
    /// The API key that asks for it; `None` while keys are off.
    pub key_id: Option<KeyId>,
    /// The client's idempotency key.
    pub idempotency_key: Option<&'a str>,
    /// W3C traceparent of the request.
    pub traceparent: Option<&'a str>,
}

/// Result of submitting a replay.
#[derive(Debug, Clone, PartialEq)]
pub enum ReplayOutcome {
    /// The replay: a new job, or the one of an earlier call with the same key.
    Accepted(Box<Job>),
    /// The key belongs to another request.
    KeyReused,
    /// The original does not exist in this scope, is deleted, or has no video.
    NotCompleted,
}

impl Store {
    /// Submits a replay. It has the original's plan, so it is not planned again, and belongs to the original's owner.
    ///
    /// # Errors
    /// The database's error.
    pub async fn insert_replay(&self, scope: Scope, new: &NewReplay<'_>) -> Result<ReplayOutcome> {
        on_conflict(|| self.insert_replay_once(scope, new)).await?;
        if let Some(job) = self.get(scope, new.id).await? {
            return Ok(ReplayOutcome::Accepted(Box::new(job)));
        }
        let Some(original) = self.get(scope, new.of).await? else { return Ok(ReplayOutcome::NotCompleted) };
        if let Some(key) = new.idempotency_key
            && let Some(earlier) = self.get_by_key(original.tenant_id, key).await?
        {
            let same = earlier.replays == Some(new.of);
            return Ok(if same { ReplayOutcome::Accepted(Box::new(earlier)) } else { ReplayOutcome::KeyReused });
        }
        Ok(ReplayOutcome::NotCompleted)
    }

    async fn insert_replay_once(&self, scope: Scope, new: &NewReplay<'_>) -> Result<()> {
        sqlx::query!(
            r#"-- insert_replay
            WITH placed AS (
                -- 1. A copy of the request, the shape and the plan. Neither deadline nor webhook: nobody waits for it.
                INSERT INTO jobs (
                    id, tenant_id, key_id, quota_s,
                    request, seed_drawn, width, height, frames, fps, idempotency_key, payload_hash, traceparent, replays,
                    requires, prompt, model_id,
                    plan, tier, complexity, final_steps, estimate_s, estimate_cached_s, memory_bytes, share_s, order_at,
                    video_size, aspect_ratio, video_length, infer_steps, quality_tier, seed, cfg_scale, flow_reverse,
                    negative_prompt, true_cfg_scale, step_cache, similar_prompts)
                SELECT $1, tenant_id, $4, CASE WHEN $4::uuid IS NOT NULL THEN estimate_s END,
                    request, seed_drawn, width, height, frames, fps, $5, payload_hash, $6, id, $7, prompt, model_id,
                    plan, tier, complexity, final_steps, estimate_s, estimate_cached_s, memory_bytes, share_s,
                    clock_timestamp(),
                    video_size, aspect_ratio, video_length, infer_steps, quality_tier, seed, cfg_scale, flow_reverse,
                    negative_prompt, true_cfg_scale, step_cache, similar_prompts
                FROM jobs
                WHERE id = $2 AND ($3::uuid IS NULL OR tenant_id = $3) AND status = 'completed' AND deleted_at IS NULL
                    AND request IS NOT NULL
                ON CONFLICT DO NOTHING
                RETURNING id, tenant_id, model_id
            ), told AS (
                -- 2. Its event.
                INSERT INTO job_events (job_id, tenant_id, kind, detail)
                SELECT id, tenant_id, 'queued', jsonb_build_object('replays', $2::uuid) FROM placed
            )
            -- 3. The hourly and the all-time statistics.
            INSERT INTO stats_hourly AS s (tenant_id, bucket, model_id, tier, complexity, shard, submitted)
            SELECT tenant_id, bucket, model_id, '', '', pg_backend_pid() % 8, 1
            FROM placed, (VALUES (date_trunc('hour', clock_timestamp(), 'UTC')), ('-infinity')) AS b (bucket)
            ORDER BY bucket
            ON CONFLICT (tenant_id, bucket, model_id, tier, complexity, shard)
                DO UPDATE SET submitted = s.submitted + EXCLUDED.submitted"#,
            new.id.0,
            new.of.0,
            scope.tenant(),
            new.key_id.map(|key| key.0),
            new.idempotency_key,
            new.traceparent,
            new.worker.key()
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Cancels up to `limit` replays that have waited for `grace_s` seconds and that no worker with a heartbeat within that time
    /// may claim; returns them.
    ///
    /// # Errors
    /// [`crate::StoreError::NotLeader`] when the epoch does not lead.
    pub async fn cancel_unmatched_replays(&self, grace_s: f64, limit: u32, epoch: Epoch) -> Result<Vec<JobId>> {
        let moved = on_conflict(|| async {
            let moved = transition!(
                r#"-- cancel_unmatched_replays
                WITH led AS MATERIALIZED (
                    SELECT epoch FROM leader WHERE epoch = $3 AND expires_at > clock_timestamp() FOR SHARE
                ), held AS MATERIALIZED (
                    SELECT id FROM jobs
                    WHERE requires IS NOT NULL AND status IN ('queued', 'scheduled')
                        AND created_at <= clock_timestamp() - make_interval(secs => $1)
                        AND NOT EXISTS (
                            SELECT FROM workers AS w WHERE w.identity = jobs.requires AND w.state <> 'gone'
                                AND w.last_seen_at > clock_timestamp() - make_interval(secs => $1))
                        AND EXISTS (SELECT FROM led)
                    ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED
                ), moved AS (
                    UPDATE jobs SET status = 'cancelled', cancel_requested_at = clock_timestamp(),
                        finished_at = clock_timestamp()
                    FROM held WHERE jobs.id = held.id
                    RETURNING jobs.id, tenant_id, model_id, tier, complexity, status, 'cancelled' AS kind,
                        '{"no_matching_worker": true}'::jsonb AS detail, 'cancelled' AS counter, false AS lost,
                        NULL::text AS dropped
                )"#,
                grace_s,
                i64::from(limit),
                epoch.0
            )
            .fetch_all(&self.pool)
            .await?;
            Ok(moved)
        })
        .await?;
        if moved.is_empty() {
            self.ensure_leads(epoch).await?;
        }
        Ok(moved.into_iter().map(|row| JobId(row.id)).collect())
    }
}
