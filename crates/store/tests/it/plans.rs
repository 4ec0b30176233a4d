//! Goal: frequent queries never read a whole table. Method: a table with a long history and a backlog, and the crate's
//! exact queries (from their committed descriptions) explained with generic plans.

use std::path::Path;

use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::support::Fixture;

/// The text of the query with this name, and its number of parameters.
fn query(name: &str) -> (String, usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx");
    for entry in std::fs::read_dir(folder).expect(".sqlx") {
        let text = std::fs::read_to_string(entry.expect("entry").path()).expect("readable");
        let value: Value = serde_json::from_str(&text).expect("JSON");
        let query = value["query"].as_str().expect("a query");
        if query.split_whitespace().nth(1) == Some(name) {
            let count = value["describe"]["parameters"]["Left"].as_array().map_or(0, Vec::len);
            return (query.to_owned(), count);
        }
    }
    panic!("no query is named {name}");
}

async fn explain(connection: &mut PgConnection, name: &str) -> String {
    let (text, count) = query(name);
    // On a separate line, because the query begins with a comment.
    let prepare = format!("PREPARE explained AS\n{text}");
    sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut *connection).await.expect("prepare");
    let nulls = vec!["NULL"; count].join(", ");
    let call = if count == 0 { "explained".to_owned() } else { format!("explained ({nulls})") };
    let lines: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!("EXPLAIN EXECUTE {call}")))
        .persistent(false)
        .fetch_all(&mut *connection)
        .await
        .expect("explain");
    sqlx::raw_sql("DEALLOCATE explained").execute(connection).await.expect("deallocate");
    lines.join("\n")
}

async fn fill(f: &Fixture) {
    sqlx::raw_sql(
        "INSERT INTO tenants (id, name)
         SELECT ('10000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, 'tenant ' || n FROM generate_series(1, 20) n;
         INSERT INTO jobs (id, tenant_id, prompt, video_size, video_length, infer_steps, quality_tier, seed, seed_drawn,
             cfg_scale, flow_reverse, true_cfg_scale, model_id, width, height, frames, fps, payload_hash, status,
             finished_at, video_key, record, plan, tier, order_at, memory_bytes, estimate_s, pool, lease_token,
             lease_expires_at, idempotency_key)
         SELECT gen_random_uuid(),
             ('10000000-0000-0000-0000-' || lpad((1 + n % 20)::text, 12, '0'))::uuid,
             'a cat', '540p', 129, 0, 'auto', 1, true, 6, true, 1, 'default', 96, 64, 17, 8, '', s.status,
             CASE WHEN s.status = 'completed' THEN now() END, CASE WHEN s.status = 'completed' THEN 'v' || n END,
             CASE WHEN s.status = 'completed' THEN '{}'::jsonb END,
             CASE WHEN n % 50 > 0 THEN '{}'::jsonb END, CASE WHEN n % 50 > 0 THEN 'standard' END,
             CASE WHEN n % 50 > 0 THEN now() END, CASE WHEN n % 50 > 0 THEN 1 END, CASE WHEN n % 50 > 0 THEN 1 END,
             CASE WHEN s.status IN ('scheduled', 'running') THEN 'default.1g' END,
             CASE WHEN s.status = 'running' THEN gen_random_uuid() END, CASE WHEN s.status = 'running' THEN now() END,
             CASE WHEN n % 2 = 0 THEN 'k' || n END
         FROM generate_series(1, 30000) n
         CROSS JOIN LATERAL (SELECT CASE WHEN n % 3000 = 1 THEN 'running' WHEN n % 3000 = 2 THEN 'scheduled'
             WHEN n % 10 = 0 THEN 'queued' ELSE 'completed' END AS status) s;
         INSERT INTO job_events (job_id, tenant_id, kind, txid)
         SELECT id, tenant_id, 'queued', row_number() OVER () FROM jobs;
         INSERT INTO stats_hourly (tenant_id, bucket, model_id, tier, complexity, shard)
         SELECT t.id, b.bucket, 'default', 'standard', 'simple', 0
         FROM tenants t, (SELECT now() - n * interval '1 hour' FROM generate_series(1, 500) n
             UNION ALL SELECT '-infinity') b (bucket);",
    )
    .execute(&f.pool)
    .await
    .expect("fill");
    sqlx::raw_sql("VACUUM ANALYZE").execute(&f.pool).await.expect("analyze");
}

#[tokio::test]
async fn hot_queries_use_their_indexes() {
    let f = Fixture::new().await;
    fill(&f).await;
    let mut connection = f.pool.acquire().await.expect("connection");
    sqlx::raw_sql("SET plan_cache_mode = force_generic_plan").execute(&mut *connection).await.expect("set");
    let hot = [
        ("claim_job", "jobs_pkey"),
        ("renew_lease", "jobs_pkey"),
        ("note_progress", "jobs_pkey"),
        ("complete_job", "jobs_pkey"),
        ("cancel_job", "jobs_pkey"),
        ("load_jobs", "jobs_pkey"),
        ("find_earlier_jobs", "jobs_idempotency"),
        ("unplanned_jobs", "Index Only Scan using jobs_unplanned_by_model"),
        ("fail_unknown_models", "jobs_unplanned_by_model"),
        ("delete_finished_jobs", "jobs_finished"),
        ("save_plans", "jobs_pkey"),
        ("release_jobs", "jobs_backlog_by_tenant"),
        ("release_companions", "jobs_companions"),
        ("release_split_jobs", "jobs_backlog_by_class"),
        ("companions", "jobs_companions"),
        ("pool_loads", "jobs_live"),
        ("backlog_depth", "jobs_backlog_by_tenant"),
        ("backlog_depth", "jobs_unplanned_by_model"),
        ("backlog_depth", "jobs_live"),
        ("expire_leases", "jobs_live"),
        ("reannounce_due", "jobs_live"),
        ("unrelease_dead_pools", "jobs_live"),
        ("list_jobs_of_tenant", "jobs_list"),
        ("list_jobs_of_fleet", "jobs_pkey"),
        ("count_backlog_of_tenant", "jobs_list"),
        ("queue_position", "jobs_backlog_by_tenant"),
        ("recent_runs", "jobs_measured"),
        ("purge_deleted_jobs", "jobs_deleted"),
        ("drop_stale_checkpoints", "jobs_stale_checkpoint"),
        ("events_of_job", "job_events_pkey"),
        // Either is right: the tenant's index, or the fleet's when few other tenants write.
        ("events_of_tenant", "Index Scan using job_events_"),
        ("events_of_fleet", "job_events_fleet"),
        ("stats_of_all_time", "stats_hourly_bucket"),
    ];
    let mut wrong = Vec::new();
    for (name, index) in hot {
        let plan = explain(&mut connection, name).await;
        let scans_all = ["jobs", "job_events", "stats_hourly"].iter().any(|table| {
            plan.lines().any(|line| {
                let line = format!("{line} ");
                line.contains(&format!("Seq Scan on {table} "))
            })
        });
        if scans_all || !plan.contains(index) {
            wrong.push(format!("{name} should use {index}:\n{plan}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
