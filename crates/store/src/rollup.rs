//! Adds up the statistics of all tenants, for hours that are over, so that the fleet's numbers cost the same for any number of
//! tenants.
//!
//! Rule: readers add [`Store::roll_up_stats`]'s hours and the tenants' rows since, so they are right however far it has come.

use chrono::{DateTime, Utc};

use crate::connect::Store;
use crate::error::Result;

impl Store {
    /// Adds up the oldest hours that are over and were not added up yet, at most `hours_max` of them. Returns the start of the
    /// first hour that is left, if there was something to do.
    ///
    /// An hour is over ten minutes after its end. A transition that began in it has ended by then: `database.statement_timeout_ms`
    /// ends statements and idle transactions long before.
    ///
    /// # Errors
    /// The database's error.
    pub async fn roll_up_stats(&self, hours_max: u32) -> Result<Option<DateTime<Utc>>> {
        let until = sqlx::query_scalar!(
            r#"-- roll_up_stats
            WITH span AS MATERIALIZED (
                -- 1. Lock the mark, so that no hour is added twice. The first time, begin at the oldest hour.
                SELECT GREATEST(until, COALESCE((SELECT min(bucket) FROM stats_hourly WHERE bucket > '-infinity'), 'infinity'))
                    AS since
                FROM stats_rollup FOR UPDATE
            ), hours AS MATERIALIZED (
                SELECT since, LEAST(since + make_interval(hours => $1),
                    date_trunc('hour', statement_timestamp() - interval '10 minutes', 'UTC')) AS until FROM span
            ), added AS (
                -- 2. Add the hours to their own rows and to the sum of all.
                INSERT INTO stats_fleet AS s (bucket, model_id, tier, complexity,
                    submitted, planned, completed, failed, cancelled, retried, requeued, leases_lost, handed_back, preempted,
                    deadlines_met, deadlines_missed, drafted, continued, cache_identical, cache_similar, cache_misses, steps_planned, steps_computed, steps_skipped,
                    draft_gpu_seconds, wait_s, run_s, estimate_s, video_s, gpu_seconds, cost_usd, saved_s, saved_usd)
                SELECT b.bucket, model_id, tier, complexity,
                    sum(submitted), sum(planned), sum(completed), sum(failed), sum(cancelled), sum(retried), sum(requeued),
                    sum(leases_lost), sum(handed_back), sum(preempted), sum(deadlines_met), sum(deadlines_missed), sum(drafted), sum(continued), sum(cache_identical), sum(cache_similar),
                    sum(cache_misses), sum(steps_planned), sum(steps_computed), sum(steps_skipped), sum(draft_gpu_seconds),
                    sum(wait_s), sum(run_s), sum(estimate_s), sum(video_s), sum(gpu_seconds), sum(cost_usd), sum(saved_s),
                    sum(saved_usd)
                FROM stats_hourly AS h, LATERAL (VALUES (h.bucket), ('-infinity')) AS b (bucket)
                WHERE h.bucket = ANY(ARRAY(
                    SELECT generate_series(since, until - interval '1 hour', '1 hour') FROM hours WHERE until > since))
                GROUP BY b.bucket, model_id, tier, complexity
                ON CONFLICT (bucket, model_id, tier, complexity) DO UPDATE SET
                    submitted = s.submitted + EXCLUDED.submitted, planned = s.planned + EXCLUDED.planned,
                    completed = s.completed + EXCLUDED.completed, failed = s.failed + EXCLUDED.failed,
                    cancelled = s.cancelled + EXCLUDED.cancelled, retried = s.retried + EXCLUDED.retried,
                    requeued = s.requeued + EXCLUDED.requeued, leases_lost = s.leases_lost + EXCLUDED.leases_lost,
                    handed_back = s.handed_back + EXCLUDED.handed_back, preempted = s.preempted + EXCLUDED.preempted,
                    deadlines_met = s.deadlines_met + EXCLUDED.deadlines_met,
                    deadlines_missed = s.deadlines_missed + EXCLUDED.deadlines_missed, drafted = s.drafted + EXCLUDED.drafted,
                    continued = s.continued + EXCLUDED.continued, cache_identical = s.cache_identical + EXCLUDED.cache_identical,
                    cache_similar = s.cache_similar + EXCLUDED.cache_similar,
                    cache_misses = s.cache_misses + EXCLUDED.cache_misses,
                    steps_planned = s.steps_planned + EXCLUDED.steps_planned,
                    steps_computed = s.steps_computed + EXCLUDED.steps_computed,
                    steps_skipped = s.steps_skipped + EXCLUDED.steps_skipped,
                    draft_gpu_seconds = s.draft_gpu_seconds + EXCLUDED.draft_gpu_seconds, wait_s = s.wait_s + EXCLUDED.wait_s,
                    run_s = s.run_s + EXCLUDED.run_s, estimate_s = s.estimate_s + EXCLUDED.estimate_s,
                    video_s = s.video_s + EXCLUDED.video_s, gpu_seconds = s.gpu_seconds + EXCLUDED.gpu_seconds,
                    cost_usd = s.cost_usd + EXCLUDED.cost_usd, saved_s = s.saved_s + EXCLUDED.saved_s,
                    saved_usd = s.saved_usd + EXCLUDED.saved_usd
            )
            -- 3. Move the mark.
            UPDATE stats_rollup SET until = hours.until FROM hours WHERE hours.until > hours.since
            RETURNING stats_rollup.until"#,
            i32::try_from(hours_max).unwrap_or(i32::MAX)
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(until)
    }
}
