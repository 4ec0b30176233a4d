//! Goal: a fleet of this release goes on with what the first release left, in whatever state it was.
//! Method: the first release's schema with rows as it wrote them, then this release's processes on that database.

use std::path::Path;

use serde_json::{Value, json};
use sqlx::migrate::Migrator;
use sqlx::{Connection, Executor, PgConnection};
use testkit::{Fleet, FleetOptions, postgres, services};

/// Schema version of the first release.
const FIRST_RELEASE: i64 = 1;

/// Number `n` of `data/first_release.sql`.
fn job(n: u32) -> String {
    format!("01900000-0000-7000-8000-00000000000{n}")
}

/// A database that the first release had worked on; answers its address.
async fn left_by_the_first_release() -> String {
    let url = postgres::empty_database(services()).await;
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let all = Migrator::new(here.join("../../migrations")).await.expect("the migrations can be read");
    let mut database = PgConnection::connect(&url).await.expect("the database answers");
    all.run_to(FIRST_RELEASE, &mut database).await.expect("the first release's migration applies");
    let rows = std::fs::read_to_string(here.join("tests/data/first_release.sql")).expect("the rows");
    database.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(rows))).await.expect("the rows fit the first release's schema");
    url
}

#[tokio::test]
async fn jobs_of_the_first_release_are_finished_shown_and_retried() {
    let url = left_by_the_first_release().await;
    let options = FleetOptions::default()
        .with("FLEET__DATABASE__URL", &url)
        .with("FLEET__WORKER__LEASE_S", "4")
        .with("FLEET__WORKER__HEARTBEAT_S", "1")
        .with("FLEET__SCHEDULER__SWEEP_MS", "300")
        .with("FLEET__SCHEDULER__REANNOUNCE_MIN_S", "1");
    let fleet = Fleet::prepare(options).await;
    let video = fleet.folder().join("artifacts").join(job(5)).join("20000000-0000-4000-8000-000000000005");
    std::fs::create_dir_all(&video).expect("a folder");
    std::fs::write(video.join("video.mp4"), b"video").expect("a video");
    std::fs::write(video.join("poster.jpg"), b"poster").expect("a poster");

    let _api = fleet.api();
    fleet.until_api_ready().await;
    // What had ended is as it was.
    assert_eq!(fleet.video(&job(5)).await, b"video");
    let completed = fleet.job(&job(5)).await.expect("the job");
    assert_eq!(completed["optimization"]["final_steps"], 4, "{completed}");
    let failed = fleet.job(&job(6)).await.expect("the job");
    assert_eq!(failed["status"], "failed", "{failed}");
    assert!(failed.to_string().contains("the device had no room"), "{failed}");
    assert_eq!(fleet.job(&job(7)).await.expect("the job")["status"], "cancelled");

    // What had not ended does: unplanned, planned, released, running on a worker that is gone.
    let _others = (fleet.scheduler("scheduler"), fleet.worker("worker-1"));
    for n in 1..=4 {
        let ended = fleet.until_status(&job(n), &["completed", "failed"]).await;
        assert_eq!(ended["status"], "completed", "{ended}");
    }
    // Another run of a failed one, and a new one.
    let retry =
        fleet.client.post(format!("{}/api/jobs/{}/retry", fleet.api_url, job(6))).send().await.expect("an answer");
    assert!(retry.status().is_success(), "{}", retry.status());
    let new =
        fleet.submit(&json!({ "prompt": "a large red ball moves to the right on the snow", "infer_steps": 4 })).await;
    for id in [job(6), new["job_id"].as_str().expect("an id").to_owned()] {
        let ended = fleet.until_status(&id, &["completed"]).await;
        assert_eq!(ended["status"], "completed", "{ended}");
    }
    let stats: Value = fleet
        .client
        .get(format!("{}/api/stats", fleet.api_url))
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert_eq!((&stats["total_generations"], &stats["completed"]), (&json!(8), &json!(7)), "{stats}");
}
