//! Goal: a job's record reports what the optimisations did, on the real fleet.

use std::process::Command;

use reqwest::StatusCode;
use serde_json::{Value, json};
use testkit::{Fleet, FleetOptions, repository};

#[tokio::test]
async fn a_similar_prompt_lends_its_embeddings_only_where_that_is_asked_for() {
    // Encoders are loaded for a miss only, since a hit must work without them.
    let options = FleetOptions::default().with("FLEET__WORKER__ENCODERS", "on_demand");
    let (fleet, _processes) = Fleet::start(options).await;
    let finished = async |prompt: &str, similar: bool| {
        let mut request = Fleet::small_request(prompt, 5, 4);
        request["similar_prompts"] = json!(similar);
        let job = fleet.submit(&request).await;
        fleet.until_status(job["job_id"].as_str().expect("an id"), &["completed", "failed"]).await
    };
    let first = finished("a tiny violet pyramid twirls in the desert", false).await;
    assert_eq!(first["optimization"]["cache_match"], "miss", "{first}");

    let lent = finished("In the desert, a lovely tiny violet pyramid is twirling!", true).await;
    let optimization = &lent["optimization"];
    assert_eq!((&optimization["cache_hit"], &optimization["cache_match"]), (&json!(true), &json!("similar")), "{lent}");
    assert!(optimization["cache_score"].as_f64().is_some_and(|score| (0.6..1.0).contains(&score)), "{lent}");

    let own = finished("In the desert, a lovely tiny violet pyramid is twirling!", false).await;
    assert_eq!(own["optimization"]["cache_match"], "miss", "{own}");
    let other = finished("a tiny violet star twirls in the desert", true).await;
    assert_eq!(other["optimization"]["cache_match"], "miss", "another shape is another video: {other}");
}

/// Frames and frames per second of an MP4, as ffprobe counts them.
fn probe(fleet: &Fleet, mp4: &[u8]) -> (u64, f64) {
    let file = fleet.folder().join("probed.mp4");
    std::fs::write(&file, mp4).expect("write the video");
    let said = Command::new("ffprobe")
        .args("-v error -count_frames -show_entries stream=avg_frame_rate,nb_read_frames -of csv=p=0".split(' '))
        .arg(&file)
        .output()
        .expect("run ffprobe");
    let said = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    let (rate, frames) = said.split_once(',').expect("two values");
    let (over, under) = rate.split_once('/').expect("a fraction");
    let number = |text: &str| text.parse::<f64>().expect("a number");
    (frames.parse().expect("a number"), number(over) / number(under))
}

fn interpolating() -> FleetOptions {
    let weights = repository().join("crates/hunyuan/tests/fixtures/interpolation/small");
    FleetOptions::default()
        .with("FLEET__INTERPOLATION__ENABLED", "true")
        .with("FLEET__INTERPOLATION__WEIGHTS_DIR", &weights.display().to_string())
}

async fn finished(fleet: &Fleet, request: &Value) -> Value {
    let job = fleet.submit(request).await;
    let job = fleet.until_status(job["job_id"].as_str().expect("an id"), &["completed", "failed"]).await;
    assert_eq!(job["status"], "completed", "{job}");
    job
}

#[tokio::test]
async fn interpolation_delivers_the_frames_that_were_asked_for_and_is_recorded() {
    // Standard smooths by default, the other tiers on request.
    let (fleet, _processes) = Fleet::start(interpolating().with("FLEET__TIERS__STANDARD__INTERPOLATE", "2")).await;
    let request = |interpolate: Value, tier: &str| {
        json!({ "prompt": "a red circle moves to the right on the snow", "seed": 7, "infer_steps": 3,
            "quality_tier": tier, "interpolate": interpolate })
    };
    let video = async |job: &Value| fleet.video(job["job_id"].as_str().expect("an id")).await;
    let smooth = finished(&fleet, &request(json!(8), "premium")).await;
    assert_eq!(
        (&smooth["shape"]["frames"], &smooth["optimization"]["interpolate"]),
        (&json!(17), &json!(8)),
        "{smooth}"
    );
    let done = &smooth["record"]["interpolation"];
    assert_eq!((&done["factor"], &done["frames"], &done["cuts"]), (&json!(8), &json!(129), &json!(0)), "{smooth}");
    assert!(smooth["record"]["stages"]["interpolate_s"].as_f64().is_some_and(|seconds| seconds > 0.0), "{smooth}");
    assert_eq!(smooth["video"]["frames"], 129, "{smooth}");
    let (frames, fps) = probe(&fleet, &video(&smooth).await);
    assert_eq!(frames, 129);
    assert!((fps - 24.0).abs() < 0.01, "{fps} frames per second");

    let plain = finished(&fleet, &request(Value::Null, "premium")).await;
    assert_eq!((&plain["record"]["interpolation"], &plain["video"]["frames"]), (&Value::Null, &json!(17)), "{plain}");
    assert_eq!(probe(&fleet, &video(&plain).await).0, 17);
    let tier = finished(&fleet, &request(Value::Null, "standard")).await;
    assert_eq!(tier["video"]["frames"], 33, "{tier}");
    let declined = finished(&fleet, &request(json!(1), "standard")).await;
    assert_eq!(declined["video"]["frames"], 17, "{declined}");

    let again = finished(&fleet, &request(json!(8), "premium")).await;
    assert!(video(&again).await == video(&smooth).await, "the same request gives the same bytes");
}

#[tokio::test]
async fn a_fleet_without_an_interpolator_says_so_and_a_worker_without_its_weights_does_not_start() {
    let fleet = Fleet::prepare(FleetOptions::default()).await;
    let api = fleet.api();
    fleet.until_api_ready().await;
    let call = fleet.client.post(format!("{}/api/generate", fleet.api_url));
    let answer = call.json(&json!({ "prompt": "a red circle", "interpolate": 2 })).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let problem = answer.text().await.expect("a body");
    assert!(problem.contains("interpolate") && problem.contains("scripts/fetch-interpolator"), "{problem}");
    drop(api);

    let nowhere = fleet.folder().join("nowhere").display().to_string();
    let variables =
        [("FLEET__INTERPOLATION__ENABLED", "true"), ("FLEET__INTERPOLATION__WEIGHTS_DIR", nowhere.as_str())];
    let mut worker = fleet.worker_with("worker-1", &variables);
    let ended = worker.until_ended(std::time::Duration::from_secs(120)).await;
    assert!(!ended.success() && worker.log().contains("scripts/fetch-interpolator"), "{}", worker.log());
}

/// Goal: early steps at half the size are chosen by request or tier, recorded and repeatable; a draft that pauses exactly at the change
/// of size is continued to the bytes of a run that never paused; and a request for none has the bytes of one that says nothing.
#[tokio::test]
async fn early_steps_at_half_the_size_are_planned_recorded_and_cut_at_the_change() {
    // A draft of eight steps pauses after three, as many as `fast` takes at half the size.
    let options = FleetOptions::default()
        .with("FLEET__TIERS__PREMIUM__DRAFT_SHARE", "0.375")
        .with("FLEET__TIERS__STANDARD__PROGRESSIVE", "fast");
    let (fleet, _processes) = Fleet::start(options).await;
    let request = |progressive: Value, tier: &str| {
        json!({ "prompt": "a red circle moves to the right on the snow", "seed": 7, "infer_steps": 8, "step_cache": "off",
            "quality_tier": tier, "progressive": progressive })
    };
    let video = async |job: &Value| fleet.video(job["job_id"].as_str().expect("an id")).await;
    let fast = finished(&fleet, &request(json!("fast"), "premium")).await;
    let early = &fast["optimization"]["progressive"];
    let size = (&early["width"], &early["height"], &early["steps"], &early["mode"]);
    assert_eq!(size, (&json!(32), &json!(32), &json!(3), &json!("fast")), "{fast}");
    let done = &fast["record"]["progressive"];
    assert_eq!((&done["steps_computed"], &done["steps_skipped"]), (&json!(3), &json!(0)), "{fast}");
    assert_eq!(fast["record"]["steps_computed"], 8, "{fast}");

    let off = finished(&fleet, &request(json!("off"), "premium")).await;
    let plain = finished(&fleet, &request(Value::Null, "premium")).await;
    assert_eq!((&off["optimization"]["progressive"], &off["record"]["progressive"]), (&Value::Null, &Value::Null));
    assert!(video(&off).await == video(&plain).await && video(&off).await != video(&fast).await);
    let tier = finished(&fleet, &request(Value::Null, "standard")).await;
    assert!(video(&tier).await == video(&fast).await, "the tier's mode is the request's: {tier}");

    let mut draft = request(json!("fast"), "premium");
    draft["mode"] = json!("draft");
    let draft = fleet.submit(&draft).await["job_id"].as_str().expect("an id").to_owned();
    let paused = fleet.until_status(&draft, &["drafted", "failed"]).await;
    assert_eq!(paused["draft"]["step"], 3, "{paused}");
    let answer = fleet.client.post(format!("{}/api/jobs/{draft}/continue", fleet.api_url)).send().await;
    assert_eq!(answer.expect("an answer").status(), StatusCode::ACCEPTED);
    let continued = fleet.until_status(&draft, &["completed", "failed"]).await;
    assert_eq!(continued["record"]["resumed_from"], 3, "{continued}");
    assert!(fleet.video(&draft).await == video(&fast).await, "the video has other bytes: {continued}");

    let mut inverted = request(json!("fast"), "premium");
    inverted["flow_reverse"] = json!(false);
    let call = fleet.client.post(format!("{}/api/generate", fleet.api_url)).json(&inverted);
    let answer = call.send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.text().await.expect("a body").contains("\"progressive\""));
}
