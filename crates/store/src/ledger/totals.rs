//! Sums of the whole ledger.

use super::saved::{SavedBy, saved_by};
use crate::connect::Store;
use crate::error::Result;

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

impl Store {
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
            saved: saved_by!(row),
            online_s: row.online_s,
            busy_s: row.busy_s,
            online_usd: row.online_usd,
            busy_usd: row.busy_usd,
        })
    }
}
