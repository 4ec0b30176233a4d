//! `/v1/videos` and `/v1/models`. `scripts/check-clients` runs OpenAI's own client against a whole fleet.

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use settings::KeysMode;
use store::keys::Role;

use crate::app::{Answer, TestApp, answer};
use crate::auth::issue;

/// A form as OpenAI's clients send it: no part has a type of its own.
fn form(request: RequestBuilder, parts: &[(&str, &str)]) -> RequestBuilder {
    let mut body = String::new();
    for (name, text) in parts {
        body += &format!("--limit\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n");
    }
    request.header("content-type", "multipart/form-data; boundary=limit").body(body + "--limit--\r\n")
}

fn try_no(request: RequestBuilder, count: u32) -> RequestBuilder {
    request.header("x-stainless-retry-count", count.to_string())
}

async fn create(app: &TestApp, parts: &[(&str, &str)]) -> Answer {
    answer(form(app.call(Method::POST, "/v1/videos"), parts)).await
}

fn video_id(video: &Value) -> String {
    video["id"].as_str().unwrap_or_else(|| panic!("not a video: {video}")).to_owned()
}

async fn jobs(app: &TestApp) -> usize {
    app.get("/api/jobs").await.1["jobs"].as_array().expect("jobs").len()
}

#[tokio::test]
async fn a_form_and_json_become_the_same_video() {
    let app = TestApp::spawn().await;
    let parts = [
        ("prompt", "a cat"),
        ("model", "sora-2"),
        ("seconds", "4"),
        ("size", "1280x720"),
        ("seed", "7"),
        ("num_inference_steps", "9"),
    ];
    let response = form(app.call(Method::POST, "/v1/videos"), &parts).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let poll_ms: u64 = response.headers()["openai-poll-after-ms"].to_str().unwrap().parse().unwrap();
    assert!((250..=10_000).contains(&poll_ms), "{poll_ms}");
    let video: Value = response.json().await.unwrap();
    let id = video_id(&video);
    assert_eq!(location, format!("/v1/videos/{id}"));
    let shown = json!({
        "object": "video", "status": "queued", "progress": 0, "model": "default", "prompt": "a cat", "seconds": "4",
        "size": "64x64", "requested_size": "1280x720", "num_frames": 17, "seed": 7, "error": null, "completed_at": null,
        "expires_at": null, "remixed_from_video_id": null,
    });
    for (name, value) in shown.as_object().unwrap() {
        assert_eq!(&video[name], value, "{name} of {video}");
    }
    let (_, job) = app.get(&format!("/api/jobs/{id}")).await;
    assert_eq!((&job["request"]["video_length"], &job["request"]["infer_steps"]), (&json!(97), &json!(9)));
    let body = json!({"prompt": "a cat", "size": "1280x720", "extra_body": {"seed": 7, "num_frames": 97}, "num_inference_steps": 9});
    let (status, same) = app.post("/v1/videos", &body).await;
    assert_eq!(status, StatusCode::OK, "{same}");
    let (_, same) = app.get(&format!("/api/jobs/{}", video_id(&same))).await;
    assert_eq!(same["request"], job["request"]);
}

#[tokio::test]
async fn extensions_of_other_servers_are_translated_or_refused_by_their_own_names() {
    let app = TestApp::spawn().await;
    let accepted = [
        json!({"guidance_scale": "5.5", "flow_shift": 3, "fps": "24", "n": 1, "user": "u", "quality": "high"}),
        json!({"negative_prompt": "rain", "true_cfg_scale": 2}),
        json!({"enable_teacache": true, "enable_upscaling": false, "seed": [5], "output_path": "/etc/passwd"}),
        json!({"video_params": {"width": 512, "height": 320, "num_frames": 33}, "seed": -1, "size": ""}),
        json!({"size": "540p", "seconds": 1, "quality_tier": "preview", "deadline_s": 600}),
        json!({"mode": "full", "candidates": "1", "riflex": false, "webhook": "https://example.com/hook", "webhook_events": "completed"}),
    ];
    for mut body in accepted {
        body["prompt"] = json!("a dog");
        let (status, video) = app.post("/v1/videos", &body).await;
        assert_eq!(status, StatusCode::OK, "{body} {video}");
    }
    let refused = [
        (json!({}), "prompt", "missing_required_parameter"),
        (json!({"prompt": "a", "sead": 1}), "sead", "unknown_parameter"),
        (json!({"prompt": "a", "seconds": "8"}), "seconds", "invalid_value"),
        (json!({"prompt": "a", "seconds": "4.5"}), "seconds", "invalid_value"),
        (json!({"prompt": "a", "num_frames": 32}), "num_frames", "invalid_value"),
        (json!({"prompt": "a", "num_inference_steps": 1000}), "num_inference_steps", "invalid_value"),
        (json!({"prompt": "a", "guidance_scale": "much"}), "guidance_scale", "invalid_value"),
        (json!({"prompt": "a", "flow_shift": 5}), "flow_shift", "invalid_value"),
        (json!({"prompt": "a", "fps": 30}), "fps", "invalid_value"),
        (json!({"prompt": "a", "n": 2}), "n", "invalid_value"),
        (
            json!({"prompt": "a", "input_reference": {"image_url": "https://example.com/a.png"}}),
            "input_reference",
            "invalid_value",
        ),
        (json!({"prompt": "a", "size": "64x64", "width": 512, "height": 320}), "size", "invalid_value"),
        (json!({"prompt": "a", "width": 512}), "height", "missing_required_parameter"),
        (json!({"prompt": "a", "infer_steps": 3, "num_inference_steps": 3}), "infer_steps", "invalid_value"),
        (json!({"prompt": "a", "negative_prompt": "b"}), "negative_prompt", "invalid_value"),
        (json!({"prompt": "a", "guidance_scale_2": 3}), "guidance_scale_2", "invalid_value"),
        (json!({"prompt": "a", "mode": "draft"}), "mode", "invalid_value"),
        (json!({"prompt": "a", "candidates": 2}), "candidates", "invalid_value"),
        (json!({"prompt": "a", "loras": [{"name": "none"}]}), "loras[0].name", "invalid_value"),
        (json!({"prompt": "a", "riflex": true}), "riflex", "invalid_value"),
        (json!({"prompt": "a", "webhook": "example.com"}), "webhook", "invalid_value"),
    ];
    for (body, param, code) in refused {
        let (status, error) = app.post("/v1/videos", &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body} {error}");
        assert_eq!(
            (&error["error"]["param"], &error["error"]["code"]),
            (&json!(param), &json!(code)),
            "{body} {error}"
        );
        assert_eq!(error["error"]["type"], "invalid_request_error");
    }
    let (status, error) = app.post("/v1/videos", &json!({"prompt": "a", "model": "none"})).await;
    assert_eq!((status, &error["error"]["code"]), (StatusCode::NOT_FOUND, &json!("model_not_found")), "{error}");
}

#[tokio::test]
async fn errors_have_one_shape_everywhere_under_v1() {
    let app = TestApp::spawn_with(|settings| settings.server.keys = KeysMode::On).await;
    for (method, path) in [(Method::GET, "/v1/videos"), (Method::POST, "/v1/videos"), (Method::GET, "/v1/models")] {
        let (status, error) = answer(app.call(method, path)).await;
        assert_eq!((status, &error["error"]["code"]), (StatusCode::UNAUTHORIZED, &json!("invalid_api_key")), "{error}");
    }
    let app = TestApp::spawn().await;
    let unknown = uuid::Uuid::now_v7();
    let cases = [
        (Method::GET, "/v1/nothing".to_owned(), StatusCode::NOT_FOUND, "not_found"),
        (Method::POST, "/v1/chat/completions".to_owned(), StatusCode::NOT_FOUND, "not_found"),
        (Method::POST, "/v1/videos/edits".to_owned(), StatusCode::NOT_FOUND, "not_found"),
        (Method::GET, "/v1/videos/characters/c".to_owned(), StatusCode::NOT_FOUND, "not_found"),
        (Method::PUT, "/v1/videos".to_owned(), StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed"),
        (Method::GET, format!("/v1/videos/{unknown}"), StatusCode::NOT_FOUND, "not_found"),
        (Method::GET, format!("/v1/videos/{unknown}/content"), StatusCode::NOT_FOUND, "not_found"),
        (Method::DELETE, "/v1/videos/video_123".to_owned(), StatusCode::NOT_FOUND, "not_found"),
        (Method::GET, "/v1/videos?limit=101".to_owned(), StatusCode::BAD_REQUEST, "invalid_value"),
        (Method::GET, "/v1/videos?after=x".to_owned(), StatusCode::BAD_REQUEST, "invalid_value"),
        (Method::GET, "/v1/models/none".to_owned(), StatusCode::NOT_FOUND, "model_not_found"),
    ];
    for (method, path, expected, code) in cases {
        let (status, error) = answer(app.call(method.clone(), &path)).await;
        assert_eq!((status, &error["error"]["code"]), (expected, &json!(code)), "{method} {path} {error}");
        assert!(error["error"]["message"].is_string() && error["detail"].is_string(), "{error}");
        assert_eq!(error["status"], expected.as_u16(), "both shapes agree");
    }
    let text = app.call(Method::POST, "/v1/videos").header("content-type", "text/plain").body("a cat");
    assert_eq!(answer(text).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    // Outside of /v1 nothing changes.
    let (status, problem) = app.post("/api/generate", &json!({})).await;
    assert_eq!((status, problem.get("error")), (StatusCode::UNPROCESSABLE_ENTITY, None));
    // A browser sends a form of another site without asking first.
    let foreign = form(app.call(Method::POST, "/v1/videos"), &[("prompt", "a")]).header("sec-fetch-site", "cross-site");
    assert_eq!(answer(foreign).await.0, StatusCode::FORBIDDEN);
    assert_eq!(jobs(&app).await, 0);
}

#[tokio::test]
async fn files_broken_forms_and_repeated_fields_are_refused() {
    let app = TestApp::spawn().await;
    let file = "--limit\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\na\r\n--limit\r\nContent-Disposition: form-data; \
                name=\"input_reference\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n\u{1}\r\n--limit--\r\n";
    let send = |body: &'static str| {
        let call = app.call(Method::POST, "/v1/videos").header("content-type", "multipart/form-data; boundary=limit");
        answer(call.body(body))
    };
    let (status, error) = send(file).await;
    assert_eq!((status, &error["error"]["param"]), (StatusCode::BAD_REQUEST, &json!("input_reference")), "{error}");
    let (status, error) = send("--limit\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\na").await;
    assert_eq!((status, &error["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("malformed")), "{error}");
    let (status, error) = create(&app, &[("prompt", "a"), ("prompt", "b")]).await;
    assert_eq!((status, &error["error"]["param"]), (StatusCode::BAD_REQUEST, &json!("prompt")), "{error}");
    let app = TestApp::spawn_with(|settings| {
        settings.server.body_max_bytes = 1000;
        settings.limits.image_bytes_max = 1000;
    })
    .await;
    let (status, error) = create(&app, &[("prompt", &"x".repeat(2 << 20))]).await;
    assert_eq!((status, &error["error"]["code"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!("too-large")), "{error}");
}

#[tokio::test]
async fn states_become_those_that_clients_know() {
    let app = TestApp::spawn().await;
    let (_, video) = create(&app, &[("prompt", "a lamp"), ("size", "960x544")]).await;
    let path = format!("/v1/videos/{}", video_id(&video));
    // No scheduler has planned it yet, so it has no place in the queue.
    assert_eq!(app.get(&path).await.1["queue_position"], Value::Null);
    let (status, error) = app.get(&format!("{path}/content")).await;
    assert_eq!((status, &error["error"]["code"]), (StatusCode::NOT_FOUND, &json!("video_not_ready")), "{error}");
    let lease = app.claim(video_id(&video).parse().unwrap()).await;
    let running = app.call(Method::GET, &path).send().await.unwrap();
    assert!(running.headers().contains_key("openai-poll-after-ms"));
    let running: Value = running.json().await.unwrap();
    assert_eq!((&running["status"], &running["progress"]), (&json!("in_progress"), &json!(0)));
    app.complete(lease, b"the video").await;
    let done = app.call(Method::GET, &path).send().await.unwrap();
    assert!(!done.headers().contains_key("openai-poll-after-ms"), "there is nothing to wait for");
    let done: Value = done.json().await.unwrap();
    assert_eq!((&done["status"], &done["progress"]), (&json!("completed"), &json!(100)), "{done}");
    assert!(done["completed_at"].is_i64() && done["inference_time_s"] == 312.0, "{done}");
    for (variant, kind, bytes) in [
        ("", "video/mp4", "the video"),
        ("?variant=video", "video/mp4", "the video"),
        ("?variant=thumbnail", "image/jpeg", "poster"),
    ] {
        let content = app.call(Method::GET, &format!("{path}/content{variant}")).header("accept", "application/binary");
        let content = content.send().await.unwrap();
        assert_eq!(content.status(), StatusCode::OK, "{variant}");
        assert_eq!(content.headers()["content-type"], kind);
        assert_eq!(content.text().await.unwrap(), bytes);
    }
    let part = app.call(Method::GET, &format!("{path}/content")).header("range", "bytes=4-8").send().await.unwrap();
    assert_eq!((part.status(), part.text().await.unwrap().as_str()), (StatusCode::PARTIAL_CONTENT, "video"));
    for (variant, status) in [("spritesheet", StatusCode::NOT_FOUND), ("gif", StatusCode::BAD_REQUEST)] {
        let (found, error) = app.get(&format!("{path}/content?variant={variant}")).await;
        assert_eq!((found, &error["error"]["param"]), (status, &json!("variant")), "{error}");
    }

    let (_, other) = create(&app, &[("prompt", "a lamp")]).await;
    let other = format!("/v1/videos/{}", video_id(&other));
    app.post(&format!("{}/cancel", other.replace("/v1/videos", "/api/jobs")), &json!({})).await;
    let (status, cancelled) = app.get(&other).await;
    assert_eq!(
        (status, &cancelled["status"], &cancelled["error"]["code"]),
        (StatusCode::OK, &json!("failed"), &json!("cancelled"))
    );
    let (status, error) = app.get(&format!("{other}/content")).await;
    assert_eq!((status, &error["error"]["code"]), (StatusCode::NOT_FOUND, &json!("video_failed")), "{error}");
    let deleted = answer(app.call(Method::DELETE, &other).header("content-type", "application/json")).await;
    let expected = json!({"id": cancelled["id"], "object": "video.deleted", "deleted": true});
    assert_eq!(deleted, (StatusCode::OK, expected));
    assert_eq!(app.get(&other).await.0, StatusCode::NOT_FOUND);
    assert_eq!(answer(app.call(Method::DELETE, &other)).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn pages_follow_each_other_in_both_directions_without_deleted_videos() {
    let app = TestApp::spawn().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(video_id(&create(&app, &[("prompt", &format!("ball {n}"))]).await.1));
    }
    let gone = ids.remove(2);
    app.call(Method::DELETE, &format!("/v1/videos/{gone}")).send().await.unwrap();
    for (order, expected) in [("asc", ids.clone()), ("desc", ids.iter().rev().cloned().collect())] {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let (status, page) = app.get(&format!("/v1/videos?order={order}&limit=3{after}")).await;
            assert_eq!((status, &page["object"]), (StatusCode::OK, &json!("list")), "{page}");
            found.extend(page["data"].as_array().unwrap().iter().map(video_id));
            assert_eq!(page["last_id"], json!(found.last()), "{page}");
            if page["has_more"] == false {
                break;
            }
            after = format!("&after={}", page["last_id"].as_str().unwrap());
        }
        assert_eq!(found, expected, "{order}");
    }
    let (_, empty) = app.get(&format!("/v1/videos?after={}", ids[0])).await;
    let expected = json!({"object": "list", "data": [], "first_id": null, "last_id": null, "has_more": false});
    assert_eq!(empty, expected);
}

#[tokio::test]
async fn a_remix_takes_over_everything_but_the_prompt() {
    let app = TestApp::spawn().await;
    let (_, source) =
        create(&app, &[("prompt", "a red ball"), ("size", "1280x720"), ("seconds", "2"), ("seed", "9")]).await;
    let path = format!("/v1/videos/{}/remix", video_id(&source));
    let (status, video) = app.post(&path, &json!({"prompt": "a blue ball"})).await;
    assert_eq!(status, StatusCode::OK, "{video}");
    for field in ["size", "requested_size", "seconds", "num_frames", "seed", "model"] {
        assert_eq!(video[field], source[field], "{field}");
    }
    assert_eq!((&video["prompt"], &video["remixed_from_video_id"]), (&json!("a blue ball"), &source["id"]));
    let (_, again) = app.get(&format!("/v1/videos/{}", video_id(&video))).await;
    assert_eq!(again["remixed_from_video_id"], source["id"]);
    for (body, param) in [(json!({}), "prompt"), (json!({"prompt": "a", "seed": 1}), "seed")] {
        let (status, error) = app.post(&path, &body).await;
        assert_eq!((status, &error["error"]["param"]), (StatusCode::BAD_REQUEST, &json!(param)), "{error}");
    }
    let unknown = format!("/v1/videos/{}/remix", uuid::Uuid::now_v7());
    assert_eq!(app.post(&unknown, &json!({"prompt": "a"})).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_retried_submission_is_the_same_video_and_an_equal_one_is_another() {
    let app = TestApp::spawn().await;
    let parts = [("prompt", "a kite")];
    let send = |count: u32| answer(try_no(form(app.call(Method::POST, "/v1/videos"), &parts), count));
    let (first, second) = (video_id(&send(0).await.1), video_id(&send(0).await.1));
    assert_ne!(first, second, "an equal request is a new video");
    // Both responses were lost: each retry gets one of the two.
    let mut retried = [video_id(&send(1).await.1), video_id(&send(1).await.1)];
    retried.sort_unstable();
    let mut sent = [first, second];
    sent.sort_unstable();
    assert_eq!(retried, sent);
    // The response to a retry was lost as well.
    assert!(sent.contains(&video_id(&send(2).await.1)));
    assert_eq!(jobs(&app).await, 2);
    // Nothing is left that a retry could have submitted before.
    let third = video_id(&send(1).await.1);
    assert!(!sent.contains(&third));
    // Another field is another request, and so is another replica's view of the same.
    let (_, other) =
        answer(try_no(form(app.call(Method::POST, "/v1/videos"), &[("prompt", "a kite"), ("seed", "1")]), 1)).await;
    assert!(!sent.contains(&video_id(&other)));
    let replica = app.replica().await;
    let elsewhere = answer(try_no(form(app.client.post(format!("{replica}/v1/videos")), &parts), 2)).await;
    assert_eq!(jobs(&app).await, 4, "{elsewhere:?}");
}

#[tokio::test]
async fn the_retry_of_a_refused_submission_is_a_video_of_its_own() {
    let app = TestApp::spawn_with(|settings| settings.limits.backlog_max = 1).await;
    let send = |count: u32| answer(try_no(form(app.call(Method::POST, "/v1/videos"), &[("prompt", "a fish")]), count));
    let first = video_id(&send(0).await.1);
    let (status, error) = send(0).await;
    assert_eq!((status, &error["error"]["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("overloaded")), "{error}");
    // Room for another one; the first video still exists.
    app.post(&format!("/api/jobs/{first}/cancel"), &json!({})).await;
    let retried = testkit::eventually_seen("the backlog admits the retry", || async {
        let (status, video) = send(1).await;
        if status == StatusCode::OK { Ok(video_id(&video)) } else { Err(video.to_string()) }
    })
    .await;
    assert_ne!(retried, first);
    assert_eq!(jobs(&app).await, 2);
}

#[tokio::test]
async fn an_idempotency_key_works_as_elsewhere() {
    let app = TestApp::spawn().await;
    let send = |prompt: &'static str| {
        answer(form(app.call(Method::POST, "/v1/videos").header("idempotency-key", "k"), &[("prompt", prompt)]))
    };
    let (first, again) = (send("a").await.1, send("a").await.1);
    assert_eq!(first["id"], again["id"]);
    let (status, error) = send("b").await;
    assert_eq!(
        (status, &error["error"]["type"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("idempotency_error")),
        "{error}"
    );
}

#[tokio::test]
async fn tenants_see_only_their_own_videos() {
    let app = TestApp::spawn_with(|settings| settings.server.keys = KeysMode::On).await;
    let ((_, one), (_, other)) = (issue(&app, "one", Role::User).await, issue(&app, "other", Role::User).await);
    let call = |method: Method, path: &str, key: &str| app.call(method, path).bearer_auth(key);
    let (_, video) = answer(form(call(Method::POST, "/v1/videos", &one), &[("prompt", "a")])).await;
    let path = format!("/v1/videos/{}", video_id(&video));
    for (method, path) in
        [(Method::GET, path.clone()), (Method::DELETE, path.clone()), (Method::GET, format!("{path}/content"))]
    {
        assert_eq!(answer(call(method, &path, &other)).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(answer(call(Method::GET, "/v1/videos?order=asc", &other)).await.1["data"], json!([]));
    assert_eq!(answer(call(Method::GET, "/v1/videos?order=asc", &one)).await.1["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn models_are_listed_with_the_names_that_stand_for_the_default() {
    let app = TestApp::spawn().await;
    let (_, list) = app.get("/v1/models").await;
    let ids: Vec<_> = list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["default", "sora-2", "sora-2-pro"]);
    let (_, model) = app.get("/v1/models/sora-2").await;
    assert_eq!((&model["object"], &model["root"]), (&json!("model"), &json!("default")));
}
