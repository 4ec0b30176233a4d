//! Replies of Postgres that are lost after the commit, at every transition: the client does not know what happened, and must
//! find out without doing anything twice.

use nix::sys::signal::Signal;
use reqwest::{Method, StatusCode};
use testkit::{Accounting, Catch, Fleet, Gates, Process, Protocol, Proxy, eventually_seen};

use crate::support::{
    CHECKPOINTED, PATIENCE, database, report, submit, tidy, until_completed, until_count, until_nothing_left,
    with_long_leases,
};

pub(crate) const DATABASE: &str = "FLEET__DATABASE__URL";

/// A proxy to the fleet's Postgres for one process alone.
pub(crate) fn way(fleet: &Fleet) -> (Proxy, String) {
    let proxy = Proxy::start(Protocol::Postgres, fleet.variable(DATABASE));
    let url = proxy.through(fleet.variable(DATABASE));
    (proxy, url)
}

pub(crate) fn lose(way: &Proxy, replies: &[&str]) {
    replies.iter().for_each(|reply| way.arm(reply, Catch::LoseReply));
}

/// One process of each kind, each with its own proxy.
struct Stage {
    fleet: Fleet,
    book: Accounting,
    gates: Gates,
    api: Proxy,
    scheduler: Proxy,
    worker: Proxy,
}

/// Goal: each transition that a process makes takes effect and its reply is lost once. Nothing happens twice, and no attempt
/// is spent.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_after_the_commit_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let scratch = folder.path().join("scratch");
    let options = with_long_leases().with("FLEET__WORKER__SCRATCH_DIR", &scratch.display().to_string());
    let fleet = Fleet::prepare(tidy(options)).await;
    let ((api, api_url), (scheduler, scheduler_url), (worker, worker_url)) = (way(&fleet), way(&fleet), way(&fleet));
    // The first registration of the model is lost on the way there, the next on the way back.
    api.arm("upsert_model", Catch::LoseRequest);
    lose(&api, &["upsert_model"]);
    lose(&scheduler, &["upsert_model", "try_lead", "forget_announcements"]);
    lose(&worker, &["register_worker"]);
    let _api = fleet.api_with(&[(DATABASE, &api_url)]);
    fleet.until_api_ready().await;
    let mut leader = fleet.scheduler_with("scheduler", &[(DATABASE, &scheduler_url)]);
    let gates = fleet.gates("worker");
    let mut process = fleet.gated_worker("worker", &gates, &[(DATABASE, &worker_url)]);
    for way in [&api, &scheduler, &worker] {
        way.until_sprung().await;
    }
    let stage = Stage { fleet, book: Accounting::default(), gates, api, scheduler, worker };

    let first = to_completion(&stage).await;
    let second = cancelled_and_retried(&stage).await;
    let third = begun_anew_without_its_checkpoint(&stage).await;
    failed_for_want_of_room(&stage, &scratch).await;
    deleted_and_restored(&stage, &first).await;
    let last = handed_back(&stage, &mut process).await;
    for job in [&first, &second, &third, &last] {
        let job = stage.fleet.job(job).await.expect("the job");
        assert_eq!(job["attempts"], 1, "{job}");
    }
    until_nothing_left(&stage.fleet, &stage.book).await;
    lose(&stage.scheduler, &["resign"]);
    leader.signal(Signal::SIGTERM);
    leader.until_ended(PATIENCE).await;
    stage.scheduler.until_sprung().await;
    report(&stage.fleet, &stage.book).await.assert_all_completed_once();
}

/// From submission to completion.
async fn to_completion(stage: &Stage) -> String {
    let Stage { fleet, book, gates, api, scheduler, worker } = stage;
    gates.hold("step-3");
    lose(api, &["insert_jobs"]);
    lose(scheduler, &["save_plans", "release_jobs", "keep_leading", "reannounce_due"]);
    let before = worker.sprung();
    lose(worker, &["claim_job", "note_progress", "renew_lease", "heartbeat", "save_checkpoint", "complete_job"]);
    let job = submit(fleet, book, 1).await;
    gates.until_reached("step-3").await;
    api.until_sprung().await;
    scheduler.until_sprung().await;
    // All but the last are under way while the model waits.
    eventually_seen("the worker's replies are lost", || async {
        let sprung = worker.sprung() - before;
        if sprung >= 5 { Ok(()) } else { Err(format!("{sprung} of 5")) }
    })
    .await;
    gates.open("step-3");
    until_completed(fleet, std::slice::from_ref(&job)).await;
    worker.until_sprung().await;
    job
}

/// A cancel, and a retry that continues from the checkpoint.
async fn cancelled_and_retried(stage: &Stage) -> String {
    let Stage { fleet, book, gates, api, worker, .. } = stage;
    gates.hold("step-5");
    let job = submit(fleet, book, 2).await;
    gates.until_reached("step-5").await;
    lose(api, &["cancel_job"]);
    lose(worker, &["stop_job"]);
    repeat(fleet, &job, Method::POST, "/cancel", StatusCode::OK).await;
    fleet.until_status(&job, &["cancelled"]).await;
    gates.open("step-5");
    lose(api, &["retry_job"]);
    lose(worker, &["begin_resume"]);
    // The first took effect, so the job is no longer one that can be retried.
    repeat(fleet, &job, Method::POST, "/retry", StatusCode::CONFLICT).await;
    until_completed(fleet, std::slice::from_ref(&job)).await;
    job
}

/// A checkpoint that is damaged: the row drops it, the reply is lost, and the object is left to the orphan sweep.
async fn begun_anew_without_its_checkpoint(stage: &Stage) -> String {
    let Stage { fleet, book, gates, worker, .. } = stage;
    let job = cancelled_with_checkpoint(fleet, book, gates, 3).await;
    let key = "SELECT checkpoint_key FROM jobs WHERE id = $1::uuid";
    let key = sqlx::query_scalar::<_, Option<String>>(key).bind(&job).fetch_one(&mut database(fleet).await).await;
    let key = key.expect("a row").expect("a cancelled job keeps its checkpoint");
    let object = std::path::Path::new(fleet.variable("FLEET__ARTIFACTS__URL")).join(key);
    std::fs::write(object, b"no checkpoint").expect("it can be damaged");
    lose(worker, &["drop_checkpoint"]);
    repeat(fleet, &job, Method::POST, "/retry", StatusCode::ACCEPTED).await;
    worker.until_sprung().await;
    until_completed(fleet, std::slice::from_ref(&job)).await;
    job
}

/// The worker has no disk space for its files.
async fn failed_for_want_of_room(stage: &Stage, scratch: &std::path::Path) {
    let Stage { fleet, book, worker, .. } = stage;
    lose(worker, &["fail_job"]);
    std::fs::remove_dir_all(scratch).expect("the worker's folder is there");
    let job = submit(fleet, book, 4).await;
    worker.until_sprung().await;
    std::fs::create_dir_all(scratch).expect("a folder");
    until_completed(fleet, &[job]).await;
}

async fn deleted_and_restored(stage: &Stage, job: &str) {
    let Stage { fleet, api, .. } = stage;
    lose(api, &["COMMIT"]);
    // The first took effect, so there is nothing left to delete.
    repeat(fleet, job, Method::DELETE, "", StatusCode::NOT_FOUND).await;
    lose(api, &["restore_job"]);
    repeat(fleet, job, Method::POST, "/restore", StatusCode::OK).await;
    for kind in ["deleted", "restored"] {
        assert_eq!(events(fleet, job, kind).await, 1, "{kind}");
    }
}

/// The worker is asked to stop in the middle of a job.
async fn handed_back(stage: &Stage, process: &mut Process) -> String {
    let Stage { fleet, book, gates, worker, .. } = stage;
    gates.hold("step-3");
    let job = submit(fleet, book, 5).await;
    gates.until_reached("step-3").await;
    lose(worker, &["hand_back_job"]);
    process.signal(Signal::SIGTERM);
    process.until_ended(PATIENCE).await;
    worker.until_sprung().await;
    let _successor = fleet.quick_worker("successor", &[]);
    until_completed(fleet, std::slice::from_ref(&job)).await;
    job
}

/// Runs a job until it has a checkpoint, and cancels it.
pub(crate) async fn cancelled_with_checkpoint(fleet: &Fleet, book: &Accounting, gates: &Gates, seed: i64) -> String {
    gates.hold("step-5");
    let job = submit(fleet, book, seed).await;
    gates.until_reached("step-5").await;
    until_count(fleet, "a checkpoint is stored", CHECKPOINTED, 1).await;
    repeat(fleet, &job, Method::POST, "/cancel", StatusCode::OK).await;
    fleet.until_status(&job, &["cancelled"]).await;
    gates.open("step-5");
    job
}

/// Repeats the call until there is a response, and expects this status.
pub(crate) async fn repeat(fleet: &Fleet, job: &str, method: Method, verb: &str, wanted: StatusCode) {
    let url = format!("{}/api/jobs/{job}{verb}", fleet.api_url);
    eventually_seen("the call returns", || async {
        let call = fleet.client.request(method.clone(), &url);
        let answer = call.send().await.map_err(|error| error.to_string())?;
        let status = answer.status();
        if status == wanted { Ok(()) } else { Err(format!("{status}: {}", answer.text().await.unwrap_or_default())) }
    })
    .await;
}

/// How often this happened to a job.
pub(crate) async fn events(fleet: &Fleet, job: &str, kind: &str) -> i64 {
    let count = sqlx::query_scalar("SELECT count(*) FROM job_events WHERE job_id = $1::uuid AND kind = $2");
    count.bind(job).bind(kind).fetch_one(&mut database(fleet).await).await.expect("a count")
}
