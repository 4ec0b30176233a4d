//! Reads what the transitions counted. Nothing here looks at a job, but for the cost model's recent runs. The fleet's numbers come
//! from hours that [`Store::roll_up_stats`] has added up, and from the tenants' rows since.

use chrono::{DateTime, Utc};
use domain::model::RenderShape;
use domain::{Complexity, Plan, RunRecord, Tier, VideoRequest};
use serde_json::Value;
use uuid::Uuid;

use crate::connect::Store;
use crate::document::{query_with_request, read_request};
use crate::error::Result;
use crate::jobs::Scope;
use crate::readable::readable;
use crate::row::{count, from_json, word};

/// Counters and sums over some span. Flows, not levels: a job that failed, was retried and completed counts in
/// `failed`, `retried` and `completed`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Counters {
    /// Accepted jobs.
    pub submitted: i64,
    /// Jobs with a plan.
    pub planned: i64,
    /// Videos made.
    pub completed: i64,
    /// Jobs that ended without one.
    pub failed: i64,
    /// Jobs that were stopped.
    pub cancelled: i64,
    /// Retries by the owner.
    pub retried: i64,
    /// Tries after a failure or a lost worker.
    pub requeued: i64,
    /// Leases that ran out.
    pub leases_lost: i64,
    /// Jobs that a stopping worker gave back.
    pub handed_back: i64,
    /// Runs that were preempted for a job with a deadline.
    pub preempted: i64,
    /// Videos finished by their deadline.
    pub deadlines_met: i64,
    /// Videos finished after their deadline.
    pub deadlines_missed: i64,
    /// Runs that paused after their first steps.
    pub drafted: i64,
    /// Drafts that were continued.
    pub continued: i64,
    /// GPU seconds of the runs that paused, whether or not their drafts were continued.
    pub draft_gpu_seconds: f64,
    /// Completed with embeddings of the same text.
    pub cache_identical: i64,
    /// Completed with embeddings of a similar prompt.
    pub cache_similar: i64,
    /// Completed with embeddings encoded for them, though the cache was on.
    pub cache_misses: i64,
    /// Denoising steps of completed jobs.
    pub steps_planned: i64,
    /// Of those, computed.
    pub steps_computed: i64,
    /// Of those, answered by the step cache.
    pub steps_skipped: i64,
    /// Seconds from submission to the first claim.
    pub wait_s: f64,
    /// Seconds of the runs that completed.
    pub run_s: f64,
    /// Seconds that had been estimated for them.
    pub estimate_s: f64,
    /// Seconds of playback.
    pub video_s: f64,
    /// GPU seconds of completed jobs, all attempts.
    pub gpu_seconds: f64,
    /// Their price, US dollars.
    pub cost_usd: f64,
    /// Seconds saved against the fixed baseline.
    pub saved_s: f64,
    /// Their price, US dollars.
    pub saved_usd: f64,
}

impl Counters {
    /// Completed jobs whose embeddings came from the cache.
    #[must_use]
    pub fn cache_hits(&self) -> i64 {
        self.cache_identical + self.cache_similar
    }

    /// Share of look-ups that hit, per cent; `None` before the first look-up.
    #[must_use]
    pub fn cache_hit_rate(&self) -> Option<f64> {
        ratio(100 * self.cache_hits(), self.cache_hits() + self.cache_misses)
    }

    /// Average denoising steps of a video; `None` before the first.
    #[must_use]
    pub fn average_steps(&self) -> Option<f64> {
        ratio(self.steps_planned, self.completed)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counters are far below 2^52")]
fn ratio(part: i64, whole: i64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// How fine a series is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bucket {
    /// One value an hour.
    Hour,
    /// One value a day (UTC).
    Day,
}

/// Counters of one model, tier and complexity.
#[derive(Debug, Clone, PartialEq)]
pub struct StatsGroup {
    /// Model.
    pub model_id: String,
    /// `None`: counted before the job was planned.
    pub tier: Option<Tier>,
    /// `None`: counted before the job was planned.
    pub complexity: Option<Complexity>,
    /// The counters.
    pub counters: Counters,
}

/// Counters of one hour or day.
#[derive(Debug, Clone, PartialEq)]
pub struct StatsPoint {
    /// Its start.
    pub at: DateTime<Utc>,
    /// The counters.
    pub counters: Counters,
}

/// A finished run, for the cost model and for learning step counts.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasuredRun {
    /// What was asked for.
    pub request: VideoRequest,
    /// What was rendered.
    pub shape: RenderShape,
    /// What had been planned.
    pub plan: Plan,
    /// How it went.
    pub record: RunRecord,
    /// When it finished.
    pub finished_at: DateTime<Utc>,
}

/// A row of [`Store::recent_runs`].
struct RunRow {
    id: Uuid,
    request: Value,
    width: i32,
    height: i32,
    frames: i32,
    fps: f64,
    plan: Value,
    record: Value,
    finished_at: DateTime<Utc>,
}

/// The sums of every query here, once. `$own` selects the rows of the tenant `$1`. If that is null, `$before` selects the fleet's rows
/// of hours that were added up, and `$since` those of all tenants from the first hour that was not.
macro_rules! counters {
    ($head:tt, [$own:tt, $before:tt, $since:tt], $tail:tt, $target:ty $(, $arg:expr)*) => {
        sqlx::query_as!($target, $head + r#"
            COALESCE(sum(submitted), 0)::bigint AS "submitted!", COALESCE(sum(planned), 0)::bigint AS "planned!",
            COALESCE(sum(completed), 0)::bigint AS "completed!", COALESCE(sum(failed), 0)::bigint AS "failed!",
            COALESCE(sum(cancelled), 0)::bigint AS "cancelled!", COALESCE(sum(retried), 0)::bigint AS "retried!",
            COALESCE(sum(requeued), 0)::bigint AS "requeued!", COALESCE(sum(leases_lost), 0)::bigint AS "leases_lost!",
            COALESCE(sum(handed_back), 0)::bigint AS "handed_back!",
            COALESCE(sum(preempted), 0)::bigint AS "preempted!",
            COALESCE(sum(deadlines_met), 0)::bigint AS "deadlines_met!",
            COALESCE(sum(deadlines_missed), 0)::bigint AS "deadlines_missed!",
            COALESCE(sum(drafted), 0)::bigint AS "drafted!", COALESCE(sum(continued), 0)::bigint AS "continued!",
            COALESCE(sum(draft_gpu_seconds), 0) AS "draft_gpu_seconds!",
            COALESCE(sum(cache_identical), 0)::bigint AS "cache_identical!",
            COALESCE(sum(cache_similar), 0)::bigint AS "cache_similar!",
            COALESCE(sum(cache_misses), 0)::bigint AS "cache_misses!",
            COALESCE(sum(steps_planned), 0)::bigint AS "steps_planned!",
            COALESCE(sum(steps_computed), 0)::bigint AS "steps_computed!",
            COALESCE(sum(steps_skipped), 0)::bigint AS "steps_skipped!",
            COALESCE(sum(wait_s), 0) AS "wait_s!", COALESCE(sum(run_s), 0) AS "run_s!",
            COALESCE(sum(estimate_s), 0) AS "estimate_s!", COALESCE(sum(video_s), 0) AS "video_s!",
            COALESCE(sum(gpu_seconds), 0) AS "gpu_seconds!", COALESCE(sum(cost_usd), 0) AS "cost_usd!",
            COALESCE(sum(saved_s), 0) AS "saved_s!", COALESCE(sum(saved_usd), 0) AS "saved_usd!"
            FROM (
                SELECT bucket, model_id, tier, complexity, submitted, planned, completed, failed, cancelled, retried, requeued,
                leases_lost, handed_back, preempted, deadlines_met, deadlines_missed, drafted, continued, draft_gpu_seconds, cache_identical, cache_similar, cache_misses,
                steps_planned, steps_computed, steps_skipped, wait_s, run_s, estimate_s, video_s, gpu_seconds, cost_usd,
                saved_s, saved_usd
                FROM stats_hourly WHERE tenant_id = $1 AND "# + $own + r#"
                UNION ALL
                SELECT bucket, model_id, tier, complexity, submitted, planned, completed, failed, cancelled, retried, requeued,
                leases_lost, handed_back, preempted, deadlines_met, deadlines_missed, drafted, continued, draft_gpu_seconds, cache_identical, cache_similar, cache_misses,
                steps_planned, steps_computed, steps_skipped, wait_s, run_s, estimate_s, video_s, gpu_seconds, cost_usd,
                saved_s, saved_usd
                FROM stats_fleet WHERE $1::uuid IS NULL AND "# + $before + r#"
                UNION ALL
                SELECT bucket, model_id, tier, complexity, submitted, planned, completed, failed, cancelled, retried, requeued,
                leases_lost, handed_back, preempted, deadlines_met, deadlines_missed, drafted, continued, draft_gpu_seconds, cache_identical, cache_similar, cache_misses,
                steps_planned, steps_computed, steps_skipped, wait_s, run_s, estimate_s, video_s, gpu_seconds, cost_usd,
                saved_s, saved_usd
                FROM stats_hourly WHERE $1::uuid IS NULL
                    -- The hours one by one: for a range with an unknown start the planner would read the whole table.
                    AND bucket = ANY(ARRAY(
                        SELECT generate_series(GREATEST(until, oldest), statement_timestamp() + interval '1 hour', '1 hour')
                        FROM stats_rollup, (SELECT COALESCE(min(bucket), 'infinity') AS oldest
                            FROM stats_hourly WHERE bucket > '-infinity') AS counted))
                    AND "# + $since + r#"
            ) AS counted
            "# + $tail $(, $arg)*)
    };
}

#[derive(Debug)]
struct Sums {
    key: String,
    tier: String,
    complexity: String,
    at: Option<DateTime<Utc>>,
    submitted: i64,
    planned: i64,
    completed: i64,
    failed: i64,
    cancelled: i64,
    retried: i64,
    requeued: i64,
    leases_lost: i64,
    handed_back: i64,
    preempted: i64,
    deadlines_met: i64,
    deadlines_missed: i64,
    drafted: i64,
    continued: i64,
    draft_gpu_seconds: f64,
    cache_identical: i64,
    cache_similar: i64,
    cache_misses: i64,
    steps_planned: i64,
    steps_computed: i64,
    steps_skipped: i64,
    wait_s: f64,
    run_s: f64,
    estimate_s: f64,
    video_s: f64,
    gpu_seconds: f64,
    cost_usd: f64,
    saved_s: f64,
    saved_usd: f64,
}

impl Sums {
    fn counters(&self) -> Counters {
        Counters {
            submitted: self.submitted,
            planned: self.planned,
            completed: self.completed,
            failed: self.failed,
            cancelled: self.cancelled,
            retried: self.retried,
            requeued: self.requeued,
            leases_lost: self.leases_lost,
            handed_back: self.handed_back,
            preempted: self.preempted,
            deadlines_met: self.deadlines_met,
            deadlines_missed: self.deadlines_missed,
            drafted: self.drafted,
            continued: self.continued,
            draft_gpu_seconds: self.draft_gpu_seconds,
            cache_identical: self.cache_identical,
            cache_similar: self.cache_similar,
            cache_misses: self.cache_misses,
            steps_planned: self.steps_planned,
            steps_computed: self.steps_computed,
            steps_skipped: self.steps_skipped,
            wait_s: self.wait_s,
            run_s: self.run_s,
            estimate_s: self.estimate_s,
            video_s: self.video_s,
            gpu_seconds: self.gpu_seconds,
            cost_usd: self.cost_usd,
            saved_s: self.saved_s,
            saved_usd: self.saved_usd,
        }
    }
}

impl Store {
    /// All-time counters.
    ///
    /// # Errors
    /// The database's.
    pub async fn stats(&self, scope: Scope) -> Result<Counters> {
        let sums = counters!(
            r#"-- stats_of_all_time
            SELECT '' AS "key!", '' AS "tier!", '' AS "complexity!", NULL::timestamptz AS at,"#,
            ["bucket = '-infinity'", "bucket = '-infinity'", "true"],
            "",
            Sums,
            scope.tenant()
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(sums.counters())
    }

    /// Counters by model, tier and complexity, of all time or since an hour.
    ///
    /// # Errors
    /// The database's.
    pub async fn stats_by_group(&self, scope: Scope, since: Option<DateTime<Utc>>) -> Result<Vec<StatsGroup>> {
        let rows = counters!(
            r#"-- stats_by_group
            SELECT model_id AS "key!", tier AS "tier!", complexity AS "complexity!", NULL::timestamptz AS at,"#,
            [
                // As one range, so that the index finds it: from the hour to the end of time, or only the sum of all.
                r#"bucket >= COALESCE(date_trunc('hour', $2::timestamptz, 'UTC'), '-infinity')
                    AND bucket <= CASE WHEN $2 IS NULL THEN '-infinity' ELSE 'infinity' END::timestamptz"#,
                r#"bucket >= COALESCE(date_trunc('hour', $2, 'UTC'), '-infinity')
                    AND bucket <= CASE WHEN $2 IS NULL THEN '-infinity' ELSE 'infinity' END::timestamptz"#,
                r#"($2 IS NULL OR bucket >= date_trunc('hour', $2, 'UTC'))"#
            ],
            "GROUP BY model_id, tier, complexity ORDER BY model_id, tier, complexity",
            Sums,
            scope.tenant(),
            since
        )
        .fetch_all(&self.pool)
        .await?;
        let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        rows.iter()
            .map(|row| {
                Ok(StatsGroup {
                    model_id: row.key.clone(),
                    tier: known(&row.tier).map(|text| word(&row.key, "tier", &text)).transpose()?,
                    complexity: known(&row.complexity).map(|text| word(&row.key, "complexity", &text)).transpose()?,
                    counters: row.counters(),
                })
            })
            .collect()
    }

    /// Counters over time, oldest first; hours or days without any event are left out.
    ///
    /// # Errors
    /// The database's.
    pub async fn stats_series(
        &self,
        scope: Scope,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        bucket: Bucket,
    ) -> Result<Vec<StatsPoint>> {
        let unit = match bucket {
            Bucket::Hour => "hour",
            Bucket::Day => "day",
        };
        let rows = counters!(
            r#"-- stats_series
            SELECT '' AS "key!", '' AS "tier!", '' AS "complexity!", date_trunc($4, bucket, 'UTC') AS at,"#,
            [
                r#"bucket >= date_trunc('hour', $2::timestamptz, 'UTC') AND bucket < $3 AND bucket > '-infinity'"#,
                r#"bucket >= date_trunc('hour', $2, 'UTC') AND bucket < $3 AND bucket > '-infinity'"#,
                r#"bucket >= date_trunc('hour', $2, 'UTC') AND bucket < $3"#
            ],
            "GROUP BY date_trunc($4, bucket, 'UTC') ORDER BY date_trunc($4, bucket, 'UTC')",
            Sums,
            scope.tenant(),
            from,
            to,
            unit
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.iter().filter_map(|row| Some(StatsPoint { at: row.at?, counters: row.counters() })).collect())
    }

    /// The newest finished runs of a model: what its estimates are learnt from.
    ///
    /// # Errors
    /// The database's.
    pub async fn recent_runs(&self, model_id: &str, limit: u32) -> Result<Vec<MeasuredRun>> {
        let rows = query_with_request!(
            RunRow,
            r#"-- recent_runs
            SELECT id, width, height, frames, fps, plan AS "plan!", record AS "record!", finished_at AS "finished_at!","#,
            r#"
            FROM jobs
            WHERE model_id = $1 AND status = 'completed'
                AND plan IS NOT NULL AND record IS NOT NULL
            ORDER BY finished_at DESC LIMIT $2"#,
            model_id,
            i64::from(limit)
        )
        .fetch_all(&self.pool)
        .await?;
        readable(rows.into_iter().map(|row| {
            Ok(MeasuredRun {
                request: read_request(row.id, row.request)?,
                shape: RenderShape {
                    width: count(row.id, "width", row.width)?,
                    height: count(row.id, "height", row.height)?,
                    frames: count(row.id, "frames", row.frames)?,
                    fps: row.fps,
                },
                plan: from_json(row.id, "plan", row.plan)?,
                record: from_json(row.id, "record", row.record)?,
                finished_at: row.finished_at,
            })
        }))
    }
}
