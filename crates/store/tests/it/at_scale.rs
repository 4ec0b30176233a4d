//! Goal: statistics and level metrics cost the same with a hundred thousand finished jobs as with ten, and the cost of
//! periodic queries grows with the work they handle, not with tenants times workers.
//! Method: a filled table, and Postgres' own plans for the exact texts of the queries, for custom and generic plans.

use std::collections::HashMap;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

const JOBS: i64 = 100_000;
/// Most rows that a statistics query may read: proportional to hours, tenants and kinds, not to jobs.
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

/// Work in flight: 200 tenants with 100 waiting jobs each, 500 unplanned ones, 2,000 busy workers and 2,000 running jobs.
const FILL_FLEET: &str = "
INSERT INTO tenants (id, name)
SELECT lpad(to_hex(n), 32, '0')::uuid, 'tenant ' || n FROM generate_series(1, 200) AS n;
INSERT INTO models (id, manifest, weights_fingerprint, encoders_fingerprint) VALUES ('default', '{}', 'w', 'e');
INSERT INTO workers (id, name, pool, model_id, model_fingerprint, device, device_class, build, threads, memory_bytes, slots,
    state)
SELECT ('b0000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'worker ' || n, 'default.4g', 'default', 'w', 'cpu', 'cpu', 'test', 1, 1, 1, 'busy'
FROM generate_series(1, 2000) AS n;
INSERT INTO jobs (id, tenant_id, prompt, video_size, video_length, infer_steps, quality_tier, seed, seed_drawn, cfg_scale,
    flow_reverse, true_cfg_scale, model_id, width, height, frames, fps, status, plan, tier, complexity, final_steps,
    estimate_s, estimate_cached_s, memory_bytes, order_at, pool, payload_hash, lease_token, lease_expires_at, worker_id)
SELECT (lpad(to_hex(1800000000000 + n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid,
    lpad(to_hex(1 + n % 200), 32, '0')::uuid, 'a cat', '540p', 129, 0, 'auto', n, true, 6, true, 1, 'default', 64, 64, 17, 8,
    CASE WHEN running THEN 'running' ELSE 'queued' END, CASE WHEN planned THEN '{}'::jsonb END,
    CASE WHEN planned THEN 'standard' END, CASE WHEN planned THEN 'simple' END, CASE WHEN planned THEN 25 END,
    CASE WHEN planned THEN 10 END, CASE WHEN planned THEN 8 END, CASE WHEN planned THEN 1048576 END,
    CASE WHEN planned THEN now() + n * interval '1 second' END, CASE WHEN running THEN 'default.4g' END, '',
    CASE WHEN running THEN gen_random_uuid() END, CASE WHEN running THEN now() + interval '1 hour' END,
    CASE WHEN running THEN ('b0000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid END
FROM generate_series(1, 22500) AS n, LATERAL (SELECT n <= 2000 AS running, n <= 22000 AS planned) AS what;";

/// A thousand of the waiting jobs are released, for workers that have merged other adapters.
const RELEASE_SOME: &str = "
UPDATE jobs SET status = 'scheduled', pool = 'default.4g', adapters = 'a@1', scheduled_at = now()
WHERE id IN (SELECT id FROM jobs WHERE status = 'queued' AND plan IS NOT NULL ORDER BY order_at LIMIT 1000)";

/// The text of each named query, as it was checked when the crate was built.
fn queries() -> HashMap<String, String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx");
    let files = std::fs::read_dir(folder).expect("the descriptions exist");
    let text = |file: std::fs::DirEntry| {
        let json: Value = serde_json::from_slice(&std::fs::read(file.path()).expect("readable")).expect("JSON");
        json["query"].as_str().expect("a text").to_owned()
    };
    files
        .map(|file| text(file.expect("readable")))
        .map(|text| (text.lines().next().unwrap_or_default().trim_start_matches("--").trim().to_owned(), text))
        .collect()
}

/// Relations that a plan reads completely, and the number of rows that it reads in total.
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

/// A query with arguments, and the most rows that it may read.
struct Call {
    name: &'static str,
    arguments: String,
    rows_max: f64,
}

fn call(name: &'static str, arguments: impl Into<String>, rows_max: f64) -> Call {
    Call { name, arguments: arguments.into(), rows_max }
}

/// Fails for a call that reads all of a history table, or more rows than allowed.
async fn check(database: &mut PgConnection, calls: Vec<Call>, may_read_whole: &[&str]) {
    let queries = queries();
    for (number, Call { name, arguments, rows_max }) in calls.into_iter().enumerate() {
        let text = queries.get(name).unwrap_or_else(|| panic!("no query is called {name}"));
        // A connection first plans a statement for its arguments, and after many calls for any arguments.
        for mode in ["force_custom_plan", "force_generic_plan"] {
            let call = format!("call_{number}_{mode}");
            let prepare = format!("SET plan_cache_mode = {mode}; PREPARE {call} AS {text}");
            sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut *database).await.expect("prepare");
            let arguments_list = if arguments.is_empty() { String::new() } else { format!("({arguments})") };
            let explain = format!("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE {call} {arguments_list}");
            let plan: Value =
                sqlx::query_scalar(AssertSqlSafe(explain)).fetch_one(&mut *database).await.expect("explain");
            let (mut whole, mut rows) = (Vec::new(), 0.0);
            read_by(&plan[0]["Plan"], &mut whole, &mut rows);
            whole.retain(|table| !may_read_whole.contains(&table.trim_matches('"')));
            assert!(whole.is_empty(), "{name} ({arguments}), {mode}: reads all of {whole:?}:\n{plan:#}");
            assert!(rows > 0.0 && rows <= rows_max, "{name} ({arguments}), {mode}: reads {rows} rows:\n{plan:#}");
        }
    }
}

async fn filled(statements: &[&'static str]) -> PgConnection {
    let mut database = PgConnection::connect(&testkit::postgres::database().await).await.expect("connect");
    sqlx::query(FILL).bind(JOBS).execute(&mut database).await.expect("fill");
    for statement in statements {
        sqlx::raw_sql(*statement).execute(&mut database).await.expect("fill");
    }
    sqlx::query("VACUUM ANALYZE").execute(&mut database).await.expect("analyze");
    database
}

#[tokio::test]
async fn no_statistics_query_reads_all_jobs() {
    let mut database = filled(&[FILL_STATISTICS]).await;
    let calls = vec![
        call("stats_of_all_time", "NULL", ROWS_MAX),
        call("stats_of_all_time", TENANT, ROWS_MAX),
        call("stats_by_group", "NULL, NULL", ROWS_MAX),
        call("stats_by_group", format!("{TENANT}, NULL"), ROWS_MAX),
        call("stats_series", format!("NULL, {DAY}, now(), 'hour'"), ROWS_MAX),
        call("stats_series", format!("{TENANT}, {DAY}, now(), 'day'"), ROWS_MAX),
        call("recent_runs", "'default', 1000", ROWS_MAX),
    ];
    check(&mut database, calls, &[]).await;
}

#[tokio::test]
async fn periodic_queries_read_work_in_flight_and_no_history() {
    let mut database = filled(&[FILL_FLEET]).await;
    // The last waiting job, with as many jobs as possible ahead of it.
    let last = "(SELECT id FROM jobs WHERE status = 'queued' AND plan IS NOT NULL ORDER BY order_at DESC LIMIT 1)";
    let last: uuid::Uuid = sqlx::query_scalar(last).fetch_one(&mut database).await.expect("a waiting job");
    let calls = vec![
        // All unfinished jobs, once.
        call("backlog_depth", "", 22_500.0),
        // Workers and live jobs, a fixed number of times each.
        call("pool_loads", "30.0", 10_000.0),
        call("list_workers", "", 5_000.0),
        // Four candidates per tenant and one probe, however much is released.
        call("release_jobs", "'default.4g', 'default', 4294967296, 250, 0", 3_000.0),
        // The same with more candidates, 512 at most, and the adapters that workers have merged.
        call(
            "release_matching_jobs",
            "'default.4g', 'default', 4294967296, 250, 0, '{a@1,b@1}', '{1000,2}', 300",
            4_500.0,
        ),
        call("queue_position", format!("'{last}', NULL, 1000"), 4_000.0),
    ];
    check(
        &mut database,
        calls,
        &["workers", "tenants", "leader", "dispatch_shares", "dispatch_clocks", "dispatch_rounds"],
    )
    .await;
}

#[tokio::test]
async fn a_claim_looks_at_few_of_the_released_jobs() {
    let mut database = filled(&[FILL_FLEET, RELEASE_SOME]).await;
    let calls = vec![
        // The pool's workers and released jobs, once.
        call("merged_adapters", "'default.4g', 30.0, 256", 3_500.0),
        // 64 jobs to choose from, with a probe each.
        call("preferred_job", "'default.4g', NULL, 'b@1', 150, gen_random_uuid()", 300.0),
    ];
    check(&mut database, calls, &["workers"]).await;
}
