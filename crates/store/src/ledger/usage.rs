//! Sums of the ledger, grouped as the caller wants.

use chrono::NaiveDate;

use crate::connect::Store;
use crate::error::Result;
use crate::jobs::Scope;

/// By what usage is grouped. Without any, there is one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupBy {
    /// By day (UTC).
    pub day: bool,
    /// By calendar month; no effect with `day`.
    pub month: bool,
    /// By tenant.
    pub tenant: bool,
    /// By API key.
    pub key: bool,
    /// By model.
    pub model: bool,
    /// By tier.
    pub tier: bool,
}

/// Which part of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageFilter {
    /// Whose.
    pub scope: Scope,
    /// First day (UTC).
    pub from: NaiveDate,
    /// Last day, included.
    pub to: NaiveDate,
    /// Most rows.
    pub limit: u32,
}

/// Seconds that optimisations saved, and their price.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SavedBy {
    /// Fewer steps than the model's default, seconds.
    pub steps_s: f64,
    /// US dollars.
    pub steps_usd: f64,
    /// Skipped steps, seconds.
    pub step_cache_s: f64,
    /// US dollars.
    pub step_cache_usd: f64,
    /// Prompts that were not encoded again, seconds.
    pub embeddings_s: f64,
    /// US dollars.
    pub embeddings_usd: f64,
    /// Steps of drafts that nobody continued, seconds.
    pub drafts_s: f64,
    /// US dollars.
    pub drafts_usd: f64,
}

/// Usage of one group. The fields by which it is not grouped are `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct UsageRow {
    /// `2026-11-28`, or `2026-11` by month.
    pub period: Option<String>,
    /// Name of the tenant.
    pub tenant: Option<String>,
    /// Id of the key; the zero UUID for jobs without one.
    pub key_id: Option<uuid::Uuid>,
    /// Label of the key.
    pub key_label: Option<String>,
    /// Id of the model.
    pub model: Option<String>,
    /// The tier.
    pub tier: Option<String>,
    /// Runs that ended.
    pub runs: i64,
    /// Videos made.
    pub videos: i64,
    /// GPU seconds of all runs.
    pub gpu_seconds: f64,
    /// Their price, US dollars.
    pub cost_usd: f64,
    /// Of the runs, those after a fault of the same job.
    pub repeated_runs: i64,
    /// Their GPU seconds.
    pub repeated_gpu_seconds: f64,
    /// Their price, US dollars.
    pub repeated_cost_usd: f64,
    /// Steps that were computed again.
    pub lost_steps: i64,
    /// What optimisations saved.
    pub saved: SavedBy,
}

/// Time of workers in one group.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerUsage {
    /// `2026-11-28`, or `2026-11` by month; `None` if it is not grouped by time.
    pub period: Option<String>,
    /// Name of the worker; `None` if it is not grouped by worker.
    pub worker: Option<String>,
    /// Id of the model; `None` if it is not grouped by model.
    pub model: Option<String>,
    /// Seconds online.
    pub online_s: f64,
    /// Their price, US dollars.
    pub online_usd: f64,
    /// Runs that ended.
    pub runs: i64,
    /// Videos made.
    pub videos: i64,
    /// GPU seconds of the runs.
    pub busy_s: f64,
    /// Their price, US dollars.
    pub busy_usd: f64,
    /// Of the runs, those after a fault of the same job.
    pub repeated_runs: i64,
    /// Their GPU seconds.
    pub repeated_gpu_seconds: f64,
    /// Their price, US dollars.
    pub repeated_cost_usd: f64,
    /// Steps that were computed again.
    pub lost_steps: i64,
}

/// All of the ledger in a few numbers, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LedgerTotals {
    /// GPU seconds of runs that were not repetitions.
    pub first_gpu_seconds: f64,
    /// GPU seconds of runs after a fault of the same job.
    pub repeated_gpu_seconds: f64,
    /// Price of all runs, US dollars.
    pub cost_usd: f64,
    /// What optimisations saved.
    pub saved: SavedBy,
    /// Seconds that workers were online.
    pub online_s: f64,
    /// Seconds that workers ran jobs.
    pub busy_s: f64,
    /// Price of the seconds online, US dollars.
    pub online_usd: f64,
    /// Price of the seconds with jobs, US dollars.
    pub busy_usd: f64,
}

struct SumsRow {
    period: Option<String>,
    tenant: Option<String>,
    key_id: Option<uuid::Uuid>,
    key_label: Option<String>,
    model: Option<String>,
    tier: Option<String>,
    runs: i64,
    videos: i64,
    gpu_seconds: f64,
    cost_usd: f64,
    repeated_runs: i64,
    repeated_gpu_seconds: f64,
    repeated_cost_usd: f64,
    lost_steps: i64,
    steps_s: f64,
    steps_usd: f64,
    step_cache_s: f64,
    step_cache_usd: f64,
    embeddings_s: f64,
    embeddings_usd: f64,
    drafts_s: f64,
    drafts_usd: f64,
}

impl From<SumsRow> for UsageRow {
    fn from(row: SumsRow) -> Self {
        Self {
            period: row.period,
            tenant: row.tenant,
            key_id: row.key_id,
            key_label: row.key_label,
            model: row.model,
            tier: row.tier,
            runs: row.runs,
            videos: row.videos,
            gpu_seconds: row.gpu_seconds,
            cost_usd: row.cost_usd,
            repeated_runs: row.repeated_runs,
            repeated_gpu_seconds: row.repeated_gpu_seconds,
            repeated_cost_usd: row.repeated_cost_usd,
            lost_steps: row.lost_steps,
            saved: SavedBy {
                steps_s: row.steps_s,
                steps_usd: row.steps_usd,
                step_cache_s: row.step_cache_s,
                step_cache_usd: row.step_cache_usd,
                embeddings_s: row.embeddings_s,
                embeddings_usd: row.embeddings_usd,
                drafts_s: row.drafts_s,
                drafts_usd: row.drafts_usd,
            },
        }
    }
}

impl Store {
    /// Usage in a range of days, one row per group, in the order of the groups; at most `filter.limit`.
    ///
    /// # Errors
    /// The database's error.
    pub async fn usage(&self, filter: UsageFilter, by: GroupBy) -> Result<Vec<UsageRow>> {
        let rows = sqlx::query_as!(
            SumsRow,
            r#"-- usage
            WITH sums AS (
                -- Days become text only once they are added up.
                SELECT CASE WHEN $4 THEN day WHEN $5 THEN date_trunc('month', day)::date END AS day,
                    CASE WHEN $6 THEN tenant_id END AS tenant_id, CASE WHEN $7 THEN key_id END AS key_id,
                    CASE WHEN $8 THEN model_id END AS model, CASE WHEN $9 THEN usage_daily.tier END AS tier,
                    sum(runs)::bigint AS runs, sum(videos)::bigint AS videos, sum(gpu_seconds) AS gpu_seconds,
                    sum(cost_usd) AS cost_usd, sum(repeated_runs)::bigint AS repeated_runs,
                    sum(repeated_gpu_seconds) AS repeated_gpu_seconds, sum(repeated_cost_usd) AS repeated_cost_usd,
                    sum(lost_steps)::bigint AS lost_steps,
                    sum(saved_steps_s) AS steps_s, sum(saved_steps_usd) AS steps_usd,
                    sum(saved_step_cache_s) AS step_cache_s, sum(saved_step_cache_usd) AS step_cache_usd,
                    sum(saved_embeddings_s) AS embeddings_s, sum(saved_embeddings_usd) AS embeddings_usd,
                    sum(saved_drafts_s) AS drafts_s, sum(saved_drafts_usd) AS drafts_usd
                FROM (
                    -- One branch per index: a tenant's days, or those of all.
                    SELECT * FROM usage_daily WHERE tenant_id = $3 AND day BETWEEN $1 AND $2
                    UNION ALL
                    SELECT * FROM usage_daily WHERE $3::uuid IS NULL AND day BETWEEN $1 AND $2
                ) AS usage_daily
                GROUP BY 1, 2, 3, 4, 5
            )
            SELECT CASE WHEN $4 THEN to_char(day, 'YYYY-MM-DD') WHEN $5 THEN to_char(day, 'YYYY-MM') END AS period,
                tenants.name AS "tenant?", key_id, api_keys.label AS "key_label?", model, sums.tier,
                runs AS "runs!", videos AS "videos!", gpu_seconds AS "gpu_seconds!", cost_usd AS "cost_usd!",
                repeated_runs AS "repeated_runs!", repeated_gpu_seconds AS "repeated_gpu_seconds!",
                repeated_cost_usd AS "repeated_cost_usd!", lost_steps AS "lost_steps!",
                steps_s AS "steps_s!", steps_usd AS "steps_usd!", step_cache_s AS "step_cache_s!",
                step_cache_usd AS "step_cache_usd!", embeddings_s AS "embeddings_s!", embeddings_usd AS "embeddings_usd!",
                drafts_s AS "drafts_s!", drafts_usd AS "drafts_usd!"
            FROM sums LEFT JOIN tenants ON tenants.id = sums.tenant_id LEFT JOIN api_keys ON api_keys.id = sums.key_id
            ORDER BY day, tenants.name, api_keys.label, key_id, model, sums.tier LIMIT $10"#,
            filter.from,
            filter.to,
            filter.scope.tenant(),
            by.day,
            by.month,
            by.tenant,
            by.key,
            by.model,
            by.tier,
            i64::from(filter.limit)
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(UsageRow::from).collect())
    }

    /// Time online and at work in a range of days, one row per group. Workers serve all tenants, so this is for admins.
    ///
    /// # Errors
    /// The database's error.
    pub async fn worker_usage(&self, filter: UsageFilter, by: GroupBy, by_worker: bool) -> Result<Vec<WorkerUsage>> {
        match (by_worker, by.day) {
            (true, true) => self.usage_of_workers_by_day(filter, by).await,
            (true, false) => self.usage_of_workers(filter, by).await,
            (false, _) => self.usage_of_fleet(filter, by).await,
        }
    }

    /// One row per day and worker, and per model if asked for. Grouped as the primary key is sorted, also in a generic plan, so that a
    /// page reads its own rows only.
    async fn usage_of_workers_by_day(&self, filter: UsageFilter, by: GroupBy) -> Result<Vec<WorkerUsage>> {
        let rows = sqlx::query_as!(
            WorkerUsage,
            r#"-- worker_usage_by_day
            WITH sums AS (
                SELECT day, worker, CASE WHEN $3 THEN model_id END AS model,
                    sum(online_s) AS online_s, sum(online_usd) AS online_usd, sum(runs)::bigint AS runs,
                    sum(videos)::bigint AS videos, sum(busy_s) AS busy_s, sum(busy_usd) AS busy_usd,
                    sum(repeated_runs)::bigint AS repeated_runs, sum(repeated_gpu_seconds) AS repeated_gpu_seconds,
                    sum(repeated_cost_usd) AS repeated_cost_usd, sum(lost_steps)::bigint AS lost_steps
                FROM worker_daily WHERE worker_daily.day BETWEEN $1 AND $2
                GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 LIMIT $4
            )
            SELECT to_char(day, 'YYYY-MM-DD') AS period,
                COALESCE(worker, '') AS worker, model, online_s AS "online_s!", online_usd AS "online_usd!", runs AS "runs!",
                videos AS "videos!", busy_s AS "busy_s!", busy_usd AS "busy_usd!", repeated_runs AS "repeated_runs!",
                repeated_gpu_seconds AS "repeated_gpu_seconds!", repeated_cost_usd AS "repeated_cost_usd!",
                lost_steps AS "lost_steps!"
            FROM sums ORDER BY sums.day, sums.worker, model"#,
            filter.from,
            filter.to,
            by.model,
            i64::from(filter.limit)
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows)
    }

    /// One row per worker, and per month and model if asked for. It adds up every day of the range.
    async fn usage_of_workers(&self, filter: UsageFilter, by: GroupBy) -> Result<Vec<WorkerUsage>> {
        let rows = sqlx::query_as!(
            WorkerUsage,
            r#"-- worker_usage
            WITH sums AS (
                -- Months become text only once they are added up.
                SELECT CASE WHEN $3 THEN date_trunc('month', day)::date END AS month, worker,
                    CASE WHEN $4 THEN model_id END AS model,
                    sum(online_s) AS online_s, sum(online_usd) AS online_usd, sum(runs)::bigint AS runs,
                    sum(videos)::bigint AS videos, sum(busy_s) AS busy_s, sum(busy_usd) AS busy_usd,
                    sum(repeated_runs)::bigint AS repeated_runs, sum(repeated_gpu_seconds) AS repeated_gpu_seconds,
                    sum(repeated_cost_usd) AS repeated_cost_usd, sum(lost_steps)::bigint AS lost_steps
                FROM worker_daily WHERE worker_daily.day BETWEEN $1 AND $2
                GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 LIMIT $5
            )
            SELECT to_char(month, 'YYYY-MM') AS period,
                COALESCE(worker, '') AS worker, model, online_s AS "online_s!", online_usd AS "online_usd!", runs AS "runs!",
                videos AS "videos!", busy_s AS "busy_s!", busy_usd AS "busy_usd!", repeated_runs AS "repeated_runs!",
                repeated_gpu_seconds AS "repeated_gpu_seconds!", repeated_cost_usd AS "repeated_cost_usd!",
                lost_steps AS "lost_steps!"
            FROM sums ORDER BY month, sums.worker, model"#,
            filter.from,
            filter.to,
            by.month,
            by.model,
            i64::from(filter.limit)
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows)
    }

    /// All workers together.
    async fn usage_of_fleet(&self, filter: UsageFilter, by: GroupBy) -> Result<Vec<WorkerUsage>> {
        let rows = sqlx::query_as!(
            WorkerUsage,
            r#"-- fleet_usage
            SELECT CASE WHEN $3 THEN to_char(day, 'YYYY-MM-DD') WHEN $4 THEN to_char(day, 'YYYY-MM') END AS period,
                NULL::text AS worker, CASE WHEN $5 THEN model_id END AS model,
                sum(online_s) AS "online_s!", sum(online_usd) AS "online_usd!", sum(runs)::bigint AS "runs!",
                sum(videos)::bigint AS "videos!", sum(busy_s) AS "busy_s!", sum(busy_usd) AS "busy_usd!",
                sum(repeated_runs)::bigint AS "repeated_runs!", sum(repeated_gpu_seconds) AS "repeated_gpu_seconds!",
                sum(repeated_cost_usd) AS "repeated_cost_usd!", sum(lost_steps)::bigint AS "lost_steps!"
            FROM fleet_daily WHERE day BETWEEN $1 AND $2
            GROUP BY 1, 3 ORDER BY 1, 3 LIMIT $6"#,
            filter.from,
            filter.to,
            by.day,
            by.month,
            by.model,
            i64::from(filter.limit)
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows)
    }

    /// Sums of the whole ledger since it began.
    ///
    /// # Errors
    /// The database's error.
    pub async fn ledger_totals(&self) -> Result<LedgerTotals> {
        let row = sqlx::query!(
            r#"-- ledger_totals
            SELECT COALESCE(sum(gpu_seconds - repeated_gpu_seconds), 0) AS "first_s!",
                COALESCE(sum(repeated_gpu_seconds), 0) AS "repeated_s!", COALESCE(sum(cost_usd), 0) AS "cost_usd!",
                COALESCE(sum(saved_steps_s), 0) AS "steps_s!", COALESCE(sum(saved_steps_usd), 0) AS "steps_usd!",
                COALESCE(sum(saved_step_cache_s), 0) AS "step_cache_s!",
                COALESCE(sum(saved_step_cache_usd), 0) AS "step_cache_usd!",
                COALESCE(sum(saved_embeddings_s), 0) AS "embeddings_s!",
                COALESCE(sum(saved_embeddings_usd), 0) AS "embeddings_usd!",
                COALESCE(sum(saved_drafts_s), 0) AS "drafts_s!", COALESCE(sum(saved_drafts_usd), 0) AS "drafts_usd!",
                (SELECT COALESCE(sum(online_s), 0) FROM worker_daily WHERE day = '-infinity') AS "online_s!",
                (SELECT COALESCE(sum(busy_s), 0) FROM worker_daily WHERE day = '-infinity') AS "busy_s!",
                (SELECT COALESCE(sum(online_usd), 0) FROM worker_daily WHERE day = '-infinity') AS "online_usd!",
                (SELECT COALESCE(sum(busy_usd), 0) FROM worker_daily WHERE day = '-infinity') AS "busy_usd!"
            FROM usage_daily WHERE day = '-infinity'"#
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(LedgerTotals {
            first_gpu_seconds: row.first_s,
            repeated_gpu_seconds: row.repeated_s,
            cost_usd: row.cost_usd,
            saved: SavedBy {
                steps_s: row.steps_s,
                steps_usd: row.steps_usd,
                step_cache_s: row.step_cache_s,
                step_cache_usd: row.step_cache_usd,
                embeddings_s: row.embeddings_s,
                embeddings_usd: row.embeddings_usd,
                drafts_s: row.drafts_s,
                drafts_usd: row.drafts_usd,
            },
            online_s: row.online_s,
            busy_s: row.busy_s,
            online_usd: row.online_usd,
            busy_usd: row.busy_usd,
        })
    }
}
