//! Lists of workers and of what they are running, a page at a time: a fleet may have ten thousand.

use domain::worker::WorkerInfo;
use domain::{JobId, PoolId, Progress, TenantId, WorkerId, WorkerIdentity};
use uuid::Uuid;

use crate::connect::Store;
use crate::error::{Result, StoreError};
use crate::jobs::Scope;
use crate::readable::readable;
use crate::row::{count, word};
use crate::workers::WorkerStatus;

/// Where a page of the list of workers begins: after this worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerPosition {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: WorkerId,
}

/// Numbers of the whole list of workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerCounts {
    /// Workers that are not gone.
    pub workers: u64,
    /// Jobs that they are running.
    pub running: u64,
}

impl Store {
    /// Up to `limit` workers that are not gone, ordered by name, beginning after the position `after`.
    ///
    /// # Errors
    /// The database's error.
    pub async fn workers(&self, after: Option<&WorkerPosition>, limit: u32) -> Result<Vec<WorkerStatus>> {
        let rows = sqlx::query!(
            r#"-- list_workers
            SELECT page.id AS "id!", name AS "name!", pool AS "pool!", model_id AS "model_id!",
                model_fingerprint AS "model_fingerprint!", device AS "device!", device_class AS "device_class!",
                build AS "build!", threads AS "threads!", memory_bytes AS "memory_bytes!", slots AS "slots!", attention,
                state AS "state!", registered_at AS "registered_at!", adapters AS "adapters!", adapters_cached AS "adapters_cached!",
                gpu_hour_usd, formats, batch_max AS "batch_max!", batch_tokens AS "batch_tokens!", devices AS "devices!",
                extract(epoch FROM clock_timestamp() - last_seen_at)::float8 AS "silent_s!",
                -- A look-up per worker of the page.
                ARRAY(SELECT jobs.id FROM jobs WHERE worker_id = page.id AND status = 'running' ORDER BY jobs.id) AS "job_ids!"
            FROM (
                SELECT * FROM workers
                WHERE state <> 'gone' AND (name, id) > ($1, $2)
                ORDER BY name, id LIMIT $3
            ) AS page
            ORDER BY name, page.id"#,
            after.map_or("", |position| position.name.as_str()),
            after.map_or(Uuid::nil(), |position| position.id.0),
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await?;
        readable(rows.into_iter().map(|row| {
            let wrong = |column, reason: String| StoreError::unreadable("workers", column, row.id, reason);
            let number = |column, value: i32| u32::try_from(value).map_err(|error| wrong(column, error.to_string()));
            let info = WorkerInfo {
                id: WorkerId(row.id),
                name: row.name,
                pool: PoolId::from_stored(row.pool),
                model_id: row.model_id,
                model_fingerprint: row.model_fingerprint,
                device: row.device,
                device_class: row.device_class,
                build: row.build,
                threads: number("threads", row.threads)?,
                attention: row.attention,
                memory_bytes: u64::try_from(row.memory_bytes).unwrap_or_default(),
                slots: number("slots", row.slots)?,
                formats: row.formats.unwrap_or_default(),
                gpu_hour_usd: row.gpu_hour_usd.unwrap_or_default(),
                batch_max: number("batch_max", row.batch_max)?,
                batch_tokens: u64::try_from(row.batch_tokens).unwrap_or_default(),
                devices: number("devices", row.devices)?,
            };
            Ok(WorkerStatus {
                info,
                state: row.state.parse().map_err(|reason| wrong("state", reason))?,
                silent_s: row.silent_s.max(0.0),
                registered_at: row.registered_at,
                job_ids: row.job_ids.into_iter().map(JobId).collect(),
                adapters: row.adapters,
                adapters_cached: row.adapters_cached,
            })
        }))
    }

    /// What the bytes of videos depend on, for all workers of a model that are not gone: one entry for those that are alike.
    ///
    /// # Errors
    /// The database's error.
    pub async fn identities_online(&self, model_id: &str) -> Result<Vec<WorkerIdentity>> {
        let rows = sqlx::query!(
            r#"-- identities_online
            SELECT DISTINCT model_fingerprint, build, device_class, threads, COALESCE(formats, '') AS "formats!", attention
            FROM workers WHERE model_id = $1 AND state <> 'gone'"#,
            model_id
        )
        .fetch_all(&self.pool)
        .await?;
        let identities = rows.into_iter().map(|row| WorkerIdentity {
            model: row.model_fingerprint,
            build: row.build,
            device_class: row.device_class,
            threads: u32::try_from(row.threads).unwrap_or_default(),
            formats: row.formats,
            attention: row.attention,
        });
        Ok(identities.collect())
    }

    /// How many workers are not gone, and how many jobs in scope they are running.
    ///
    /// # Errors
    /// The database's error.
    pub async fn count_workers(&self, scope: Scope) -> Result<WorkerCounts> {
        let row = sqlx::query!(
            r#"-- count_workers
            SELECT (SELECT count(*) FROM workers WHERE state <> 'gone') AS "workers!",
                CASE WHEN $1::uuid IS NULL THEN (SELECT count(*) FROM jobs WHERE status = 'running' AND worker_id IS NOT NULL)
                    ELSE (SELECT count(*) FROM jobs WHERE tenant_id = $1 AND status = 'running' AND deleted_at IS NULL)
                END AS "running!""#,
            scope.tenant()
        )
        .fetch_one(&self.pool)
        .await?;
        let number = |value: i64| u64::try_from(value).unwrap_or_default();
        Ok(WorkerCounts { workers: number(row.workers), running: number(row.running) })
    }

    /// Progress of running jobs that changed within the last `within_s` seconds, the latest first, at most `limit`.
    ///
    /// # Errors
    /// The database's error.
    pub async fn recent_progress(&self, within_s: f64, limit: u32) -> Result<Vec<Progress>> {
        let rows = sqlx::query!(
            r#"-- recent_progress
            SELECT id, tenant_id, stage AS "stage!", step, COALESCE(final_steps, 0) AS "steps!", steps_skipped
            FROM jobs
            WHERE status = 'running' AND worker_id IS NOT NULL AND stage IS NOT NULL
                AND progressed_at > statement_timestamp() - make_interval(secs => $1)
            ORDER BY progressed_at DESC LIMIT $2"#,
            within_s,
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await?;
        readable(rows.into_iter().map(|row| {
            Ok(Progress {
                job_id: JobId(row.id),
                tenant_id: TenantId(row.tenant_id),
                stage: word(row.id, "stage", &row.stage)?,
                step: count(row.id, "step", row.step)?,
                steps: count(row.id, "final_steps", row.steps)?,
                skipped: count(row.id, "steps_skipped", row.steps_skipped)?,
                remaining_s: None,
            })
        }))
    }
}
