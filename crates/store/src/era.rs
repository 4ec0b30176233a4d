//! Which history of the server the numbers of transactions belong to.
//!
//! Events are ordered by the number of the transaction that wrote them. These numbers start again in another cluster, where a
//! backup may be restored, and go back when a server is recovered to an earlier moment or fails over to a standby that is
//! behind. A database notices by the server's own identity: that of the cluster and of its timeline. It then begins a new era,
//! whose events sort after all earlier ones, whatever positions readers have.

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tracing::info;

use crate::connect::Store;
use crate::error::Result;

/// Positions of one era: more than any cluster has transactions.
const ERA: i64 = 1 << 48;

/// The server's identity: cluster and timeline. NULL on a standby, which writes no events.
const HISTORY: &str = "CASE WHEN NOT pg_is_in_recovery() THEN
    (SELECT system_identifier FROM pg_control_system())::text || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) END";

impl Store {
    /// Begins a new era of events if the database is in another history than before. Returns whether it did. Needs the rights
    /// of the tables' owner.
    ///
    /// # Errors
    /// The database's error.
    pub async fn follow_history(&self) -> Result<bool> {
        let same: bool = sqlx::query_scalar(AssertSqlSafe(format!(
            "SELECT COALESCE(history = {HISTORY}, pg_is_in_recovery()) FROM event_era"
        )))
        .fetch_one(&self.pool)
        .await?;
        if same {
            return Ok(false);
        }
        let mut connection = self.pool.acquire().await?;
        let outcome = self.pool.in_time(begin_era(&mut connection)).await;
        connection.settle(outcome).await
    }
}

async fn begin_era(connection: &mut PgConnection) -> Result<bool> {
    let mut transaction = connection.begin().await?;
    // Another process may have begun it meanwhile. A history that is unknown is this one, unless events came from elsewhere.
    let new_era: Option<i64> = sqlx::query_scalar(AssertSqlSafe(format!(
        "WITH before AS MATERIALIZED (SELECT era, history FROM event_era FOR UPDATE)
         UPDATE event_era SET history = {HISTORY}, era = before.era + CASE
             WHEN before.history IS NOT NULL THEN 1
             WHEN (SELECT max(txid) FROM job_events) >= pg_current_xact_id()::text::bigint THEN 1
             ELSE 0 END
         FROM before WHERE before.history IS DISTINCT FROM {HISTORY}
         RETURNING CASE WHEN event_era.era > before.era THEN event_era.era END"
    )))
    .fetch_optional(&mut *transaction)
    .await?
    .flatten();
    let Some(era) = new_era else {
        transaction.commit().await?;
        return Ok(false);
    };
    let start = era.saturating_mul(ERA);
    // A constant in the default costs nothing when an event is written.
    sqlx::raw_sql(AssertSqlSafe(format!(
        "SET LOCAL lock_timeout = '2s';
         ALTER TABLE job_events ALTER COLUMN txid SET DEFAULT {start} + pg_current_xact_id()::text::bigint"
    )))
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    info!(era, "the database was restored or has failed over; a new era of events begins");
    Ok(true)
}
