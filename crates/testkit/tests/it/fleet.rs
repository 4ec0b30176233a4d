//! Goal: the fleet behaves as documented, with the real model on real services.
//! Method: the built executables on a separate database, virtual host and folder; faults are real signals.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use reqwest::StatusCode;
use serde_json::{Value, json};
use testkit::{Fleet, FleetOptions, eventually_seen, program, repository};

/// Progress and checkpoints come often, so that a test sees a run half way. No test here waits until a lease expires, so leases keep
/// their default length, which a busy machine does not exceed.
fn watched() -> FleetOptions {
    FleetOptions::default()
        .with("FLEET__WORKER__HEARTBEAT_S", "1")
        .with("FLEET__WORKER__CHECKPOINT_EVERY_S", "1")
        .with("FLEET__WORKER__PROGRESS_MS", "10")
}

/// Runs for some seconds on one core, so that a fault hits it half way.
fn long_request(seed: i64) -> Value {
    json!({ "prompt": "a blue square rotates on the sand", "seed": seed, "infer_steps": 100, "step_cache": "off" })
}

fn id(job: &Value) -> String {
    job["job_id"].as_str().expect("a job has an id").to_owned()
}

/// How many frames an MP4 actually contains.
fn frames_in(fleet: &Fleet, mp4: &[u8]) -> u64 {
    let file = fleet.folder().join("counted.mp4");
    std::fs::write(&file, mp4).expect("write the video");
    let said = Command::new("ffprobe")
        .args("-v error -count_frames -show_entries stream=nb_read_frames -of csv=p=0".split(' '))
        .arg(&file)
        .output()
        .expect("run ffprobe");
    String::from_utf8_lossy(&said.stdout).trim().parse().expect("a number of frames")
}

/// Waits until the job has started denoising.
async fn until_denoising(fleet: &Fleet, id: &str) {
    eventually_seen("the job is being denoised", || async {
        let job = fleet.job(id).await.map_err(|error| error.to_string())?;
        let step = job["progress"]["step"].as_u64().unwrap_or_default();
        if step > 0 { Ok(()) } else { Err(job.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn a_prompt_becomes_a_video_that_plays_and_the_next_one_like_it_comes_from_the_cache() {
    let (fleet, _processes) = Fleet::start(FleetOptions::default()).await;
    let request = json!({ "prompt": "a red circle moves to the right on the snow", "seed": 7 });
    let first = fleet.submit(&request).await;
    assert_eq!(first["optimization"]["quality_tier"], "standard");
    let first = fleet.until_status(&id(&first), &["completed", "failed"]).await;
    assert_eq!(first["status"], "completed", "{first}");
    let optimization = &first["optimization"];
    assert_eq!(optimization["cache_hit"], false, "{first}");
    assert!(optimization["final_steps"].as_u64().is_some_and(|steps| (18..=45).contains(&steps)), "{first}");
    let video = fleet.video(&id(&first)).await;
    assert_eq!(&video[4..8], b"ftyp", "an MP4");
    assert_eq!(frames_in(&fleet, &video), first["shape"]["frames"], "all frames are in the file");

    let url = format!("{}/api/videos/{}", fleet.api_url, id(&first));
    let part = fleet.client.get(&url).header("Range", "bytes=4-7").send().await.expect("an answer");
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.bytes().await.expect("bytes").as_ref(), b"ftyp");
    let poster = fleet.client.get(format!("{url}/poster")).send().await.expect("an answer");
    assert!(poster.bytes().await.expect("bytes").starts_with(&[0xFF, 0xD8]), "a JPEG");

    let second = fleet.submit(&request).await;
    let second = fleet.until_status(&id(&second), &["completed", "failed"]).await;
    assert_eq!(second["optimization"]["cache_hit"], true, "{second}");
    assert_eq!(fleet.video(&id(&second)).await, video, "the same seed and prompt give the same bytes");

    let stats: Value = fleet
        .client
        .get(format!("{}/api/stats", fleet.api_url))
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert_eq!((&stats["completed"], &stats["optimization"]["cache_hit_rate"]), (&json!(2), &json!(50.0)), "{stats}");
}

#[tokio::test]
async fn a_stopping_worker_hands_its_job_back_and_spends_no_attempt() {
    let (fleet, mut processes) = Fleet::start(watched()).await;
    let job = id(&fleet.submit(&long_request(12)).await);
    until_denoising(&fleet, &job).await;
    let worker = processes.last_mut().expect("the worker");
    worker.signal(Signal::SIGTERM);
    let status = worker.until_ended(Duration::from_secs(30)).await;
    assert!(status.success(), "{status}: {}", worker.log());
    assert!(worker.log().contains("job handed back"), "{}", worker.log());
    let _second_worker = fleet.worker("worker-2");
    let job = fleet.until_status(&job, &["completed", "failed"]).await;
    assert_eq!((&job["status"], &job["attempts"]), (&json!("completed"), &json!(1)), "{job}");
    assert!(job["record"]["resumed_from"].as_u64().is_some_and(|step| step > 0), "{job}");
}

#[tokio::test]
async fn a_cancel_stops_a_running_job_and_a_retry_brings_it_back() {
    let (fleet, _processes) = Fleet::start(watched()).await;
    let job = id(&fleet.submit(&long_request(13)).await);
    until_denoising(&fleet, &job).await;
    let call = |verb: &str| fleet.client.post(format!("{}/api/jobs/{job}/{verb}", fleet.api_url)).send();
    assert!(call("cancel").await.expect("an answer").status().is_success());
    fleet.until_status(&job, &["cancelled"]).await;
    assert!(call("cancel").await.expect("an answer").status().is_success(), "wanted twice is wanted once");
    assert!(call("retry").await.expect("an answer").status().is_success());
    let job = fleet.until_status(&job, &["completed", "failed"]).await;
    assert_eq!(job["status"], "completed", "{job}");
}

/// What the second model's `fleet.toml` says before its fingerprints are written.
const SECOND_MODEL: &str = r#"
id = "tiny-1.5"
family = "v1_5"
name = "Random weights of HunyuanVideo 1.5"
geometry = { spatial = 16, temporal = 4, patch = 1 }
sizes = [{ name = "540p", aspects = [{ aspect = "3:2", width = 48, height = 32 }] }]
custom_size = { multiple_of = 16, side_min = 16, pixels_max = 4096 }
length = { max = 129, rendered_at_max = 9, rendered_min = 5 }
memory = { base_bytes = 1000000, per_token_bytes = 1000 }
cost_prior = { tokens = 18, step_s = 0.01, around_s = 0.5, around_cached_s = 0.4, attention_share = 0.2, baseline_steps = 8 }

[sampling]
flow_shift = 1.0
steps_min = 2
steps_max = 8

[sampling.guidance]
true_cfg_scale = 1.0

[fingerprint]
weights = ""
encoders = ""
"#;

/// A model folder with random weights of HunyuanVideo 1.5, text-to-video, whose manifest the worker's own command has completed.
fn second_model(folder: &Path) {
    model_of("v1_5/base", SECOND_MODEL, folder);
}

/// A copy of a fixture's model folder with this manifest, completed by the worker's own command.
fn model_of(fixture: &str, manifest: &str, folder: &Path) {
    let from = repository().join("crates/hunyuan/tests/fixtures").join(fixture).join("model/.");
    assert!(Command::new("cp").arg("-r").arg(from).arg(folder).status().expect("cp runs").success());
    std::fs::write(folder.join("fleet.toml"), manifest).expect("the manifest is written");
    let command = Command::new(program("worker")).args(["fingerprint", "--write", "--model"]).arg(folder).output();
    let output = command.expect("the worker runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A worker that starts stores its model's tokenizers; an API that has only the manifest, as in its image, then counts the tokens of
/// prompts like one with all files.
#[tokio::test]
async fn a_worker_brings_its_tokenizers_to_an_api_that_cannot_see_the_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = repository().join("models/default/fleet.toml");
    std::fs::copy(manifest, folder.path().join("fleet.toml")).expect("the manifest");
    let path = folder.path().display().to_string();
    let fleet = Fleet::prepare(FleetOptions::default()).await;
    let _worker = fleet.worker("worker");
    let stored = fleet.folder().join("artifacts/tokenizers");
    eventually_seen("the worker has stored its tokenizers", || async {
        let found = std::fs::read_dir(&stored).map_err(|error| error.to_string())?;
        if found.count() == 1 { Ok(()) } else { Err("no object".to_owned()) }
    })
    .await;
    let _api = fleet.api_with(&[("FLEET__MODELS__DIRS", path.as_str())]);
    fleet.until_api_ready().await;
    let prompt = "a large red ball moves to the right on the snow, then it bounces; ".repeat(30);
    let job = fleet.submit(&Fleet::small_request(&prompt, 1, 2)).await;
    let counted = eventually_seen("the tokens are counted", || async {
        let job = fleet.job(&id(&job)).await.map_err(|error| error.to_string())?;
        if job["prompt_tokens"].is_array() { Ok(job["prompt_tokens"].clone()) } else { Err(job.to_string()) }
    })
    .await;
    let unread = counted[0]["unread"].as_str().expect("the prompt is too long");
    assert!(prompt.ends_with(unread), "{counted}");
    let (_api_with_files, url) = fleet.another_api("with-files");
    let expected = eventually_seen("the other API counts them", || async {
        let answer = fleet.client.get(format!("{url}/api/jobs/{}", id(&job))).send().await;
        let job: Value = answer.map_err(|e| e.to_string())?.json().await.map_err(|e| e.to_string())?;
        if job["prompt_tokens"].is_array() { Ok(job["prompt_tokens"].clone()) } else { Err(job.to_string()) }
    })
    .await;
    assert_eq!(counted, expected);
}

#[tokio::test]
async fn two_model_families_are_served_by_one_fleet_in_two_pools() {
    let folder = tempfile::tempdir().expect("a folder");
    second_model(folder.path());
    let manifest = std::fs::read_to_string(folder.path().join("fleet.toml")).expect("the manifest");
    assert!(manifest.contains("flow_shift = 5.0") && manifest.contains("true_cfg_scale = 6.0"), "{manifest}");
    let path = folder.path().display().to_string();
    let options = FleetOptions::default().with("FLEET__MODELS__DIRS", &format!("models/default,{path}"));
    let (fleet, _processes) = Fleet::start(options).await;
    let first = id(&fleet.submit(&Fleet::small_request("a red circle stays", 1, 4)).await);
    // Its pool has no worker yet: the job waits while the other pool works.
    let request = json!({ "model": "tiny-1.5", "prompt": "a cat with a sign that says \"Hello\"", "seed": 3 });
    let second = id(&fleet.submit(&request).await);
    let first = fleet.until_status(&first, &["completed", "failed"]).await;
    assert_eq!(first["status"], "completed", "{first}");
    assert_eq!(fleet.job(&second).await.expect("a job")["status"], "queued");

    let _worker = fleet.worker_with("worker-1.5", &[("FLEET__WORKER__MODEL_DIR", path.as_str())]);
    let second = fleet.until_status(&second, &["completed", "failed"]).await;
    assert_eq!(second["status"], "completed", "{second}");
    assert_eq!(second["optimization"]["final_steps"], 8, "no more than the model runs: {second}");
    assert_eq!(second["request"]["true_cfg_scale"], 6.0, "the checkpoint's own guidance: {second}");
    let video = fleet.video(&id(&second)).await;
    assert_eq!(frames_in(&fleet, &video), second["shape"]["frames"].as_u64().expect("a number"));

    let again = fleet.submit(&request).await;
    let again = fleet.until_status(&id(&again), &["completed", "failed"]).await;
    assert_eq!(again["optimization"]["cache_hit"], true, "its embeddings are cached too: {again}");
    assert_eq!(fleet.video(&id(&again)).await, video, "the same seed and prompt give the same bytes");
}

/// A model of image-to-video has a pool of its own; its video begins from the picture, which is cropped on the worker.
#[tokio::test]
async fn a_picture_becomes_a_video_and_another_picture_another_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = SECOND_MODEL.replacen("family = \"v1_5\"", "family = \"v1_5\"\nimage = \"required\"", 1);
    model_of("v1_5_i2v/base", &manifest.replacen("tiny-1.5", "tiny-i2v", 1), folder.path());
    let path = folder.path().display().to_string();
    let options = FleetOptions::default().with("FLEET__MODELS__DIRS", &format!("models/default,{path}"));
    let (fleet, _processes) = Fleet::start(options).await;
    let _worker = fleet.worker_with("worker-i2v", &[("FLEET__WORKER__MODEL_DIR", path.as_str())]);

    let url = format!("{}/api/images", fleet.api_url);
    let mut videos = Vec::new();
    for file in ["crates/hunyuan/tests/fixtures/v1_5_i2v/base/picture.png", "docs/images/page.png"] {
        let bytes = std::fs::read(repository().join(file)).expect("a picture");
        let answer = fleet.client.post(&url).body(bytes).send().await.expect("an answer");
        let image: Value = answer.json().await.expect("JSON");
        let request = json!({ "model": "tiny-i2v", "prompt": "it turns", "seed": 3, "image": image["id"] });
        let job = id(&fleet.submit(&request).await);
        let job = fleet.until_status(&job, &["completed", "failed"]).await;
        assert_eq!(job["status"], "completed", "{job}");
        videos.push(fleet.video(&id(&job)).await);
    }
    assert_ne!(videos[0], videos[1], "the same prompt and seed with another picture");
}
