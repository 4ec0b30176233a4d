//! Goal: batching, several GPUs per video, interpolation, distilled models and speculative candidates need no migration
//! that locks, and this release keeps working beside them (docs/decisions/0005 to 0009).
//! Method: the additions that those records name, made while rows are in use; then this release's own calls.

use std::time::Duration;

use serde_json::json;
use sqlx::{Acquire, Executor};

use crate::support::{Fixture, record, rendered};

/// One statement per addition; a file in `migrations/` would contain them unchanged.
const ADDITIONS: [&str; 6] = [
    // 0005, 0006: how a worker computed it.
    "ALTER TABLE jobs ADD COLUMN batch_id uuid",
    "ALTER TABLE workers ADD COLUMN interconnect text NOT NULL DEFAULT ''",
    // 0007: what was rendered before frames were interpolated.
    "ALTER TABLE jobs ADD COLUMN frames_rendered integer",
    // 0009: which job this one is a candidate for.
    "ALTER TABLE jobs ADD COLUMN candidate_of uuid",
    "ALTER TABLE jobs DROP CONSTRAINT jobs_stage_check",
    "ALTER TABLE jobs ADD CONSTRAINT jobs_stage_check CHECK (stage IN ('prepare', 'encode', 'denoise', 'interpolate', 'decode', 'deliver')) NOT VALID",
];

/// The file that holds a table's rows; a different one means that all rows were rewritten.
async fn place(f: &Fixture, table: &str) -> i64 {
    let oid = sqlx::query_scalar("SELECT pg_relation_filenode($1::regclass)::bigint").bind(table);
    oid.fetch_one(&f.pool).await.expect("a table")
}

#[tokio::test]
async fn additions_rewrite_nothing_and_this_release_keeps_working() {
    let f = Fixture::new().await;
    let (lease, waiting) = (f.running().await, f.planned().await);
    let before = (place(&f, "jobs").await, place(&f, "workers").await);
    let mut connection = f.pool.acquire().await.expect("a connection");
    connection.execute("SET lock_timeout = '10s'").await.expect("set");
    for addition in ADDITIONS {
        connection.execute(addition).await.expect(addition);
    }
    assert_eq!((place(&f, "jobs").await, place(&f, "workers").await), before, "no row was rewritten");

    // Validating old rows takes a lock under which everyone can still read and write.
    let mut checking = connection.begin().await.expect("begin");
    checking.execute("ALTER TABLE jobs VALIDATE CONSTRAINT jobs_stage_check").await.expect("validate");
    let renewed = tokio::time::timeout(Duration::from_secs(60), f.store.renew(lease, 60.0)).await;
    renewed.expect("a renewal does not wait for the check").expect("the lease holds");
    checking.commit().await.expect("commit");

    f.store.complete(lease, &rendered(lease), &record()).await.expect("complete");
    assert!(f.get(waiting).await.plan.is_some());
    f.completed().await;
}

/// A later release writes more into the plan and the record; this release reads them while both run side by side.
#[tokio::test]
async fn plans_and_records_may_have_more_fields() {
    let f = Fixture::new().await;
    // In this order, because creating a completed job releases every waiting job.
    let (completed, planned) = (f.completed().await, f.planned().await);
    let more = json!({ "batch_max": 4, "devices": 8, "render_frames": 61, "interpolate_to": 129, "candidates": 4 });
    let measured = json!({ "interpolate_s": 1.5, "batch_size": 2, "ranks": ["cuda:0", "cuda:1"] });
    sqlx::query("UPDATE jobs SET plan = plan || $2 WHERE id = $1")
        .bind(planned.0)
        .bind(&more)
        .execute(&f.pool)
        .await
        .expect("more");
    sqlx::query("UPDATE jobs SET record = record || $2 WHERE id = $1")
        .bind(completed.0)
        .bind(&measured)
        .execute(&f.pool)
        .await
        .expect("more");
    assert_eq!(f.get(planned).await.plan.expect("a plan").steps, crate::support::plan().steps);
    assert_eq!(f.get(completed).await.record.expect("a record"), record());
    // It is claimed and rendered like any other job, and the additional fields remain.
    let released = f.store.release(&crate::support::pool(), 10, f.epoch).await.expect("release");
    let this = released.iter().find(|released| released.job_id == planned).expect("released");
    let lease = f.claim(planned, this.dispatch_no, 60.0).await.lease;
    f.store.complete(lease, &rendered(lease), &record()).await.expect("complete");
    let kept: serde_json::Value = sqlx::query_scalar("SELECT plan FROM jobs WHERE id = $1")
        .bind(planned.0)
        .fetch_one(&f.pool)
        .await
        .expect("the plan");
    assert_eq!((&kept["devices"], &kept["candidates"]), (&json!(8), &json!(4)));
}
