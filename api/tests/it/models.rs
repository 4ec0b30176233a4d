//! Models that are registered, retired and restored while the API runs.

use reqwest::StatusCode;
use serde_json::json;

use crate::app::TestApp;

#[tokio::test]
async fn a_retired_model_accepts_no_new_jobs_and_its_jobs_are_still_shown() {
    let app = TestApp::spawn().await;
    let id = app.submit("a red ball rolls down a hill").await;
    let body = json!({ "prompt": "a red ball", "model": "default" });
    assert!(app.store.set_model_retired("default", true).await.unwrap());
    app.state.models.take_over(app.store.models().await.unwrap());
    for body in [&body, &json!({ "prompt": "a red ball" })] {
        let (status, problem) = app.post("/api/generate", body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
        let text = problem.to_string();
        assert!(text.contains("\"model\"") && text.contains("'default' is retired"), "{text}");
    }
    let (_, models) = app.get("/api/models").await;
    assert_eq!(models["models"], json!([]));
    // The job that was accepted before keeps its forecast.
    let (status, job) = app.get(&format!("/api/jobs/{id}")).await;
    assert_eq!((status, &job["status"]), (StatusCode::OK, &json!("queued")), "{job}");
    assert!(job["optimization"]["final_steps"].is_u64(), "{job}");

    assert!(app.store.set_model_retired("default", false).await.unwrap());
    app.state.models.take_over(app.store.models().await.unwrap());
    let (status, job) = app.post("/api/generate", &body).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{job}");
}

/// The database counts, not this process's own folders alone.
#[tokio::test]
async fn a_model_that_another_process_registers_is_offered() {
    let app = TestApp::spawn().await;
    let mut other = (*app.state.models.find(None).unwrap()).clone();
    "other".clone_into(&mut other.id);
    app.store.upsert_model(&other).await.unwrap();
    app.state.models.take_over(app.store.models().await.unwrap());
    let (status, job) = app.post("/api/generate", &json!({ "prompt": "a red ball", "model": "other" })).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{job}");
}
