//! Goal: jobs that nobody can plan keep no other job from being planned, and end with a reason.
//! Method: a real scheduler, and rows of a model that no folder describes in front of a job of the default model.

use serde_json::json;
use sqlx::PgPool;
use testkit::{Fleet, FleetOptions, eventually_seen};

/// More than a batch of planning.
const UNKNOWN: i64 = 40;

/// Waits until `holds` returns true.
async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    eventually_seen(what, async || if holds().await { Ok(()) } else { Err("not yet".to_owned()) }).await;
}

#[tokio::test]
async fn jobs_of_an_unknown_model_stop_no_planning_and_fail_with_a_reason() {
    let options = FleetOptions::default()
        .with("FLEET__SCHEDULER__PLAN_BATCH", "10")
        .with("FLEET__SCHEDULER__SWEEP_MS", "200")
        // The second scheduler replaces one that is killed.
        .with("FLEET__SCHEDULER__LEADER_TTL_S", "3")
        .with("FLEET__SCHEDULER__UNKNOWN_MODEL_GRACE_S", "3600");
    let fleet = Fleet::prepare(options).await;
    let _api = fleet.api();
    fleet.until_api_ready().await;
    let database = PgPool::connect(fleet.variable("FLEET__DATABASE__URL")).await.expect("the database answers");
    let request = json!({ "prompt": "a large red ball moves to the right on the snow", "infer_steps": 4 });
    fleet.submit(&request).await;
    // Copies of a real row under older ids, so that they are in front of every later job.
    let copies = "
        INSERT INTO jobs (id, tenant_id, prompt, video_size, video_length, infer_steps, quality_tier, seed, seed_drawn,
            cfg_scale, flow_reverse, true_cfg_scale, model_id, request, width, height, frames, fps, status, payload_hash)
        SELECT ('01900000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, tenant_id, prompt, video_size, video_length,
            infer_steps, quality_tier, seed, seed_drawn, cfg_scale, flow_reverse, true_cfg_scale, 'unknown', request,
            width, height, frames, fps, 'queued', payload_hash
        FROM jobs, generate_series(1, $1) AS n";
    sqlx::query(copies).bind(UNKNOWN).execute(&database).await.expect("copies");

    let patient = fleet.scheduler("scheduler");
    let count = async |condition: &str| -> i64 {
        let text = format!("SELECT count(*) FROM jobs WHERE {condition}");
        sqlx::query_scalar(sqlx::AssertSqlSafe(text)).fetch_one(&database).await.expect("a count")
    };
    until("the known job is planned", async || count("plan IS NOT NULL").await == 1).await;
    assert_eq!(count("model_id = 'unknown' AND status = 'queued' AND plan IS NULL").await, UNKNOWN);
    drop(patient);

    let _impatient = fleet.scheduler_with("impatient", &[("FLEET__SCHEDULER__UNKNOWN_MODEL_GRACE_S", "0")]);
    let failed = "model_id = 'unknown' AND status = 'failed' AND failure_code = 'unknown_model'";
    until("the others fail", async || count(failed).await == UNKNOWN).await;
    assert_eq!(count("status = 'failed'").await, UNKNOWN);
}

/// A model that another process registered while the scheduler runs is planned, without a folder or a restart.
#[tokio::test]
async fn the_scheduler_plans_models_that_only_the_database_knows() {
    let fleet = Fleet::prepare(FleetOptions::default()).await;
    let _api = fleet.api();
    fleet.until_api_ready().await;
    let _scheduler = fleet.scheduler("scheduler");
    let database = PgPool::connect(fleet.variable("FLEET__DATABASE__URL")).await.expect("the database answers");
    fleet.submit(&json!({ "prompt": "a large red ball moves to the right on the snow", "infer_steps": 4 })).await;
    let register = "INSERT INTO models (id, manifest, weights_fingerprint, encoders_fingerprint)
        SELECT 'other', jsonb_set(manifest, '{id}', '\"other\"'), weights_fingerprint, encoders_fingerprint FROM models";
    sqlx::query(register).execute(&database).await.expect("register");
    let renamed = "INSERT INTO jobs (id, tenant_id, prompt, video_size, video_length, infer_steps, quality_tier, seed,
            seed_drawn, cfg_scale, flow_reverse, true_cfg_scale, model_id, request, width, height, frames, fps, status,
            payload_hash)
        SELECT gen_random_uuid(), tenant_id, prompt, video_size, video_length, infer_steps, quality_tier, seed, seed_drawn,
            cfg_scale, flow_reverse, true_cfg_scale, 'other', request, width, height, frames, fps, 'queued', payload_hash
        FROM jobs";
    sqlx::query(renamed).execute(&database).await.expect("copy");
    let planned = "SELECT count(*) FROM jobs WHERE model_id = 'other' AND plan IS NOT NULL";
    until("the other model's job is planned", async || {
        let count: i64 = sqlx::query_scalar(planned).fetch_one(&database).await.expect("a count");
        count == 1
    })
    .await;
}
