//! Time of workers, online and at work, grouped as the caller wants.

use chrono::NaiveDate;

use super::parts::{GroupBy, GroupRow, Groups, ROWS_MAX, UsageFilter, months};
use crate::connect::Store;
use crate::error::Result;

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

impl GroupRow for WorkerUsage {
    type Group = (Option<String>, Option<String>, Option<String>);

    fn group(&self) -> Self::Group {
        (self.period.clone(), self.worker.clone(), self.model.clone())
    }

    fn add(&mut self, part: &Self) {
        self.online_s += part.online_s;
        self.online_usd += part.online_usd;
        self.runs += part.runs;
        self.videos += part.videos;
        self.busy_s += part.busy_s;
        self.busy_usd += part.busy_usd;
        self.repeated_runs += part.repeated_runs;
        self.repeated_gpu_seconds += part.repeated_gpu_seconds;
        self.repeated_cost_usd += part.repeated_cost_usd;
        self.lost_steps += part.lost_steps;
    }
}

/// A worker on a day: a place in the order of the primary key of `worker_daily`.
struct Place {
    day: NaiveDate,
    worker: String,
}

impl Place {
    /// Before all workers of the day, whose names may be empty.
    fn start_of(day: NaiveDate) -> Self {
        Self { day, worker: String::new() }
    }
}

impl Store {
    /// Time online and at work in a range of days, one row per group, in the order of the groups; at most `filter.limit`. Workers
    /// serve all tenants, so this is for admins.
    ///
    /// Sums of single workers over several days are read in parts, between which days may change: each run is in one row, so it is
    /// counted completely or not at all. Their names and models are sorted by their bytes, as the locale C.UTF-8 does.
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

    /// One row per worker, and per month and model if asked for. It adds up every day of the range, in parts.
    async fn usage_of_workers(&self, filter: UsageFilter, by: GroupBy) -> Result<Vec<WorkerUsage>> {
        let mut groups = Groups::new(filter.limit);
        for days in months(filter.from, filter.to) {
            let end = Place::start_of(days.to.succ_opt().unwrap_or(NaiveDate::MAX));
            let mut start = Place::start_of(days.from);
            loop {
                let next = self.next_part_of_workers(&start, days.to).await?;
                groups.add(self.part_of_workers(&start, next.as_ref().unwrap_or(&end), by).await?);
                let Some(next) = next else { break };
                start = next;
            }
            // The rows of later months would follow all of these.
            if by.month && groups.are_full() {
                break;
            }
        }
        Ok(groups.into_rows())
    }

    /// Where the part ends that begins at `start`; `None` when it reaches to the end of the last day.
    async fn next_part_of_workers(&self, start: &Place, last_day: NaiveDate) -> Result<Option<Place>> {
        let next = sqlx::query_as!(
            Place,
            "-- worker_usage_next
            SELECT day, worker FROM worker_daily
            -- Later than the start, so that each part has at least the rows of one worker on a day.
            WHERE day BETWEEN $1 AND $2 AND (day, worker) > ($1, $3)
            ORDER BY day, worker OFFSET $4 LIMIT 1",
            start.day,
            last_day,
            start.worker,
            ROWS_MAX
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(next)
    }

    /// The sums from `start` to before `end`; the days of both belong to one month, except for an end on the first of the next.
    async fn part_of_workers(&self, start: &Place, end: &Place, by: GroupBy) -> Result<Vec<WorkerUsage>> {
        let rows = sqlx::query_as!(
            WorkerUsage,
            r#"-- worker_usage
            SELECT CASE WHEN $5 THEN to_char($1::date, 'YYYY-MM') END AS period, worker AS "worker?",
                CASE WHEN $6 THEN model_id END AS model,
                sum(online_s) AS "online_s!", sum(online_usd) AS "online_usd!", sum(runs)::bigint AS "runs!",
                sum(videos)::bigint AS "videos!", sum(busy_s) AS "busy_s!", sum(busy_usd) AS "busy_usd!",
                sum(repeated_runs)::bigint AS "repeated_runs!", sum(repeated_gpu_seconds) AS "repeated_gpu_seconds!",
                sum(repeated_cost_usd) AS "repeated_cost_usd!", sum(lost_steps)::bigint AS "lost_steps!"
            FROM worker_daily
            -- The range of days excludes nothing; by it the planner estimates how small the part is, and uses the index.
            WHERE day BETWEEN $1 AND $3 AND (day, worker) >= ($1, $2) AND (day, worker) < ($3, $4)
            GROUP BY 2, 3"#,
            start.day,
            start.worker,
            end.day,
            end.worker,
            by.month,
            by.model
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
}
