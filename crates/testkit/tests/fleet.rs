//! Goal: the fleet behaves as documented, with the real model on real services.
//! Method: the built executables on a separate database, virtual host and folder; faults are real signals.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use reqwest::StatusCode;
use serde_json::{Value, json};
use testkit::{Fleet, FleetOptions, PrivateStack, eventually_seen};

/// Leases and sweeps short enough to see a worker's death within seconds.
fn impatient() -> FleetOptions {
    FleetOptions::default()
        .with("FLEET__WORKER__LEASE_S", "4")
        .with("FLEET__WORKER__HEARTBEAT_S", "1")
        .with("FLEET__WORKER__CHECKPOINT_EVERY_S", "1")
        .with("FLEET__WORKER__PROGRESS_MS", "10")
        .with("FLEET__SCHEDULER__SWEEP_MS", "300")
        .with("FLEET__SCHEDULER__BACKOFF_MIN_S", "1")
}

/// Runs for some seconds on one core, so that a fault hits it half way.
fn long_request(seed: i64) -> Value {
    json!({ "prompt": "a blue square rotates on the sand", "seed": seed, "infer_steps": 100, "step_cache": "off" })
}

fn id(job: &Value) -> String {
    job["job_id"].as_str().expect("a job has an id").to_owned()
}

/// Waits until the job has started denoising.
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
async fn a_killed_workers_job_is_finished_elsewhere_with_the_same_bytes() {
    let (fleet, mut processes) = Fleet::start(impatient()).await;
    let undisturbed = fleet.submit(&long_request(11)).await;
    let undisturbed = fleet.until_status(&id(&undisturbed), &["completed", "failed"]).await;
    assert_eq!(undisturbed["status"], "completed", "{undisturbed}");

    let disturbed = id(&fleet.submit(&long_request(11)).await);
    until_denoising(&fleet, &disturbed).await;
    processes.last_mut().expect("the worker").kill();
    let _second_worker = fleet.worker("worker-2");
    let job = fleet.until_status(&disturbed, &["completed", "failed"]).await;
    assert_eq!(job["status"], "completed", "{job}");
    assert_eq!(job["attempts"], 2, "{job}");
    assert_eq!(fleet.video(&disturbed).await, fleet.video(&id(&undisturbed)).await);
}

#[tokio::test]
async fn a_stopping_worker_hands_its_job_back_and_spends_no_attempt() {
    let (fleet, mut processes) = Fleet::start(impatient()).await;
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
    let (fleet, _processes) = Fleet::start(impatient()).await;
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

#[tokio::test]
async fn without_rabbitmq_jobs_are_accepted_and_rendered() {
    let mut stack = PrivateStack::start();
    let options = FleetOptions { services: Some(stack.services.clone()), ..FleetOptions::default() };
    let (fleet, _processes) = Fleet::start(options).await;
    let before = id(&fleet.submit(&Fleet::small_request("a green circle stays", 1, 4)).await);
    fleet.until_status(&before, &["completed"]).await;
    stack.kill("rabbitmq");
    let during = id(&fleet.submit(&Fleet::small_request("a green circle stays", 2, 4)).await);
    fleet.until_status(&during, &["completed"]).await;
    stack.start_again("rabbitmq");
    let after = id(&fleet.submit(&Fleet::small_request("a green circle stays", 3, 4)).await);
    fleet.until_status(&after, &["completed"]).await;
}
