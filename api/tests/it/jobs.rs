//! Reading, listing, cancelling, retrying, deleting and restoring jobs.

use domain::{JobId, Stage};
use reqwest::{Method, StatusCode};
use serde_json::json;
use store::leases::ProgressMark;

use crate::app::{TestApp, answer, blamed};

#[tokio::test]
async fn an_unknown_id_is_not_found_whatever_it_looks_like() {
    let app = TestApp::spawn().await;
    for id in [JobId::fresh().to_string(), "7".to_owned(), "..%2f".to_owned()] {
        for (method, path) in [
            (Method::GET, ""),
            (Method::DELETE, ""),
            (Method::POST, "/cancel"),
            (Method::POST, "/retry"),
            (Method::GET, "/events"),
        ] {
            let (status, problem) = answer(app.call(method, &format!("/api/jobs/{id}{path}"))).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{path} {problem}");
        }
    }
}

#[tokio::test]
async fn pages_follow_one_another_newest_first() {
    let app = TestApp::spawn().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(app.submit(&format!("prompt {n}")).await.to_string());
    }
    ids.reverse();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let (status, page) = app.get(&format!("/api/jobs?limit=2{cursor}")).await;
        assert_eq!(status, StatusCode::OK);
        seen.extend(page["jobs"].as_array().unwrap().iter().map(|job| job["job_id"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ids);
}

#[tokio::test]
async fn lists_can_be_searched_and_filtered() {
    let app = TestApp::spawn().await;
    let whale = app.submit("A Whale sings").await;
    let fox = app.submit("a fox runs").await;
    app.post(&format!("/api/jobs/{fox}/cancel"), &json!({})).await;
    let ids = async |query: &str| -> Vec<String> {
        let (_, page) = app.get(&format!("/api/jobs?{query}")).await;
        page["jobs"].as_array().unwrap().iter().map(|job| job["job_id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids("q=whale").await, [whale.to_string()]);
    assert_eq!(ids("status=cancelled").await, [fox.to_string()]);
    assert_eq!(ids("status=queued,cancelled").await.len(), 2);
    assert_eq!(ids("model=default").await.len(), 2);
    assert_eq!(ids("model=other").await.len(), 0);
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("cursor=x", "cursor"),
        ("status=done", "status"),
        ("page=1", "page"),
        ("tier=best", "tier"),
        ("q=a%00b", "q"),
        ("model=a%00b", "model"),
    ] {
        let (status, problem) = app.get(&format!("/api/jobs?{query}")).await;
        assert_eq!((status, blamed(&problem)), (StatusCode::UNPROCESSABLE_ENTITY, vec![field]), "{query}");
    }
}

#[tokio::test]
async fn a_waiting_job_is_cancelled_at_once_and_can_be_retried() {
    let app = TestApp::spawn().await;
    let job = app.submit("a kite").await;
    let cancel = format!("/api/jobs/{job}/cancel");
    for _ in 0..2 {
        let (status, body) = app.post(&cancel, &json!({})).await;
        assert_eq!((status, &body["status"]), (StatusCode::OK, &json!("cancelled")));
    }
    let (status, body) = app.post(&format!("/api/jobs/{job}/retry"), &json!({})).await;
    assert_eq!((status, &body["status"]), (StatusCode::ACCEPTED, &json!("queued")));
    let (status, problem) = app.post(&format!("/api/jobs/{job}/retry"), &json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
}

#[tokio::test]
async fn a_running_job_is_asked_to_stop_and_a_completed_one_cannot_be_cancelled() {
    let app = TestApp::spawn().await;
    let job = app.submit("a boat").await;
    let lease = app.claim(job).await;
    app.store.progress(lease, ProgressMark { stage: Stage::Denoise, step: 7, steps_skipped: 2 }).await.unwrap();
    let (_, body) = app.get(&format!("/api/jobs/{job}")).await;
    assert_eq!(body["status"], "running");
    assert_eq!(body["progress"], json!({"stage": "denoise", "step": 7, "steps": 25}));
    let (status, body) = app.post(&format!("/api/jobs/{job}/cancel"), &json!({})).await;
    assert_eq!((status, &body["cancel_requested"]), (StatusCode::ACCEPTED, &json!(true)));

    let other = app.submit("a ship").await;
    let lease = app.claim(other).await;
    app.complete(lease, b"video").await;
    let (status, problem) = app.post(&format!("/api/jobs/{other}/cancel"), &json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT);
    insta::assert_json_snapshot!(problem["detail"], @r#""the job is already completed and cannot be cancelled""#);
}

#[tokio::test]
async fn a_deleted_job_is_hidden_until_it_is_restored() {
    let app = TestApp::spawn().await;
    let job = app.submit("a tree").await;
    let path = format!("/api/jobs/{job}");
    assert_eq!(answer(app.call(Method::DELETE, &path)).await.0, StatusCode::NO_CONTENT);
    assert_eq!(app.get("/api/jobs").await.1["jobs"], json!([]));
    assert_eq!(app.get("/api/jobs?deleted=true").await.1["jobs"].as_array().unwrap().len(), 1);
    let (status, body) = app.post(&format!("{path}/restore"), &json!({})).await;
    assert_eq!((status, &body["status"], &body["deleted_at"]), (StatusCode::OK, &json!("cancelled"), &json!(null)));
    assert_eq!(app.get("/api/jobs").await.1["jobs"].as_array().unwrap().len(), 1);
}
