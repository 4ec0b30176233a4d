//! Goal: a fleet of this release continues with the jobs of earlier releases, in every state.
//! Method: the schema of such a release with rows as it wrote them, then this release's processes on that database.

use std::path::Path;

use serde_json::{Value, json};
use sqlx::migrate::Migrator;
use sqlx::{Connection, Executor, PgConnection};
use testkit::{Fleet, FleetOptions, postgres, services};

/// Schema version of the first release.
const FIRST_RELEASE: i64 = 1;
/// Schema version of the last release that stored requests only in columns.
const REQUEST_COLUMNS: i64 = 7;

/// Number `n` of the rows in `data/`.
fn job(n: u32) -> String {
    format!("01900000-0000-7000-8000-00000000000{n}")
}

/// A database at the schema version of an earlier release, with that release's rows; returns its address.
async fn left_behind(version: i64, rows: &str) -> String {
    let url = postgres::empty_database(services()).await;
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let all = Migrator::new(here.join("../../migrations")).await.expect("the migrations can be read");
    let mut database = PgConnection::connect(&url).await.expect("the database answers");
    all.run_to(version, &mut database).await.expect("the release's migrations apply");
    let rows = std::fs::read_to_string(here.join("tests/data").join(rows)).expect("the rows");
    database.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(rows))).await.expect("the rows fit the release's schema");
    url
}

#[tokio::test]
async fn jobs_of_the_first_release_are_finished_shown_and_retried() {
    let url = left_behind(FIRST_RELEASE, "first_release.sql").await;
    let options = FleetOptions::default()
        .with("FLEET__DATABASE__URL", &url)
        .with("FLEET__WORKER__LEASE_S", "4")
        .with("FLEET__WORKER__HEARTBEAT_S", "1")
        .with("FLEET__SCHEDULER__SWEEP_MS", "300")
        .with("FLEET__SCHEDULER__BACKOFF_MIN_S", "1")
        .with("FLEET__SCHEDULER__REANNOUNCE_MIN_S", "1");
    let fleet = Fleet::prepare(options).await;
    let video = fleet.folder().join("artifacts").join(job(5)).join("20000000-0000-4000-8000-000000000005");
    std::fs::create_dir_all(&video).expect("a folder");
    std::fs::write(video.join("video.mp4"), b"video").expect("a video");
    std::fs::write(video.join("poster.jpg"), b"poster").expect("a poster");

    let _api = fleet.api();
    fleet.until_api_ready().await;
    // Finished jobs are unchanged.
    assert_eq!(fleet.video(&job(5)).await, b"video");
    let completed = fleet.job(&job(5)).await.expect("the job");
    assert_eq!(completed["optimization"]["final_steps"], 4, "{completed}");
    let failed = fleet.job(&job(6)).await.expect("the job");
    assert_eq!(failed["status"], "failed", "{failed}");
    assert!(failed.to_string().contains("the device had no room"), "{failed}");
    assert_eq!(fleet.job(&job(7)).await.expect("the job")["status"], "cancelled");

    // The other jobs complete: unplanned, planned, released, running on a dead worker.
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

#[tokio::test]
async fn requests_stored_in_columns_are_shown_and_replayed() {
    let url = left_behind(REQUEST_COLUMNS, "request_columns.sql").await;
    let fleet = Fleet::prepare(FleetOptions::default().with("FLEET__DATABASE__URL", &url)).await;
    let _api = fleet.api();
    fleet.until_api_ready().await;
    let request = json!({ "prompt": "a large red ball moves to the right on the snow", "infer_steps": 4,
        "negative_prompt": "grass", "true_cfg_scale": 1.5, "deadline_s": 600 });
    let shown = fleet.job(&job(1)).await.expect("the job");
    for (field, value) in request.as_object().expect("fields") {
        assert_eq!(&shown["request"][field], value, "{field}");
    }
    assert_eq!((&shown["request"]["seed"], &shown["request"]["model"]), (&json!(1), &json!("default")));

    let send = async |path: &str, key: &str, body: &Value| {
        let call = fleet.client.post(format!("{}{path}", fleet.api_url)).header("Idempotency-Key", key).json(body);
        let answer = call.send().await.expect("an answer");
        (answer.status().as_u16(), answer.json::<Value>().await.expect("JSON"))
    };
    let (status, again) = send("/api/generate", "one", &request).await;
    assert_eq!((status, &again["job_id"]), (202, &json!(job(1))), "{again}");
    let batch = json!({ "requests": [{ "prompt": "one" }, { "prompt": "two" }] });
    let (status, again) = send("/api/generate/batch", "many", &batch).await;
    assert_eq!(status, 202, "{again}");
    for (at, n) in [(0, 2), (1, 3)] {
        let item = &again["jobs"][at];
        assert_eq!((&item["created"], &item["job"]["job_id"]), (&json!(false), &json!(job(n))), "{item}");
    }
    let (status, refused) = send("/api/generate", "one", &json!({ "prompt": "another" })).await;
    assert_eq!(status, 422, "{refused}");
}
