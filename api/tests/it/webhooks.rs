//! Webhooks: their own routes, the request's fields, and what tenants see of each other.

use reqwest::{Method, StatusCode};
use serde_json::json;
use settings::KeysMode;
use store::keys::Role;

use crate::app::{TestApp, answer, blamed};
use crate::auth::issue;

#[tokio::test]
async fn webhooks_are_created_changed_listed_and_deleted() {
    let app = TestApp::spawn().await;
    let url = "https://example.com/hook";
    let (status, created) = app.post("/api/webhooks", &json!({ "url": url })).await;
    assert_eq!((status, &created["events"]), (StatusCode::CREATED, &json!(["completed", "failed", "cancelled"])));
    let (_, changed) = app.post("/api/webhooks", &json!({ "url": url, "events": ["running"] })).await;
    assert_eq!((&changed["webhook_id"], &changed["events"]), (&created["webhook_id"], &json!(["running"])));
    let (_, list) = app.get("/api/webhooks").await;
    assert_eq!(list["webhooks"], json!([changed]));
    let path = format!("/api/webhooks/{}", created["webhook_id"].as_str().unwrap());
    assert_eq!(answer(app.call(Method::DELETE, &path)).await.0, StatusCode::NO_CONTENT);
    assert_eq!(answer(app.call(Method::DELETE, &path)).await.0, StatusCode::NOT_FOUND);
    assert_eq!(answer(app.call(Method::DELETE, "/api/webhooks/%ff")).await.0, StatusCode::NOT_FOUND);
    let (status, problem) = app.post("/api/webhooks", &json!({ "url": "example.com", "events": ["done"] })).await;
    assert_eq!((status, blamed(&problem)), (StatusCode::UNPROCESSABLE_ENTITY, vec!["url", "events"]));
}

#[tokio::test]
async fn a_webhook_of_a_key_needs_a_key() {
    let hook = json!({ "url": "https://example.com", "own_jobs_only": true });
    let app = TestApp::spawn().await;
    let (status, problem) = app.post("/api/webhooks", &hook).await;
    assert_eq!((status, blamed(&problem)), (StatusCode::UNPROCESSABLE_ENTITY, vec!["own_jobs_only"]));
    let app = TestApp::spawn_with(|settings| settings.server.keys = KeysMode::On).await;
    let (key_id, key) = issue(&app, "red", Role::User).await;
    let (status, created) = answer(app.call(Method::POST, "/api/webhooks").bearer_auth(&key).json(&hook)).await;
    assert_eq!((status, &created["key_id"]), (StatusCode::CREATED, &json!(key_id.0)), "{created}");
}

#[tokio::test]
async fn a_requests_webhook_is_validated_and_its_deliveries_are_logged() {
    let app = TestApp::spawn().await;
    let wrong = json!({ "prompt": "a cat", "webhook": "https://user@example.com", "webhook_events": "finished" });
    let (status, problem) = app.post("/api/generate", &wrong).await;
    assert_eq!((status, blamed(&problem)), (StatusCode::UNPROCESSABLE_ENTITY, vec!["webhook", "webhook_events"]));
    let request = json!({ "prompt": "a cat", "webhook": "https://example.com", "webhook_events": "queued" });
    let (_, job) = app.post("/api/generate", &request).await;
    let id = job["job_id"].as_str().unwrap();
    let (_, log) = app.get(&format!("/api/webhooks/deliveries?job_id={id}&state=pending")).await;
    assert_eq!((&log["deliveries"][0]["kind"], &log["next_cursor"]), (&json!("queued"), &json!(null)), "{log}");
    let delivery = log["deliveries"][0]["delivery_id"].as_str().unwrap();
    let redeliver = format!("/api/webhooks/deliveries/{delivery}/redeliver");
    assert_eq!(app.post(&redeliver, &json!({})).await.0, StatusCode::ACCEPTED);
    assert_eq!(app.post("/api/webhooks/deliveries/7/redeliver", &json!({})).await.0, StatusCode::NOT_FOUND);
    for (query, field) in
        [("job_id=x", "job_id"), ("state=sent", "state"), ("cursor=x", "cursor"), ("limit=0", "limit")]
    {
        let (status, problem) = app.get(&format!("/api/webhooks/deliveries?{query}")).await;
        assert_eq!((status, blamed(&problem)), (StatusCode::UNPROCESSABLE_ENTITY, vec![field]));
    }
}

#[tokio::test]
async fn tenants_have_their_own_webhooks_secrets_and_logs() {
    let app = TestApp::spawn_with(|settings| settings.server.keys = KeysMode::On).await;
    let (_, red) = issue(&app, "red", Role::User).await;
    let (_, blue) = issue(&app, "blue", Role::User).await;
    let send = async |key: &str, method: Method, path: &str, body: serde_json::Value| {
        answer(app.call(method, path).bearer_auth(key).json(&body)).await
    };
    let hook = json!({ "url": "https://example.com", "events": ["queued"] });
    let (_, created) = send(&red, Method::POST, "/api/webhooks", hook).await;
    send(&red, Method::POST, "/api/generate", json!({ "prompt": "a rose" })).await;
    let (_, log) = send(&red, Method::GET, "/api/webhooks/deliveries", json!(null)).await;
    let delivery = log["deliveries"][0]["delivery_id"].as_str().expect("a delivery");
    let (_, strangers) = send(&blue, Method::GET, "/api/webhooks/deliveries", json!(null)).await;
    assert_eq!(strangers["deliveries"], json!([]));
    let redeliver = format!("/api/webhooks/deliveries/{delivery}/redeliver");
    assert_eq!(send(&blue, Method::POST, &redeliver, json!({})).await.0, StatusCode::NOT_FOUND);
    let delete = format!("/api/webhooks/{}", created["webhook_id"].as_str().unwrap());
    assert_eq!(send(&blue, Method::DELETE, &delete, json!(null)).await.0, StatusCode::NOT_FOUND);
    assert_eq!(send(&blue, Method::GET, "/api/webhooks", json!(null)).await.1["webhooks"], json!([]));

    let secret = async |key: &str| send(key, Method::GET, "/api/webhooks/secret", json!(null)).await.1;
    let first = secret(&red).await;
    assert_eq!(first, secret(&red).await, "it stays until it is rotated");
    assert_ne!(first["secret"], secret(&blue).await["secret"]);
    let (_, rotated) = send(&red, Method::POST, "/api/webhooks/secret/rotate", json!({})).await;
    assert!(rotated["secret"].as_str().is_some_and(|text| text.starts_with("whsec_")), "{rotated}");
    assert!(rotated["secret"] != first["secret"] && rotated["previous_until"].is_string(), "{rotated}");
}
