//! Drafts and candidates under faults: a pause is neither lost nor made twice, it holds no worker, and a group is decided once.

use serde_json::{Value, json};
use testkit::{Accounting, Catch, Fleet, eventually_seen};

use crate::lost_replies::{DATABASE, lose, way};
use crate::support::{
    database, impatient, request, submit, tidy, undisturbed, until_completed, until_count, with_long_leases,
};

/// The request of [`request`], which pauses after two of its six steps.
fn draft_request(seed: i64) -> Value {
    let mut request = request(seed);
    request["mode"] = json!("draft");
    request
}

async fn submit_draft(fleet: &Fleet, seed: i64) -> String {
    let job = fleet.submit(&draft_request(seed)).await;
    job["job_id"].as_str().expect("an id").to_owned()
}

async fn proceed(fleet: &Fleet, job: &str) -> reqwest::StatusCode {
    let url = format!("{}/api/jobs/{job}/continue", fleet.api_url);
    fleet.client.post(url).send().await.expect("an answer").status()
}

/// Events of a kind of a job.
async fn events(fleet: &Fleet, job: &str, kind: &str) -> i64 {
    crate::lost_replies::events(fleet, job, kind).await
}

/// Goal: a draft that is continued gives the bytes of a run that never paused, and waits without a worker.
#[tokio::test(flavor = "multi_thread")]
async fn a_continued_draft_gives_the_bytes_of_an_uninterrupted_run() {
    let fleet = Fleet::prepare(with_long_leases()).await;
    let _running = (fleet.api(), fleet.scheduler("scheduler"), fleet.quick_worker("worker", &[]));
    fleet.until_api_ready().await;
    let book = Accounting::default();
    let reference = undisturbed(&fleet, &book, &[1]).await;
    let draft = submit_draft(&fleet, 1).await;
    let job = fleet.until_status(&draft, &["drafted"]).await;
    assert_eq!((&job["draft"]["step"], &job["progress"]), (&json!(2), &Value::Null), "{job}");
    assert!(job["draft"]["scores"]["contrast"].as_f64().is_some_and(|contrast| contrast > 0.0), "{job}");
    let preview = format!("{}{}", fleet.api_url, job["preview"]["url"].as_str().expect("a preview"));
    let preview = fleet.client.get(preview).send().await.expect("an answer").bytes().await.expect("bytes");
    assert_eq!((&preview[..4], &preview[8..12]), (b"RIFF".as_slice(), b"WEBP".as_slice()));
    // The worker is free for another job while the draft waits.
    let other = submit(&fleet, &book, 2).await;
    until_completed(&fleet, &[other]).await;

    assert_eq!(proceed(&fleet, &draft).await, 202);
    assert_eq!(proceed(&fleet, &draft).await, 409);
    until_completed(&fleet, std::slice::from_ref(&draft)).await;
    assert!(fleet.video(&draft).await == reference[&1], "the video has other bytes");
    let job = fleet.job(&draft).await.expect("the job");
    assert_eq!(job["record"]["resumed_from"], 2, "{job}");
}

/// Goal: the worker dies between storing the draft and the pause, or the reply of the pause is lost: the job pauses once, and
/// the steps that the draft took are not repeated.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_the_pause_or_a_lost_reply_pauses_the_job_once() {
    let fleet = Fleet::prepare(tidy(impatient())).await;
    let (worker, worker_url) = way(&fleet);
    let (api, api_url) = way(&fleet);
    let _running = (fleet.api_with(&[(DATABASE, &api_url)]), fleet.scheduler("scheduler"));
    fleet.until_api_ready().await;
    let book = Accounting::default();

    worker.arm("pause_job", Catch::Hold);
    let mut killed = fleet.quick_worker("killed", &[(DATABASE, &worker_url), crate::support::PATIENT]);
    let draft = submit_draft(&fleet, 1).await;
    worker.until_sprung().await;
    killed.kill();
    drop(worker);
    let (worker, worker_url) = way(&fleet);
    lose(&worker, &["pause_job", "save_preview"]);
    let _successor = fleet.quick_worker("successor", &[(DATABASE, &worker_url)]);
    let job = fleet.until_status(&draft, &["drafted"]).await;
    worker.until_sprung().await;
    assert_eq!((events(&fleet, &draft, "drafted").await, &job["attempts"]), (1, &json!(2)), "{job}");
    let steps = "SELECT count(*) FROM jobs WHERE checkpoint_step = 2 AND checkpoint_resumes = 1";
    until_count(&fleet, "the second attempt began from the stored draft", steps, 1).await;

    lose(&api, &["COMMIT"]);
    crate::lost_replies::repeat(&fleet, &draft, reqwest::Method::POST, "/continue", reqwest::StatusCode::CONFLICT)
        .await;
    until_completed(&fleet, std::slice::from_ref(&draft)).await;
    let reference = undisturbed(&fleet, &book, &[1]).await;
    assert!(fleet.video(&draft).await == reference[&1], "the video has other bytes");
}

async fn group_of(fleet: &Fleet, job: &Value) -> Value {
    let url = format!("{}{}", fleet.api_url, job["links"]["group"].as_str().expect("a group"));
    fleet.client.get(url).send().await.expect("an answer").json().await.expect("JSON")
}

/// Goal: candidates are drafted by several workers, one of which is killed in the middle; the judge continues one, all others end,
/// and its video is the one that its seed gives alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_decided_once_although_a_worker_dies_while_it_drafts() {
    let fleet = Fleet::prepare(tidy(impatient())).await;
    let _running = (fleet.api(), fleet.scheduler("scheduler-1"), fleet.scheduler("scheduler-2"));
    fleet.until_api_ready().await;
    let gates = fleet.gates("killed");
    gates.hold("step-2");
    let mut killed = fleet.gated_worker("killed", &gates, &[]);
    let mut request = request(1);
    request["candidates"] = json!(4);
    let first = fleet.submit(&request).await;
    gates.until_reached("step-2").await;
    let _workers = (fleet.quick_worker("worker-1", &[]), fleet.quick_worker("worker-2", &[]));
    let drafted = "SELECT count(*) FROM jobs WHERE status = 'drafted'";
    until_count(&fleet, "the others are drafted", drafted, 3).await;
    killed.kill();

    let group = eventually_seen("one candidate is completed", || async {
        let group = group_of(&fleet, &first).await;
        let jobs = group["jobs"].as_array().expect("jobs").clone();
        let of = |status: &str| jobs.iter().filter(|job| job["status"] == status).count();
        if of("completed") == 1 && of("cancelled") == 3 { Ok(group) } else { Err(group.to_string()) }
    })
    .await;
    let chosen = group["chosen"].as_str().expect("a choice");
    let job = fleet.job(chosen).await.expect("the job");
    let choice = &job["choice"];
    assert_eq!((&choice["by"], choice["candidates"].as_array().map(Vec::len)), (&json!("measures"), Some(4)), "{job}");
    for candidate in choice["candidates"].as_array().expect("candidates") {
        assert!(candidate["draft"]["scores"]["motion"].is_number() && candidate["rank"].is_number(), "{candidate}");
    }
    let chosen_ones: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE choice IS NOT NULL")
        .fetch_one(&mut database(&fleet).await)
        .await
        .expect("a count");
    assert_eq!(chosen_ones, 1);

    // The same seed alone: its request, rendered to the end at once.
    let mut alone = job["request"].clone();
    alone["mode"] = json!("full");
    let alone = fleet.submit(&alone).await;
    let alone = alone["job_id"].as_str().expect("an id").to_owned();
    until_completed(&fleet, std::slice::from_ref(&alone)).await;
    assert!(fleet.video(chosen).await == fleet.video(&alone).await, "the video has other bytes");
}

/// Goal: nobody continues it, so it ends; a cancelled group cancels all candidates.
#[tokio::test(flavor = "multi_thread")]
async fn drafts_expire_and_a_cancelled_group_ends() {
    let fleet = Fleet::prepare(with_long_leases().with("FLEET__SCHEDULER__DRAFT_TTL_S", "1")).await;
    let _running = (fleet.api(), fleet.scheduler("scheduler"));
    let mut worker = fleet.quick_worker("worker", &[]);
    fleet.until_api_ready().await;
    let draft = submit_draft(&fleet, 1).await;
    let job = fleet.until_status(&draft, &["cancelled"]).await;
    assert!(job["draft"].is_object() && job["stopping_saved_s"].as_f64().is_some_and(|saved| saved > 0.0), "{job}");

    worker.kill();
    let gates = fleet.gates("held");
    gates.hold("step-1");
    let mut request = request(2);
    request["candidates"] = json!(3);
    let _held = fleet.gated_worker("held", &gates, &[]);
    let first = fleet.submit(&request).await;
    let url = format!("{}{}/cancel", fleet.api_url, first["links"]["group"].as_str().expect("a group"));
    assert!(fleet.client.post(url).send().await.expect("an answer").status().is_success());
    eventually_seen("all candidates are cancelled", || async {
        let group = group_of(&fleet, &first).await;
        let over = group["jobs"].as_array().is_some_and(|jobs| jobs.iter().all(|job| job["status"] == "cancelled"));
        if over { Ok(()) } else { Err(group.to_string()) }
    })
    .await;
}
