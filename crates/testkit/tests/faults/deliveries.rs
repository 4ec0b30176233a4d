//! A slow object store: videos are delivered beside the next job, and neither job disturbs the other.

use nix::sys::signal::Signal;
use reqwest::{Method, StatusCode};
use testkit::{Accounting, Fleet, Gates, ObjectStore, Process, eventually_seen};

use crate::lost_replies::repeat;
use crate::support::{PATIENCE, database, impatient, submit, tell, until_completed, until_count};

/// Jobs whose videos are being delivered.
const DELIVERING: &str = "SELECT count(*) FROM jobs WHERE status = 'running' AND stage = 'deliver'";
/// Jobs that wait for a worker.
const RELEASED: &str = "SELECT count(*) FROM jobs WHERE status = 'scheduled'";

/// A fleet whose object store holds the upload of the first job's video, and whose worker has the second at `point`.
struct Stage {
    fleet: Fleet,
    store: ObjectStore,
    book: Accounting,
    gates: Gates,
    worker: Process,
    jobs: [String; 2],
    _others: [Process; 2],
}

impl Stage {
    async fn with_second_job_at(point: &str, variables: &[(&str, &str)]) -> Self {
        let store = ObjectStore::start();
        // A request that is held must not run into a timeout.
        let options = impatient().with("FLEET__ARTIFACTS__TIMEOUT_S", "120");
        let options = store.variables().iter().fold(options, |options, (name, value)| options.with(name, value));
        let fleet = Fleet::prepare(options).await;
        let others = [fleet.api(), fleet.scheduler("scheduler")];
        fleet.until_api_ready().await;
        let (book, gates) = (Accounting::default(), fleet.gates("worker"));
        let worker = fleet.gated_worker("worker", &gates, variables);
        store.hold_writes("video.mp4");
        let first = submit(&fleet, &book, 1).await;
        store.until_held().await;
        gates.hold(point);
        let second = submit(&fleet, &book, 2).await;
        gates.until_reached(point).await;
        Self { fleet, store, book, gates, worker, jobs: [first, second], _others: others }
    }

    async fn status(&self, job: usize) -> String {
        let job = self.fleet.job(&self.jobs[job]).await.expect("the job");
        job["status"].as_str().unwrap_or_default().to_owned()
    }

    /// Checks that every job was completed by its first execution.
    async fn once_each(&self) {
        let report = self.book.report(self.fleet.variable("FLEET__DATABASE__URL"), &self.store.keys()).await;
        tell(&report.to_string());
        report.assert_all_completed_once();
        assert_eq!(report.duplicate_executions, 0, "{report}");
    }

    /// Attempts of each job, oldest job first.
    async fn attempts(&self) -> Vec<i32> {
        sqlx::query_scalar("SELECT attempts_total FROM jobs ORDER BY created_at")
            .fetch_all(&mut database(&self.fleet).await)
            .await
            .expect("attempts")
    }
}

/// Goal: an upload that takes longer than a lease does not hold the model. The next job denoises meanwhile, both leases are
/// renewed, and each job ends when its own work is done.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_job_is_rendered_while_a_video_is_uploaded() {
    let stage = Stage::with_second_job_at("step-4", &[]).await;
    until_count(&stage.fleet, "the first is being delivered", DELIVERING, 1).await;
    // Longer than the length of a lease after both claims, both are still valid.
    let renewed = "SELECT count(*) FROM jobs WHERE status = 'running' AND claimed_at < now() - interval '6 s'
                   AND lease_expires_at > now()";
    until_count(&stage.fleet, "both leases outlast their first length", renewed, 2).await;
    let workers =
        stage.fleet.client.get(format!("{}/api/workers", stage.fleet.api_url)).send().await.expect("an answer");
    let workers: serde_json::Value = workers.json().await.expect("workers");
    assert_eq!(workers["workers"][0]["job_ids"].as_array().map(Vec::len), Some(2), "{workers}");

    stage.store.release();
    until_completed(&stage.fleet, &stage.jobs[..1]).await;
    assert_eq!(stage.status(1).await, "running", "the second is not finished yet");
    stage.gates.open("step-4");
    until_completed(&stage.fleet, &stage.jobs).await;
    assert_eq!(stage.attempts().await, [1, 1]);
    stage.once_each().await;
}

/// Goal: a cancel stops the job that it names, in either place, and not the other one.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_stops_a_delivery_and_not_the_next_job() {
    let stage = Stage::with_second_job_at("step-4", &[]).await;
    repeat(&stage.fleet, &stage.jobs[0], Method::POST, "/cancel", StatusCode::OK).await;
    // Although the store does not reply to the upload.
    stage.fleet.until_status(&stage.jobs[0], &["cancelled"]).await;
    assert_eq!(stage.status(1).await, "running");
    stage.store.release();
    stage.gates.open("step-4");
    until_completed(&stage.fleet, &stage.jobs[1..]).await;
    assert_eq!(stage.attempts().await, [1, 1]);
}

/// Goal: a stop hands back both jobs, the one that is delivered and the one that is rendered. Neither loses an attempt.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_hands_back_the_delivery_and_the_next_job() {
    let mut stage = Stage::with_second_job_at("step-4", &[("FLEET__WORKER__LEASE_S", "60")]).await;
    stage.worker.signal(Signal::SIGTERM);
    stage.worker.until_ended(PATIENCE).await;
    assert!(!stage.worker.log().contains("could not be handed back in time"), "{}", stage.worker.log());
    let handed_back = "SELECT count(DISTINCT job_id) FROM job_events WHERE kind = 'handed_back'";
    until_count(&stage.fleet, "both jobs are handed back", handed_back, 2).await;
    stage.store.release();
    let _successor = stage.fleet.quick_worker("successor", &[]);
    until_completed(&stage.fleet, &stage.jobs).await;
    let costly: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE attempts > 1")
        .fetch_one(&mut database(&stage.fleet).await)
        .await
        .expect("attempts");
    assert_eq!(costly, 0, "a hand-back costs no attempt");
}

/// Goal: a device that breaks under the next job does not take the finished video with it. The worker delivers it before it
/// leaves, and takes nothing new meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_breaks_leaves_the_delivery_alone() {
    let mut stage = Stage::with_second_job_at("step-3", &[]).await;
    stage.gates.break_device("step-3");
    std::fs::remove_file(stage.gates.folder().join("hold-step-3")).expect("the second job goes on");
    let faults = "SELECT count(*) FROM jobs WHERE device_faults > 0";
    until_count(&stage.fleet, "the second job met the fault", faults, 1).await;
    let draining = "SELECT count(*) FROM workers WHERE state = 'draining'";
    until_count(&stage.fleet, "the worker takes nothing new", draining, 1).await;
    assert_eq!(stage.status(0).await, "running", "its video is still being uploaded");
    stage.store.release();
    until_completed(&stage.fleet, &stage.jobs[..1]).await;
    stage.worker.until_ended(PATIENCE).await;
    stage.gates.open("step-3");
    let _successor = stage.fleet.quick_worker("successor", &[]);
    until_completed(&stage.fleet, &stage.jobs).await;
    assert_eq!(stage.attempts().await, [1, 1]);
    stage
        .book
        .report(stage.fleet.variable("FLEET__DATABASE__URL"), &stage.store.keys())
        .await
        .assert_all_completed_once();
}

/// Goal: a store that is slower than the model fills no memory. With one place for deliveries, a second finished video waits
/// for it in the worker's slot, and a third job is not claimed.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_place_for_deliveries_keeps_the_slot() {
    let stage = Stage::with_second_job_at("decode", &[("FLEET__WORKER__DELIVERIES_MAX", "1")]).await;
    let third = submit(&stage.fleet, &stage.book, 3).await;
    stage.gates.open("decode");
    eventually_seen("the second job waits with its frames", || async {
        let stages: Vec<Option<String>> = sqlx::query_scalar("SELECT stage FROM jobs ORDER BY created_at")
            .fetch_all(&mut database(&stage.fleet).await)
            .await
            .map_err(|error| error.to_string())?;
        let wanted = [Some("deliver"), Some("decode"), None];
        if stages.iter().map(Option::as_deref).eq(wanted) { Ok(()) } else { Err(format!("{stages:?}")) }
    })
    .await;
    until_count(&stage.fleet, "the third waits for a worker", RELEASED, 1).await;
    // Longer than the worker takes to find a released job by polling.
    let settled = "SELECT count(*) FROM jobs WHERE status = 'scheduled' AND scheduled_at < now() - interval '2 s'";
    until_count(&stage.fleet, "it still waits", settled, 1).await;
    stage.store.release();
    let jobs = [stage.jobs[0].clone(), stage.jobs[1].clone(), third];
    until_completed(&stage.fleet, &jobs).await;
    assert_eq!(stage.attempts().await, [1, 1, 1]);
    stage.once_each().await;
}
