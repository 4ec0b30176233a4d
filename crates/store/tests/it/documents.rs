//! Goal: releases that store a request in columns and releases that store it as a document run side by side.
//! Method: rows as an earlier release writes them, its reads of new rows, and documents of a later release.

use domain::{QualityTier, StepCacheMode, VideoRequest};
use serde_json::json;
use sqlx::{AssertSqlSafe, Executor};
use store::jobs::{InsertOutcome, NewJob};
use uuid::Uuid;

use crate::support::{Fixture, MODEL, keyed, shape};

/// A request with no field at its default.
fn full_request() -> VideoRequest {
    VideoRequest {
        video_size: "720p".into(),
        aspect_ratio: Some("16:9".into()),
        video_length: 65,
        infer_steps: 12,
        quality_tier: QualityTier::Premium,
        seed: Some(9_007_199_254_740_993),
        cfg_scale: 5.5,
        flow_reverse: false,
        negative_prompt: Some("blur".into()),
        true_cfg_scale: 2.25,
        step_cache: Some(StepCacheMode::Balanced),
        similar_prompts: Some(false),
        model: Some(MODEL.into()),
        deadline_s: Some(600),
        ..VideoRequest::new("a red \"ball\"\nrolls ⚽")
    }
}

/// The text that the first releases hashed for [`full_request`].
const FULL_REQUEST: &str = r#"{"prompt":"a red \"ball\"\nrolls ⚽","video_size":"720p","aspect_ratio":"16:9","video_length":65,"infer_steps":12,"quality_tier":"premium","seed":9007199254740993,"cfg_scale":5.5,"flow_reverse":false,"negative_prompt":"blur","true_cfg_scale":2.25,"step_cache":"balanced","similar_prompts":false,"model":"default","deadline_s":600}"#;

/// A row of [`full_request`] without a document, as earlier releases write it.
async fn insert_as_columns(f: &Fixture, key: &str) -> Uuid {
    sqlx::query_scalar(
        "INSERT INTO jobs (id, tenant_id, prompt, video_size, aspect_ratio, video_length, infer_steps, quality_tier, seed,
             seed_drawn, cfg_scale, flow_reverse, negative_prompt, true_cfg_scale, step_cache, similar_prompts, model_id,
             deadline_s, deadline_at, width, height, frames, fps, idempotency_key, payload_hash)
         VALUES ($1, $2, $3, '720p', '16:9', 65, 12, 'premium', 9007199254740993, false, 5.5, false, 'blur', 2.25, 'balanced',
             false, 'default', 600, clock_timestamp() + interval '600 s', 96, 64, 17, 8, $4, $5)
         RETURNING id",
    )
    .bind(Uuid::now_v7())
    .bind(f.tenant.0)
    .bind(full_request().prompt)
    .bind(key)
    .bind(blake3::hash(FULL_REQUEST.as_bytes()).as_bytes().as_slice())
    .fetch_one(&f.pool)
    .await
    .expect("insert")
}

fn submission(request: VideoRequest, key: &str) -> NewJob {
    let mut job = NewJob::new(domain::TenantId::DEFAULT, request, MODEL, shape());
    job.idempotency_key = Some(key.into());
    job
}

#[tokio::test]
async fn a_row_of_columns_reads_back_and_is_replayed() {
    let f = Fixture::new().await;
    let id = insert_as_columns(&f, "k").await;
    assert_eq!(f.get(domain::JobId(id)).await.request, full_request());
    let again = f.store.insert(&submission(full_request(), "k")).await.expect("insert");
    assert!(matches!(&again, InsertOutcome::Replayed(job) if job.id.0 == id), "{again:?}");
    let other = VideoRequest { infer_steps: 13, ..full_request() };
    assert_eq!(f.store.insert(&submission(other, "k")).await.expect("insert"), InsertOutcome::KeyReused);
}

#[tokio::test]
async fn earlier_releases_read_the_columns_of_new_rows() {
    let f = Fixture::new().await;
    let old = insert_as_columns(&f, "old").await;
    let new = f.insert(submission(full_request(), "new")).await.id;
    let columns =
        "prompt, video_size, aspect_ratio, video_length, infer_steps, quality_tier, seed, seed_drawn, cfg_scale,
        flow_reverse, negative_prompt, true_cfg_scale, step_cache, similar_prompts, model_id, deadline_s,
        round(extract(epoch FROM deadline_at - created_at)) AS deadline";
    let rows: Vec<serde_json::Value> = sqlx::query_scalar(AssertSqlSafe(format!(
        "SELECT to_jsonb(one) FROM (SELECT {columns} FROM jobs WHERE id IN ($1, $2)) AS one"
    )))
    .bind(old)
    .bind(new.0)
    .fetch_all(&f.pool)
    .await
    .expect("rows");
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0], rows[1]);
}

#[tokio::test]
async fn a_document_of_another_release_is_read_leniently() {
    let f = Fixture::new().await;
    let job = f.insert(submission(full_request(), "k")).await;
    let change = "UPDATE jobs SET request = (request || $2) - 'similar_prompts' WHERE id = $1";
    let more = json!({ "a_later_field": {"x": 1} });
    sqlx::query(change).bind(job.id.0).bind(more).execute(&f.pool).await.expect("a later release's document");
    assert_eq!(f.get(job.id).await.request, VideoRequest { similar_prompts: None, ..full_request() });
}

/// The next release stops writing the columns while this one still runs.
#[tokio::test]
async fn the_superseded_columns_are_not_needed() {
    let f = Fixture::new().await;
    let job = f.insert(submission(full_request(), "k")).await;
    let superseded = [
        "video_size",
        "aspect_ratio",
        "video_length",
        "infer_steps",
        "quality_tier",
        "seed",
        "cfg_scale",
        "flow_reverse",
        "negative_prompt",
        "true_cfg_scale",
        "step_cache",
        "similar_prompts",
        "deadline_s",
    ];
    for column in superseded {
        let contract = format!("ALTER TABLE jobs ALTER {column} DROP NOT NULL; UPDATE jobs SET {column} = NULL");
        f.pool.execute(sqlx::raw_sql(AssertSqlSafe(contract))).await.expect(column);
    }
    assert_eq!(f.get(job.id).await.request, full_request());
    f.store.cancel(f.scope(), job.id).await.expect("cancel");
    f.store.retry(f.scope(), job.id).await.expect("retry");
    let remaining_s: f64 =
        sqlx::query_scalar("SELECT extract(epoch FROM deadline_at - clock_timestamp())::float8 FROM jobs")
            .fetch_one(&f.pool)
            .await
            .expect("a deadline");
    assert!(remaining_s > 500.0, "the deadline comes from the document, not {remaining_s}");
}

#[tokio::test]
async fn only_a_filled_in_request_is_stored() {
    let f = Fixture::new().await;
    let mut open = keyed(f.tenant, "k", "a cat");
    open.request.seed = None;
    assert!(f.store.insert(&open).await.is_err());
}
