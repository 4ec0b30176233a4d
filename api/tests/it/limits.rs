//! Limits: rate, backlog, body size and request time. A repeated submission passes the first two.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::{TestApp, answer, id};

#[tokio::test]
async fn a_key_over_its_rate_is_rejected_with_the_time_to_retry() {
    let app = TestApp::spawn_with(|settings| {
        settings.limits.submissions_per_minute = 1;
        settings.limits.submissions_burst = 2;
    })
    .await;
    let send = |key: &'static str| {
        app.call(Method::POST, "/api/generate").header("Idempotency-Key", key).json(&json!({"prompt": "a wave"}))
    };
    let first = send("one").send().await.unwrap();
    assert_eq!(first.headers()["ratelimit-policy"], "\"submissions\";q=2;w=120");
    assert!(first.headers()["ratelimit"].to_str().unwrap().starts_with("\"submissions\";r=1;"));
    assert_eq!(answer(send("two")).await.0, StatusCode::ACCEPTED);
    let refused = send("three").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    // A submission that was accepted before passes the limit.
    assert_eq!(answer(send("one")).await.0, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_repetition_gives_back_only_what_it_took() {
    let app = TestApp::spawn_with(|settings| {
        settings.limits.submissions_per_minute = 1;
        settings.limits.submissions_burst = 3;
    })
    .await;
    let send = |path: &'static str, key: &'static str, body: Value| {
        answer(app.call(Method::POST, path).header("Idempotency-Key", key).json(&body))
    };
    let single = |key: &'static str| send("/api/generate", key, json!({"prompt": "a wave"}));
    let requests = json!({"requests": [{"prompt": "a wave"}, {"prompt": "a hill"}]});
    let batch = || send("/api/generate/batch", "batch", requests.clone());
    // The repetition takes one, and gives it back; the other two are left for the batch.
    for _ in 0..2 {
        assert_eq!(single("one").await.0, StatusCode::ACCEPTED);
    }
    assert_eq!(batch().await.0, StatusCode::ACCEPTED);
    // Nothing is left to take, so repetitions pass without taking anything.
    assert_eq!(single("one").await.0, StatusCode::ACCEPTED);
    assert_eq!(single("two").await.0, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(batch().await.0, StatusCode::ACCEPTED);
    assert_eq!(single("two").await.0, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_full_backlog_rejects_submissions_until_there_is_room() {
    let app = TestApp::spawn_with(|settings| settings.limits.backlog_max = 2).await;
    let first = app.submit("one").await;
    app.submit("two").await;
    let refused = app.call(Method::POST, "/api/generate").json(&json!({"prompt": "three"})).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    app.post(&format!("/api/jobs/{first}/cancel"), &json!({})).await;
    testkit::eventually_seen("there is room again", || async {
        let (status, body) = app.post("/api/generate", &json!({"prompt": "three"})).await;
        if status == StatusCode::ACCEPTED { Ok(()) } else { Err(body.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn a_replay_passes_a_full_backlog() {
    let app = TestApp::spawn_with(|settings| settings.limits.backlog_max = 1).await;
    let send = |key: &'static str| {
        answer(
            app.call(Method::POST, "/api/generate").header("Idempotency-Key", key).json(&json!({"prompt": "a wave"})),
        )
    };
    let (status, first) = send("one").await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(send("two").await.0, StatusCode::SERVICE_UNAVAILABLE);
    let (status, again) = send("one").await;
    assert_eq!((status, id(&again)), (StatusCode::ACCEPTED, id(&first)));
}

#[tokio::test]
async fn a_tenants_own_backlog_is_bounded() {
    let app = TestApp::spawn_with(|settings| settings.limits.backlog_per_tenant_max = 1).await;
    app.submit("one").await;
    let (status, _) = app.post("/api/generate", &json!({"prompt": "two"})).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn with_keys_one_tenant_fills_only_its_share_of_the_backlog() {
    let app = TestApp::spawn_with(|settings| {
        settings.server.keys = settings::KeysMode::On;
        settings.limits.backlog_max = 4;
    })
    .await;
    let (_, red) = crate::auth::issue(&app, "red", store::keys::Role::User).await;
    let (_, blue) = crate::auth::issue(&app, "blue", store::keys::Role::User).await;
    let send =
        |key: &str| answer(app.call(Method::POST, "/api/generate").bearer_auth(key).json(&json!({"prompt": "a wave"})));
    for _ in 0..2 {
        assert_eq!(send(&red).await.0, StatusCode::ACCEPTED);
    }
    assert_eq!(send(&red).await.0, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(send(&blue).await.0, StatusCode::ACCEPTED, "the rest of the backlog is for others");
}

#[tokio::test]
async fn a_body_over_the_limit_is_rejected() {
    let app = TestApp::spawn_with(|settings| {
        settings.server.body_max_bytes = 1000;
        settings.limits.image_bytes_max = 1000;
    })
    .await;
    let (status, problem) = app.post("/api/generate/batch", &json!({"requests": [{"prompt": "x".repeat(2000)}]})).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{problem}");
    // A request may hold a picture, which needs more room.
    for (length, expected) in [(2000, StatusCode::ACCEPTED), (2 << 20, StatusCode::PAYLOAD_TOO_LARGE)] {
        let (status, answer) = app.post("/api/generate", &json!({"prompt": "x".repeat(length)})).await;
        assert_eq!(status, expected, "{answer}");
    }
}

#[tokio::test]
async fn a_request_whose_body_never_arrives_times_out() {
    let app = TestApp::spawn_with(|settings| {
        settings.server.request_timeout_s = 1;
        settings.limits.lora_upload_s = 1;
    })
    .await;
    let address = app.url.strip_prefix("http://").unwrap();
    for path in ["/api/generate", "/api/images"] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 300];
        let read = socket.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..read]);
        assert!(answer.starts_with("HTTP/1.1 408"), "{path}: {answer}");
    }
    // The limit does not apply to event streams.
    let mut stream = app.call(Method::GET, "/api/events").send().await.unwrap();
    assert_eq!(stream.status(), StatusCode::OK);
    assert!(stream.chunk().await.unwrap().is_some());
}

#[tokio::test]
async fn a_picture_may_take_longer_than_other_requests() {
    let app = TestApp::spawn_with(|settings| settings.server.request_timeout_s = 1).await;
    let picture = testkit::picture("alpha.png");
    let (begin, rest) = picture.split_at(picture.len() / 2);
    let mut socket = TcpStream::connect(app.url.strip_prefix("http://").unwrap()).await.unwrap();
    let length = picture.len();
    let head = format!(
        "POST /api/images HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(begin).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    socket.write_all(rest).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}
