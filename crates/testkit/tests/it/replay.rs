//! Goal: a finished job can be rendered again to the same bytes, on the default model and real services; and where that is not
//! possible, the fleet says why.

use std::time::Duration;

use nix::sys::signal::Signal;
use reqwest::StatusCode;
use serde_json::{Value, json};
use testkit::{Fleet, FleetOptions, eventually_seen};

/// Longest wait for the end of a worker. It only matters if the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

async fn post(fleet: &Fleet, path: &str) -> (StatusCode, Value) {
    let response = fleet.client.post(format!("{}{path}", fleet.api_url)).send().await.expect("a response");
    (response.status(), response.json().await.expect("JSON"))
}

async fn get(fleet: &Fleet, path: &str) -> Value {
    let response = fleet.client.get(format!("{}{path}", fleet.api_url)).send().await.expect("a response");
    response.json().await.expect("JSON")
}

async fn completed(fleet: &Fleet, request: &Value) -> String {
    let id = fleet.submit(request).await["job_id"].as_str().expect("an id").to_owned();
    let job = fleet.until_status(&id, &["completed", "failed", "cancelled"]).await;
    assert_eq!(job["status"], "completed", "{job}");
    id
}

#[tokio::test]
async fn a_replay_is_identical_and_another_worker_is_not_used() {
    let (fleet, mut processes) = Fleet::start(FleetOptions::default().with("FLEET__WORKER__THREADS", "1")).await;
    let request = json!({ "prompt": "a green star moves to the left at night", "seed": 21, "video_length": 33 });
    let original = completed(&fleet, &request).await;
    let (status, replay) = post(&fleet, &format!("/api/jobs/{original}/replay")).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{replay}");
    assert_eq!(replay["replays"], original.as_str());
    let id = replay["job_id"].as_str().expect("an id");
    fleet.until_status(id, &["completed", "failed", "cancelled"]).await;
    let report = get(&fleet, &format!("/api/jobs/{id}/replay")).await;
    assert_eq!((&report["verdict"], &report["differences"]), (&json!("identical"), &json!([])), "{report}");
    assert_eq!(fleet.video(id).await, fleet.video(&original).await);
    let hash = get(&fleet, &format!("/api/jobs/{id}")).await["record"]["reproduction"]["video_sha256"].clone();
    assert_eq!(hash.as_str().map(str::len), Some(64), "SHA-256 in hex");

    // The record of a job that is not completed holds nothing to compare with.
    let waiting = fleet.submit(&json!({ "prompt": "a red circle stays", "infer_steps": 100 })).await;
    let waiting = waiting["job_id"].as_str().expect("an id");
    let (status, refused) = post(&fleet, &format!("/api/jobs/{waiting}/replay")).await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");
    post(&fleet, &format!("/api/jobs/{waiting}/cancel")).await;

    // A worker with another number of threads gives other bytes, so the replay waits for none like the first, and is refused.
    // The first one signs off, which a killed one would not: it would count as online until its heartbeats have been missing for a while.
    let worker = processes.last_mut().expect("the worker");
    worker.signal(Signal::SIGTERM);
    let ended = worker.until_ended(PATIENCE).await;
    assert!(ended.success(), "{ended}: {}", worker.log());
    let _other = fleet.worker_with("worker-2", &[("FLEET__WORKER__THREADS", "2")]);
    eventually_seen("only the other worker is online", || async {
        let (status, refused) = post(&fleet, &format!("/api/jobs/{original}/replay")).await;
        let detail = refused["detail"].as_str().unwrap_or_default().to_owned();
        match status == StatusCode::CONFLICT && detail.contains("threads (needed: 1; online: 2)") {
            true => Ok(()),
            false => Err(format!("{status} {detail}")),
        }
    })
    .await;
}
