//! Time online: how long each worker was there, from which follows how long it was idle.

use crate::connect::Store;
use crate::error::Result;
use crate::retry::on_conflict;

/// Time online that may be missing from the ledger, seconds, while a worker lives. Longer: idle time appears later; shorter: more
/// writes.
const LAG_S: f64 = 60.0;
/// Workers in one statement.
const BATCH: i64 = 500;

impl Store {
    /// Adds the time online of workers to the ledger, for each up to its last heartbeat. The row of a worker remembers up to where,
    /// so the time is counted once, even if several processes call this.
    ///
    /// # Errors
    /// The database's error.
    pub(crate) async fn account_time_online(&self) -> Result<()> {
        while self.account_some().await? >= BATCH.unsigned_abs() {}
        Ok(())
    }

    async fn account_some(&self) -> Result<u64> {
        on_conflict(|| async {
            let moved = sqlx::query_scalar!(
                r#"-- account_time_online
                WITH due AS MATERIALIZED (
                    SELECT id, name, model_id, COALESCE(gpu_hour_usd, 0) AS price,
                        COALESCE(accounted_until, registered_at) AS since, last_seen_at AS until
                    FROM workers
                    WHERE last_seen_at > COALESCE(accounted_until, registered_at)
                        + make_interval(secs => CASE state WHEN 'gone' THEN 0 ELSE $1::float8 END)
                    ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED
                ), moved AS (
                    UPDATE workers SET accounted_until = due.until FROM due WHERE workers.id = due.id RETURNING workers.id
                ), days AS (
                    -- A span that passes midnight belongs to several days.
                    SELECT name, model_id, price, first.day::date AS day, extract(epoch FROM
                        LEAST(until, (first.day + interval '1 day') AT TIME ZONE 'UTC')
                        - GREATEST(since, first.day AT TIME ZONE 'UTC')) AS online_s
                    FROM due, LATERAL generate_series(date_trunc('day', since AT TIME ZONE 'UTC'),
                        until AT TIME ZONE 'UTC', interval '1 day') AS first (day)
                ), added AS (
                    INSERT INTO worker_daily AS u (day, worker, model_id, shard, online_s, online_usd)
                    SELECT d.day, d.worker, model_id, pg_backend_pid() % 8, sum(online_s), sum(online_s * price / 3600)
                    FROM days, LATERAL (VALUES ('-infinity'::date, ''), (days.day, name)) AS d (day, worker)
                    GROUP BY d.day, d.worker, model_id ORDER BY d.day, d.worker, model_id
                    ON CONFLICT (day, worker, model_id, shard) DO UPDATE SET
                        online_s = u.online_s + EXCLUDED.online_s, online_usd = u.online_usd + EXCLUDED.online_usd
                )
                SELECT count(*) AS "moved!" FROM moved"#,
                LAG_S,
                BATCH
            )
            .fetch_one(&self.pool)
            .await?;
            Ok(moved.unsigned_abs())
        })
        .await
    }
}
