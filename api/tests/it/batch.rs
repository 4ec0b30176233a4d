//! `POST /api/generate/batch`.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::app::{TestApp, answer, blamed};

fn prompts(count: usize) -> Value {
    json!({ "requests": (0..count).map(|n| json!({"prompt": format!("ball number {n}")})).collect::<Vec<_>>() })
}

#[tokio::test]
async fn all_requests_become_jobs_in_order() {
    let app = TestApp::spawn().await;
    let (status, batch) = app.post("/api/generate/batch", &prompts(1000)).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let jobs = batch["jobs"].as_array().unwrap();
    assert_eq!(jobs.len(), 1000);
    for (index, item) in jobs.iter().enumerate() {
        assert_eq!(item["index"], index);
        assert_eq!(item["created"], true);
        assert_eq!(item["job"]["request"]["prompt"], format!("ball number {index}"));
    }
    let (_, stats) = app.get("/api/stats").await;
    assert_eq!(stats["total_generations"], 1000);
}

#[tokio::test]
async fn one_invalid_item_rejects_the_whole_batch() {
    let app = TestApp::spawn().await;
    let mut body = prompts(3);
    body["requests"][1]["video_length"] = json!(4);
    body["requests"][2]["prompt"] = json!("");
    let (status, problem) = app.post("/api/generate/batch", &body).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(blamed(&problem), ["requests[1].video_length", "requests[2].prompt"]);
    for body in [prompts(0), prompts(1001)] {
        let (status, problem) = app.post("/api/generate/batch", &body).await;
        assert_eq!((status, blamed(&problem)), (StatusCode::UNPROCESSABLE_ENTITY, vec!["requests"]));
    }
    let (_, list) = app.get("/api/jobs").await;
    assert_eq!(list["jobs"], json!([]));
}

#[tokio::test]
async fn a_repeated_batch_returns_the_same_jobs_and_a_different_one_is_rejected() {
    let app = TestApp::spawn().await;
    let send =
        |body: Value| answer(app.call(Method::POST, "/api/generate/batch").header("Idempotency-Key", "b").json(&body));
    let (_, first) = send(prompts(3)).await;
    let (status, second) = send(prompts(3)).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    for index in 0..3 {
        assert_eq!(first["jobs"][index]["job"]["job_id"], second["jobs"][index]["job"]["job_id"]);
        assert_eq!(second["jobs"][index]["created"], false);
    }
    // A longer batch with the same key must not add its extra items.
    let (status, _) = send(prompts(4)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let (_, list) = app.get("/api/jobs").await;
    assert_eq!(list["jobs"].as_array().unwrap().len(), 3);
}
