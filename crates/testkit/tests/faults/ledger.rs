//! The cost ledger after faults: it equals a recount from the jobs and their events, and names the repeated work.

use sqlx::Row as _;
use testkit::Fleet;

use crate::support::{database, tell};

/// Compares, once all jobs have ended: the runs of each job with its claims and its GPU seconds, and the daily sums with the runs.
pub(crate) async fn assert_ledger_balances(fleet: &Fleet) {
    let mut database = database(fleet).await;
    let wrong: Vec<String> = sqlx::query_scalar(
        "SELECT jobs.id || ': ' || jobs.gpu_seconds || ' s and ' || e.claims || ' claims, but '
             || COALESCE(r.gpu_seconds, 0) || ' s in ' || COALESCE(r.runs, 0) || ' runs'
         FROM jobs
         JOIN (SELECT job_id, count(*) FILTER (WHERE kind = 'running') AS claims,
                 count(*) FILTER (WHERE kind = 'retrying') AS faults FROM job_events GROUP BY job_id) AS e ON e.job_id = jobs.id
         LEFT JOIN (SELECT job_id, count(*) AS runs, sum(gpu_seconds) AS gpu_seconds,
                 count(*) FILTER (WHERE outcome = 'retrying') AS faults,
                 count(*) FILTER (WHERE repeated) AS repeated FROM job_runs GROUP BY job_id) AS r ON r.job_id = jobs.id
         WHERE COALESCE(r.runs, 0) <> e.claims OR COALESCE(r.faults, 0) <> e.faults
             OR abs(COALESCE(r.gpu_seconds, 0) - jobs.gpu_seconds) > 1e-6
             OR e.faults > 0 AND e.claims > 1 AND r.repeated = 0",
    )
    .fetch_all(&mut database)
    .await
    .expect("the recount of jobs");
    assert!(wrong.is_empty(), "{wrong:#?}");
    let sums = sqlx::query(
        "SELECT counted.runs, counted.repeated, counted.s, counted.again, kept.runs = counted.runs
             AND kept.repeated = counted.repeated AND abs(kept.s - counted.s) < 1e-6 AND abs(kept.usd - counted.usd) < 1e-6
             AND abs(kept.again - counted.again) < 1e-6 AND abs(worked.s - counted.s) < 1e-6 AS same
         FROM (SELECT count(*) AS runs, count(*) FILTER (WHERE repeated) AS repeated, sum(gpu_seconds) AS s,
                 sum(cost_usd) AS usd, COALESCE(sum(gpu_seconds) FILTER (WHERE repeated), 0) AS again FROM job_runs) AS counted,
             (SELECT sum(runs)::bigint AS runs, sum(repeated_runs)::bigint AS repeated, sum(gpu_seconds) AS s,
                 sum(cost_usd) AS usd, sum(repeated_gpu_seconds) AS again FROM usage_daily WHERE day > '-infinity') AS kept,
             (SELECT sum(busy_s) AS s FROM worker_daily WHERE day > '-infinity') AS worked",
    )
    .fetch_one(&mut database)
    .await
    .expect("the recount of sums");
    let (runs, repeated): (i64, i64) = (sums.get("runs"), sums.get("repeated"));
    let (seconds, again): (f64, f64) = (sums.get("s"), sums.get("again"));
    tell(&format!("ledger: {runs} runs of {seconds:.1} s, {repeated} of them repeated work of {again:.1} s"));
    assert!(sums.get::<bool, _>("same"), "the daily sums differ from the runs");
}
