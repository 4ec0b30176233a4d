//! `POST /api/generate`.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::app::{TestApp, answer, blamed, id};

/// Replaces the values that differ between runs by placeholders.
fn stable(mut job: Value) -> Value {
    for field in ["job_id", "created_at"] {
        job[field] = json!(format!("[{field}]"));
    }
    job["request"]["seed"] = json!("[seed]");
    job["optimization"] = json!("[optimization]");
    job["links"] = json!("[links]");
    job
}

#[tokio::test]
async fn a_prompt_alone_becomes_a_job_with_every_default() {
    let app = TestApp::spawn().await;
    let response =
        app.call(Method::POST, "/api/generate").json(&json!({"prompt": "A cat walks"})).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let job: Value = response.json().await.unwrap();
    assert_eq!(location, format!("/api/jobs/{}", id(&job)));
    assert_eq!(job["links"]["events"], format!("{location}/events"));
    assert!(job["request"]["seed"].is_i64());
    insta::assert_json_snapshot!(job["optimization"]["complexity"], @r#""simple""#);
    insta::assert_json_snapshot!(job["optimization"]["final_steps"], @"18");
    insta::assert_json_snapshot!(job["optimization"]["cache_hit"], @"null");
    let mut defaults = json!(domain::VideoRequest::new("A cat walks"));
    defaults["seed"] = json!("[seed]");
    defaults["model"] = json!("default");
    assert_eq!(stable(job)["request"], defaults);
    let (status, again) = app.get(&location).await;
    assert_eq!((status, &again["status"]), (StatusCode::OK, &json!("queued")));
}

#[tokio::test]
async fn every_invalid_field_is_named() {
    let app = TestApp::spawn().await;
    let cases = [
        (json!({"prompt": " "}), vec!["prompt"]),
        (json!({"prompt": "x".repeat(2001)}), vec!["prompt"]),
        (json!({"prompt": "a\u{0}b"}), vec!["prompt"]),
        (json!({"prompt": "a", "video_length": 128}), vec!["video_length"]),
        (json!({"prompt": "a", "video_length": 133}), vec!["video_length"]),
        (json!({"prompt": "a", "video_size": "8k"}), vec!["video_size"]),
        (json!({"prompt": "a", "infer_steps": 101}), vec!["infer_steps"]),
        (json!({"prompt": "a", "seed": -2}), vec!["seed"]),
        (json!({"prompt": "a", "model": "none"}), vec!["model"]),
        (json!({"prompt": "a", "cfg_scale": 99, "deadline_s": 0}), vec!["cfg_scale", "deadline_s"]),
        (json!({"prompt": "a", "true_cfg_scale": 2}), vec!["negative_prompt"]),
        (json!({"prompt": "a", "stepz": 3}), vec!["stepz"]),
        (json!({"video_size": "540p"}), vec!["prompt"]),
        (json!({"prompt": 7}), vec!["prompt"]),
    ];
    for (body, fields) in cases {
        let (status, problem) = app.post("/api/generate", &body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body} {problem}");
        assert_eq!(blamed(&problem), fields, "{body}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_a_json_object_is_rejected() {
    let app = TestApp::spawn().await;
    let raw = |body: &'static str, kind: &'static str| {
        answer(app.call(Method::POST, "/api/generate").header("content-type", kind).body(body))
    };
    let (status, problem) = raw("{", "application/json").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    insta::assert_json_snapshot!(problem["type"], @r#""urn:hunyuan-fleet:problem:malformed""#);
    let (status, _) = raw("[]", "application/json").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, _) = raw(r#"{"prompt": "a"}"#, "text/plain").await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let (status, _) = app.get("/api/nothing").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _) = app.get("/api/generate").await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_repeated_key_returns_the_same_job() {
    let app = TestApp::spawn().await;
    let send = |key: &'static str, prompt: &'static str| {
        answer(app.call(Method::POST, "/api/generate").header("Idempotency-Key", key).json(&json!({"prompt": prompt})))
    };
    let (status, first) = send("\"k-1\"", "a dog").await;
    assert_eq!(status, StatusCode::ACCEPTED);
    // With or without quotes, it is the same key.
    let (status, second) = send("k-1", "a dog").await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(id(&first), id(&second));
    assert_eq!(first["request"]["seed"], second["request"]["seed"]);
    let (status, problem) = send("k-1", "a cat").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    insta::assert_json_snapshot!(problem["type"], @r#""urn:hunyuan-fleet:problem:idempotency-key-reused""#);
    let (status, problem) = send("\"open", "a cat").await;
    assert_eq!((status, blamed(&problem)), (StatusCode::UNPROCESSABLE_ENTITY, vec!["Idempotency-Key"]));
    let (_, list) = app.get("/api/jobs").await;
    assert_eq!(list["jobs"].as_array().unwrap().len(), 1);
}
