//! Usage by tenants, grouped as the caller wants.

use uuid::Uuid;

use super::parts::{Days, GroupBy, GroupRow, Groups, ROWS_MAX, UsageFilter, months};
use super::saved::{SavedBy, saved_by};
use crate::connect::Store;
use crate::error::Result;
use crate::jobs::Scope;

/// Tenants of the first part of a report: when each has a row per day, a month of them is about a part.
const FIRST_TENANTS: usize = 128;

/// Usage of one group. The fields by which it is not grouped are `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct UsageRow {
    /// `2026-11-28`, or `2026-11` by month.
    pub period: Option<String>,
    /// Name of the tenant.
    pub tenant: Option<String>,
    /// Id of the key; the zero UUID for jobs without one.
    pub key_id: Option<Uuid>,
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

/// A group of usage, sorted by its fields in their order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct UsageGroup {
    period: Option<String>,
    tenant: Option<String>,
    /// Keys without a label follow those with one.
    unlabelled: bool,
    key_label: Option<String>,
    key_id: Option<Uuid>,
    model: Option<String>,
    tier: Option<String>,
}

impl GroupRow for UsageRow {
    type Group = UsageGroup;

    fn group(&self) -> UsageGroup {
        UsageGroup {
            period: self.period.clone(),
            tenant: self.tenant.clone(),
            unlabelled: self.key_label.is_none(),
            key_label: self.key_label.clone(),
            key_id: self.key_id,
            model: self.model.clone(),
            tier: self.tier.clone(),
        }
    }

    fn add(&mut self, part: &Self) {
        self.runs += part.runs;
        self.videos += part.videos;
        self.gpu_seconds += part.gpu_seconds;
        self.cost_usd += part.cost_usd;
        self.repeated_runs += part.repeated_runs;
        self.repeated_gpu_seconds += part.repeated_gpu_seconds;
        self.repeated_cost_usd += part.repeated_cost_usd;
        self.lost_steps += part.lost_steps;
        self.saved.add(&part.saved);
    }
}

/// Sums of one group, and of how many rows.
struct SumsRow {
    rows_read: i64,
    period: Option<String>,
    tenant: Option<String>,
    key_id: Option<Uuid>,
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
            saved: saved_by!(row),
        }
    }
}

impl Store {
    /// Usage in a range of days, one row per group, in the order of the groups; at most `filter.limit`.
    ///
    /// It is read in parts, between which days may change: each run is in one row, so it is counted completely or not at all. Names
    /// are sorted by their bytes, as the locale C.UTF-8 does.
    ///
    /// # Errors
    /// The database's error.
    pub async fn usage(&self, filter: UsageFilter, by: GroupBy) -> Result<Vec<UsageRow>> {
        let tenants: Vec<Uuid> = match filter.scope {
            Scope::Tenant(tenant) => vec![tenant.0],
            Scope::Fleet => self.tenants().await?.into_iter().map(|tenant| tenant.id.0).collect(),
        };
        let mut groups = Groups::new(filter.limit);
        // How many tenants a part has follows from what the parts before it had.
        let mut step = FIRST_TENANTS;
        for days in months(filter.from, filter.to) {
            let mut rest = tenants.as_slice();
            while !rest.is_empty() {
                let (part, later) = rest.split_at(step.min(rest.len()));
                let rows = self.part_of_usage(days, part, by).await?;
                let rows_read: i64 = rows.iter().map(|row| row.rows_read).sum();
                if rows_read > ROWS_MAX && part.len() > 1 {
                    // It was cut off. Read it again, in halves.
                    step = part.len() / 2;
                    continue;
                }
                if rows_read < ROWS_MAX / 2 && part.len() == step {
                    step *= 2;
                }
                groups.add(rows.into_iter().map(UsageRow::from));
                rest = later;
            }
            // The rows of later months would follow all of these.
            if (by.day || by.month) && groups.are_full() {
                break;
            }
        }
        Ok(groups.into_rows())
    }

    /// The sums of these tenants on days of one month. Of several tenants with more than [`ROWS_MAX`] rows it reads only one more than
    /// that; a single tenant is read completely.
    async fn part_of_usage(&self, days: Days, tenants: &[Uuid], by: GroupBy) -> Result<Vec<SumsRow>> {
        let rows = sqlx::query_as!(
            SumsRow,
            r#"-- usage
            WITH part AS (
                -- OFFSET 0 excludes plans that read the days of all tenants: this is a loop over the given ones by the primary
                -- key, which the limit ends.
                SELECT tenants.name AS tenant, own.* FROM tenants CROSS JOIN LATERAL (
                    SELECT * FROM usage_daily WHERE tenant_id = tenants.id AND day BETWEEN $1 AND $2 OFFSET 0
                ) AS own
                WHERE tenants.id = ANY($3) LIMIT $10
            ), sums AS (
                -- Days become text only once they are added up.
                SELECT CASE WHEN $4 THEN day END AS day, CASE WHEN $6 THEN tenant END AS tenant,
                    CASE WHEN $7 THEN key_id END AS key_id, CASE WHEN $8 THEN model_id END AS model,
                    CASE WHEN $9 THEN part.tier END AS tier, count(*) AS rows_read,
                    sum(runs)::bigint AS runs, sum(videos)::bigint AS videos, sum(gpu_seconds) AS gpu_seconds,
                    sum(cost_usd) AS cost_usd, sum(repeated_runs)::bigint AS repeated_runs,
                    sum(repeated_gpu_seconds) AS repeated_gpu_seconds, sum(repeated_cost_usd) AS repeated_cost_usd,
                    sum(lost_steps)::bigint AS lost_steps,
                    sum(saved_steps_s) AS steps_s, sum(saved_steps_usd) AS steps_usd,
                    sum(saved_step_cache_s) AS step_cache_s, sum(saved_step_cache_usd) AS step_cache_usd,
                    sum(saved_embeddings_s) AS embeddings_s, sum(saved_embeddings_usd) AS embeddings_usd,
                    sum(saved_drafts_s) AS drafts_s, sum(saved_drafts_usd) AS drafts_usd
                FROM part GROUP BY 1, 2, 3, 4, 5
            )
            SELECT rows_read AS "rows_read!",
                CASE WHEN $4 THEN to_char(day, 'YYYY-MM-DD') WHEN $5 THEN to_char($1::date, 'YYYY-MM') END AS period,
                sums.tenant, sums.key_id, api_keys.label AS "key_label?", sums.model, sums.tier,
                runs AS "runs!", videos AS "videos!", gpu_seconds AS "gpu_seconds!", cost_usd AS "cost_usd!",
                repeated_runs AS "repeated_runs!", repeated_gpu_seconds AS "repeated_gpu_seconds!",
                repeated_cost_usd AS "repeated_cost_usd!", lost_steps AS "lost_steps!",
                steps_s AS "steps_s!", steps_usd AS "steps_usd!", step_cache_s AS "step_cache_s!",
                step_cache_usd AS "step_cache_usd!", embeddings_s AS "embeddings_s!", embeddings_usd AS "embeddings_usd!",
                drafts_s AS "drafts_s!", drafts_usd AS "drafts_usd!"
            FROM sums LEFT JOIN api_keys ON api_keys.id = sums.key_id"#,
            days.from,
            days.to,
            tenants,
            by.day,
            by.month,
            by.tenant,
            by.key,
            by.model,
            by.tier,
            (tenants.len() > 1).then_some(ROWS_MAX + 1)
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows)
    }
}
