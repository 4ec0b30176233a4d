//! Outages of Postgres and RabbitMQ.

use reqwest::{Method, StatusCode};
use serde_json::json;
use testkit::{PrivateStack, eventually_seen};

use crate::app::{TestApp, answer, id};

/// Goal: without RabbitMQ the API accepts jobs. Without Postgres it reports the outage, stays alive and ready, and continues once
/// Postgres is back.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_reported_and_survived() {
    let mut stack = PrivateStack::start();
    let app = TestApp::spawn_on(&stack.services, |settings| settings.database.acquire_timeout_ms = 500).await;
    let send = |key: &'static str| {
        app.call(Method::POST, "/api/generate").header("Idempotency-Key", key).json(&json!({"prompt": "a storm"}))
    };
    let (status, first) = answer(send("one")).await;
    assert_eq!(status, StatusCode::ACCEPTED);

    stack.kill("rabbitmq");
    assert_eq!(answer(send("without-rabbitmq")).await.0, StatusCode::ACCEPTED);
    eventually_seen("the outage of the broker is reported", || async {
        let (status, health) = app.get("/api/health").await;
        if status == StatusCode::OK && health["checks"]["broker"]["status"] == "down" {
            Ok(())
        } else {
            Err(health.to_string())
        }
    })
    .await;
    assert_eq!(app.get("/api/health").await.1["status"], "degraded");

    stack.kill("postgres");
    let refused = send("two").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    assert_eq!(app.get("/livez").await.0, StatusCode::OK);
    assert_eq!(app.get("/readyz").await.0, StatusCode::OK);
    assert_eq!(app.get("/api/health").await.0, StatusCode::SERVICE_UNAVAILABLE);

    stack.start_again("postgres");
    eventually_seen("submissions are accepted again", || async {
        let (status, body) = answer(send("two")).await;
        if status == StatusCode::ACCEPTED { Ok(()) } else { Err(body.to_string()) }
    })
    .await;
    let (_, again) = answer(send("one")).await;
    assert_eq!(id(&again), id(&first), "the job accepted before the outage still exists");
}
