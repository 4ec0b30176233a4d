//! Goal: statistics cost the same with a hundred thousand jobs as with ten.
//! Method: a filled table, and Postgres' own plans for the very texts of the queries, as first and as hundredth call.

use std::collections::HashMap;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

const JOBS: i64 = 100_000;
/// Rows that a look at statistics may read: what hours, tenants and kinds add up to, not jobs.
const ROWS_MAX: f64 = 6_000.0;

/// 20 tenants, two per cent failures, 30 days of statistics.
const FILL: &str = "
INSERT INTO jobs (id, tenant_id, prompt, video_size, video_length, infer_steps, quality_tier, seed, seed_drawn, cfg_scale,
    flow_reverse, true_cfg_scale, model_id, width, height, frames, fps, status, plan, tier, complexity, final_steps,
    estimate_s, estimate_cached_s, memory_bytes, order_at, pool, video_key, record, failure_code, payload_hash, finished_at)
SELECT (lpad(to_hex(1700000000000 + n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid,
    lpad(to_hex(1 + n % 20), 32, '0')::uuid, 'a red ball rolls down hill number ' || n, '540p', 129, 0, 'auto', n, true, 6,
    true, 1, 'default', 64, 64, 17, 3.2, CASE WHEN n % 50 = 0 THEN 'failed' ELSE 'completed' END, '{}', 'standard',
    'moderate', 25, 10, 8, 1048576, now(), 'default:4g', CASE WHEN n % 50 > 0 THEN 'v' END, '{}',
    CASE WHEN n % 50 = 0 THEN 'test' END, '', now() - n * interval '3 seconds'
FROM generate_series(1, $1) AS n";
const FILL_STATISTICS: &str = "
INSERT INTO stats_hourly (tenant_id, bucket, model_id, tier, complexity, shard, submitted, completed)
SELECT lpad(to_hex(t), 32, '0')::uuid, bucket, 'default', tier, complexity, shard, 9, 8
FROM generate_series(1, 20) AS t, generate_series(0, 1) AS shard,
    (SELECT date_trunc('hour', now()) - h * interval '1 hour' FROM generate_series(0, 719) AS h
     UNION ALL SELECT '-infinity') AS hours (bucket),
    (VALUES ('standard', 'simple'), ('standard', 'moderate'), ('premium', 'complex')) AS kinds (tier, complexity)";

const TENANT: &str = "'00000000-0000-0000-0000-000000000003'";
const DAY: &str = "now() - interval '24 hours'";

/// The text of each named query, as it was checked when the crate was built.
fn queries() -> HashMap<String, String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx");
    let files = std::fs::read_dir(folder).expect("the descriptions are there");
    let text = |file: std::fs::DirEntry| {
        let json: Value = serde_json::from_slice(&std::fs::read(file.path()).expect("readable")).expect("JSON");
        json["query"].as_str().expect("a text").to_owned()
    };
    files
        .map(|file| text(file.expect("readable")))
        .map(|text| (text.lines().next().unwrap_or_default().trim_start_matches("--").trim().to_owned(), text))
        .collect()
}

/// Relations that a plan reads as a whole, and rows that it reads in all.
fn read_by(plan: &Value, whole: &mut Vec<String>, rows: &mut f64) {
    if plan["Node Type"].as_str().is_some_and(|node| node.contains("Seq Scan")) {
        whole.push(plan["Relation Name"].to_string());
    }
    if plan["Relation Name"].is_string() {
        let number = |key: &str| plan[key].as_f64().unwrap_or_default();
        *rows += (number("Actual Rows") + number("Rows Removed by Filter")) * number("Actual Loops");
    }
    for part in plan["Plans"].as_array().into_iter().flatten() {
        read_by(part, whole, rows);
    }
}

#[tokio::test]
async fn no_look_at_statistics_reads_all_jobs() {
    let mut database = PgConnection::connect(&testkit::postgres::database().await).await.expect("connect");
    sqlx::query(FILL).bind(JOBS).execute(&mut database).await.expect("fill");
    sqlx::query(FILL_STATISTICS).execute(&mut database).await.expect("fill");
    sqlx::query("ANALYZE").execute(&mut database).await.expect("analyze");
    let queries = queries();
    let calls = [
        ("stats_of_all_time", "NULL".to_owned()),
        ("stats_of_all_time", TENANT.to_owned()),
        ("stats_by_group", "NULL, NULL".to_owned()),
        ("stats_by_group", format!("{TENANT}, NULL")),
        ("stats_series", format!("NULL, {DAY}, now(), 'hour'")),
        ("stats_series", format!("{TENANT}, {DAY}, now(), 'day'")),
        ("recent_runs", "'default', 1000".to_owned()),
    ];
    for (number, (name, arguments)) in calls.into_iter().enumerate() {
        let text = queries.get(name).unwrap_or_else(|| panic!("no query is called {name}"));
        // A connection plans a statement for its arguments at first, and for any arguments once it has seen it often.
        for mode in ["force_custom_plan", "force_generic_plan"] {
            let call = format!("call_{number}_{mode}");
            let prepare = format!("SET plan_cache_mode = {mode}; PREPARE {call} AS {text}");
            sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut database).await.expect("prepare");
            let explain = format!("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE {call} ({arguments})");
            let plan: Value =
                sqlx::query_scalar(AssertSqlSafe(explain)).fetch_one(&mut database).await.expect("explain");
            let (mut whole, mut rows) = (Vec::new(), 0.0);
            read_by(&plan[0]["Plan"], &mut whole, &mut rows);
            assert!(whole.is_empty(), "{name} ({arguments}), {mode}: reads all of {whole:?}:\n{plan:#}");
            assert!(rows > 0.0 && rows <= ROWS_MAX, "{name} ({arguments}), {mode}: reads {rows} rows:\n{plan:#}");
        }
    }
}
