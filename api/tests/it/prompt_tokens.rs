//! Goal: every response about a request says what of its prompt the text encoders do not read.
//! Method: the real API with the tokenizers of the embedded model, from its folder and from the object store.

use std::path::Path;

use prompts::Bundle;
use reqwest::StatusCode;
use serde_json::{Value, json};
use testkit::repository;

use crate::app::TestApp;

/// 1,890 characters that differ from another prompt's only at the end.
fn long(end: &str) -> String {
    let start = "a large red ball moves to the right on the snow, then it bounces up and down; ".repeat(40);
    let kept = 1_890 - end.chars().count();
    start.chars().take(kept).chain(end.chars()).collect()
}

fn reading<'a>(answer: &'a Value, encoder: &str) -> &'a Value {
    let readings = answer["prompt_tokens"].as_array().unwrap_or_else(|| panic!("counted: {answer}"));
    readings.iter().find(|reading| reading["encoder"] == encoder).unwrap_or_else(|| panic!("{encoder}: {answer}"))
}

#[tokio::test]
async fn the_end_of_a_long_prompt_is_reported_as_unread_everywhere() {
    let app = TestApp::spawn().await;
    let prompt = long(" and at the end it turns into a blue square");
    assert_eq!(prompt.chars().count(), 1_890);
    let (status, submitted) = app.post("/api/generate", &json!({ "prompt": prompt })).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{submitted}");
    let path = format!("/api/jobs/{}", submitted["job_id"].as_str().unwrap());
    let (_, detail) = app.get(&path).await;
    let (_, list) = app.get("/api/jobs").await;
    let query = serde_urlencoded::to_string([("prompt", &prompt)]).unwrap();
    let (status, analysis) = app.get(&format!("/api/optimization/analyze?{query}")).await;
    assert_eq!(status, StatusCode::OK, "{analysis}");
    for shown in [&submitted, &detail, &list["jobs"][0], &analysis] {
        let (llama, clip) = (reading(shown, "llama"), reading(shown, "clip"));
        assert_eq!(
            (&llama["field"], &llama["tokens_max"], &clip["tokens_max"]),
            (&json!("prompt"), &json!(256), &json!(75))
        );
        for found in [llama, clip] {
            assert!(found["tokens"].as_u64() > found["tokens_max"].as_u64(), "{found}");
            let unread = found["unread"].as_str().unwrap();
            assert!(unread.ends_with("turns into a blue square") && prompt.ends_with(unread), "{unread}");
        }
    }
    // The count says the same for every end, which is why it has to be shown.
    let (_, other) = app.post("/api/generate", &json!({ "prompt": long(" and then night falls") })).await;
    assert!(reading(&other, "llama")["unread"].as_str().unwrap().ends_with("night falls"), "{other}");
}

#[tokio::test]
async fn short_chinese_and_negative_prompts_are_counted_too() {
    let app = TestApp::spawn().await;
    let request = json!({
        "prompt": "一个红色的大球在雪地上向右移动", "negative_prompt": "blurry", "true_cfg_scale": 2.0,
    });
    let (status, job) = app.post("/api/generate", &request).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{job}");
    let readings = job["prompt_tokens"].as_array().unwrap();
    let of = |field: &str| readings.iter().filter(|reading| reading["field"] == field).count();
    assert_eq!((of("prompt"), of("negative_prompt")), (2, 2), "{job}");
    assert!(readings.iter().all(|reading| reading["tokens"].as_u64() > Some(0)), "{job}");
    assert!(reading(&job, "llama")["unread"].is_null(), "{job}");

    let long = "一个红色的大球在雪地上向右移动，".repeat(40);
    let batch = json!({ "requests": [{ "prompt": "a ball" }, { "prompt": long }] });
    let (status, batch) = app.post("/api/generate/batch", &batch).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{batch}");
    assert!(reading(&batch["jobs"][0]["job"], "llama")["unread"].is_null());
    let unread = reading(&batch["jobs"][1]["job"], "llama")["unread"].as_str().unwrap();
    assert!(long.ends_with(unread) && !unread.is_empty(), "{unread}");
}

/// A folder with the manifest only, as in an image of the API.
fn without_files() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let manifest = repository().join("models/default/fleet.toml");
    std::fs::copy(manifest, folder.path().join("fleet.toml")).unwrap();
    folder
}

async fn submitted(app: &TestApp) -> Value {
    let (status, job) = app.post("/api/generate", &json!({ "prompt": "a large red ball" })).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{job}");
    job
}

#[tokio::test]
async fn without_tokenizers_nothing_is_counted_until_a_worker_has_stored_them() {
    let folder = without_files();
    let app = TestApp::spawn_with(|settings| settings.models.dirs = vec![folder.path().to_owned()]).await;
    assert!(submitted(&app).await["prompt_tokens"].is_null());

    let manifest = app.state.models.find(None).unwrap();
    let readers = &app.state.prompt_readers;
    readers.fetch(&app.state.artifacts, &manifest).await.expect("missing ones are no error");
    let key = artifacts::keys::tokenizers(&manifest.fingerprint.encoders);
    app.state.artifacts.put(&key, b"{}".to_vec().into()).await.unwrap();
    let error = readers.fetch(&app.state.artifacts, &manifest).await.unwrap_err();
    assert!(format!("{error:#}").contains(&key), "{error:#}");
    assert!(submitted(&app).await["prompt_tokens"].is_null());

    // What a worker stores when it starts.
    let bundle = Bundle::of_folder(Path::new(&repository().join("models/default"))).unwrap();
    app.state.artifacts.put(&key, bundle.to_json().into()).await.unwrap();
    readers.fetch(&app.state.artifacts, &manifest).await.unwrap();
    let job = submitted(&app).await;
    assert_eq!(reading(&job, "llama")["tokens_max"], 256, "{job}");
}
