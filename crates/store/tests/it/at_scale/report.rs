//! The times of all statements in a very large database, for docs/scale.md. Only `benches/scale/run` asks for them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{Size, calls, explain, prepare};

/// Executions of each call; the median counts.
const TIMES: usize = 5;

/// The size that the benchmark asks for.
pub(super) fn size() -> Option<Size> {
    let number = |name: &str| std::env::var(name).ok()?.parse().ok();
    Some(Size {
        jobs: number("FLEET_SCALE_JOBS")?,
        tenants: number("FLEET_SCALE_TENANTS")?,
        workers: number("FLEET_SCALE_WORKERS")?,
        waiting: number("FLEET_SCALE_WAITING")?,
        hours: number("FLEET_SCALE_HOURS")?,
    })
}

/// Where the benchmark wants the table.
pub(super) fn path() -> Option<PathBuf> {
    std::env::var_os("FLEET_SCALE_REPORT").map(PathBuf::from)
}

/// Writes a Markdown table: the statement, its time and the rows that it reads, the slowest first.
pub(super) async fn write(
    database: &mut PgConnection,
    names: &BTreeMap<String, String>,
    statements: &BTreeMap<String, String>,
    size: &Size,
    path: &Path,
) {
    let mut slowest: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for call in calls::read(names) {
        let text = &statements[&call.name];
        let (reads, _) = explain(database, &call, text, "force_generic_plan").await;
        let execute = prepare(database, &call, text, "force_generic_plan").await;
        let mut times = Vec::new();
        for _ in 0..TIMES {
            let mut transaction = database.begin().await.expect("begin");
            let begun = Instant::now();
            sqlx::raw_sql(AssertSqlSafe(execute.clone())).execute(&mut *transaction).await.expect("execute");
            times.push(begun.elapsed().as_secs_f64() * 1_000.0);
            transaction.rollback().await.expect("roll back");
        }
        times.sort_by(f64::total_cmp);
        let entry = slowest.entry(call.name).or_default();
        if times[TIMES / 2] > entry.0 {
            *entry = (times[TIMES / 2], reads.rows);
        }
    }
    let mut rows: Vec<_> = slowest.into_iter().collect();
    rows.sort_by(|one, other| other.1.0.total_cmp(&one.1.0));
    let mut table = format!(
        "{} finished jobs, {} tenants, {} workers, {} waiting jobs, statistics of {} hours. Median of {TIMES} executions, the slowest \
         call of each statement, including the round trip on the same machine.\n\n\
         | statement | time, ms | rows read |\n|---|---:|---:|\n",
        size.jobs, size.tenants, size.workers, size.waiting, size.hours
    );
    for (name, (ms, rows)) in rows {
        writeln!(table, "| `{name}` | {ms:.1} | {rows:.0} |").expect("text");
    }
    std::fs::write(path, table).expect("the report can be written");
}
