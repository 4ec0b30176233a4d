//! Bringing the schema up to this release, one process at a time.
//!
//! The lock is polled. A process that waits inside `pg_advisory_lock` holds a snapshot for as long as it waits, and
//! `CREATE INDEX CONCURRENTLY` in the process that has the lock waits for every snapshot: two that start together would block
//! each other.

use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::connect::Store;
use crate::error::Result;

/// The lock's number: the first eight bytes of "fleet-migrations" in ASCII.
const LOCK: i64 = 0x666c_6565_742d_6d69;
/// Pause between two tries to get the lock.
const AGAIN: Duration = Duration::from_millis(100);

/// The migrations, built into every process.
fn migrations() -> Migrator {
    let mut migrator = sqlx::migrate!("../../migrations");
    migrator.set_locking(false);
    migrator
}

impl Store {
    /// Brings the schema up to this release; waits for another process that does the same.
    ///
    /// # Errors
    /// [`crate::StoreError::Migrate`] when a migration fails or the database knows one that this release does not.
    pub async fn migrate(&self) -> Result<()> {
        // Not given back to the pool: closing it ends the lock and the settings, however this function ends.
        let mut connection = self.pool.session().await?.detach();
        // Building an index on a large table takes longer than any request may.
        sqlx::query("SET statement_timeout = 0").execute(&mut connection).await?;
        while !try_lock(&mut connection).await? {
            tokio::time::sleep(AGAIN).await;
        }
        migrations().run(&mut connection).await?;
        rebuild_invalid_indexes(&mut connection).await?;
        connection.close().await?;
        self.renew_worker_grants().await?;
        // A restored database is migrated before anything writes to it.
        self.follow_history().await?;
        Ok(())
    }
}

async fn try_lock(connection: &mut PgConnection) -> Result<bool> {
    let locked = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(LOCK);
    Ok(locked.fetch_one(connection).await?)
}

/// Finishes what a killed `CREATE INDEX CONCURRENTLY` left: an index that costs every write and that no query uses, and that
/// `IF NOT EXISTS` takes for the real one.
async fn rebuild_invalid_indexes(connection: &mut PgConnection) -> Result<()> {
    let invalid: Vec<String> = sqlx::query_scalar(
        "SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
         WHERE NOT indisvalid AND relnamespace = current_schema()::regnamespace",
    )
    .fetch_all(&mut *connection)
    .await?;
    for index in invalid {
        tracing::warn!(index, "rebuilding an index whose creation was interrupted");
        // The name comes from regclass, which quotes it as needed.
        sqlx::raw_sql(AssertSqlSafe(format!("REINDEX INDEX CONCURRENTLY {index}"))).execute(&mut *connection).await?;
    }
    Ok(())
}
