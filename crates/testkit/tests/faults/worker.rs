//! Workers that are killed, paused, wedged or cut off.

use std::time::Duration;

use nix::sys::signal::Signal;
use testkit::{Accounting, Catch, Fleet, ObjectStore, Protocol, Proxy, eventually_seen};

use crate::support::{
    CHECKPOINTED, ONE_AT_A_TIME, PATIENCE, PATIENT, Recovery, database, impatient, report, submit, tell, undisturbed,
    until_completed, until_count, until_workers,
};

/// Goal: at each stage a SIGKILL costs a lease, not the video. Five workers are held at a different stage each, all are killed
/// there, and one that is not disturbed finishes all jobs.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_stage_the_job_goes_on_elsewhere_with_the_same_bytes() {
    let store = ObjectStore::start();
    let options = store.variables().iter().fold(impatient(), |options, (name, value)| options.with(name, value));
    let fleet = Fleet::prepare(options).await;
    let (_api, _scheduler) = (fleet.api(), fleet.scheduler("scheduler"));
    fleet.until_api_ready().await;
    let book = Accounting::default();

    store.hold_writes("video.mp4");
    let mut ids = vec![submit(&fleet, &book, 1).await];
    let mut uploading = fleet.quick_worker("upload", &[]);
    store.until_held().await;
    uploading.kill();
    store.release();

    let database = Proxy::start(Protocol::Postgres, fleet.variable("FLEET__DATABASE__URL"));
    database.arm("complete_job", Catch::Hold);
    let url = database.through(fleet.variable("FLEET__DATABASE__URL"));
    let mut workers = vec![fleet.quick_worker("commit", &[("FLEET__DATABASE__URL", &url), PATIENT, ONE_AT_A_TIME])];
    for seed in 2..=5 {
        ids.push(submit(&fleet, &book, seed).await);
    }
    for point in ["encode", "step-4", "decode"] {
        let gates = fleet.gates(point);
        gates.hold(point);
        workers.push(fleet.gated_worker(point, &gates, &[]));
    }
    for point in ["encode", "step-4", "decode"] {
        fleet.gates(point).until_reached(point).await;
    }
    database.until_sprung().await;
    until_count(&fleet, "three of them have stored a checkpoint", CHECKPOINTED, 3).await;
    let recovery = Recovery::begins();
    workers.iter_mut().for_each(testkit::Process::kill);
    drop(database);

    let _successor = fleet.quick_worker("successor", &[]);
    until_completed(&fleet, &ids).await;
    recovery.over("workers killed with -9 at encode, denoise, decode, upload, commit; five jobs done by one worker");
    let seeds = [1, 2, 3, 4, 5];
    let reference = undisturbed(&fleet, &book, &seeds).await;
    let mut resumed = 0;
    for (seed, id) in seeds.iter().zip(&ids) {
        assert!(fleet.video(id).await == reference[seed], "the video of seed {seed} has other bytes");
        let job = fleet.job(id).await.expect("the job");
        resumed += u32::from(job["record"]["resumed_from"].as_u64().is_some_and(|step| step > 0));
    }
    let report = book.report(fleet.variable("FLEET__DATABASE__URL"), &store.keys()).await;
    tell(&report.to_string());
    report.assert_all_completed_once();
    assert!(report.duplicate_executions >= 5, "each of the killed had begun one: {report}");
    assert!(resumed >= 3, "{resumed} of the jobs continued from a checkpoint");
}

/// Goal: the same with the real model: killed late in denoising, finished by another worker from the checkpoint, byte for byte.
#[tokio::test(flavor = "multi_thread")]
async fn the_real_model_goes_on_elsewhere_with_the_same_bytes() {
    let fleet = Fleet::prepare(impatient()).await;
    let (_api, _scheduler) = (fleet.api(), fleet.scheduler("scheduler"));
    fleet.until_api_ready().await;
    let gates = fleet.gates("killed");
    gates.hold("step-30");
    gates.hold("step-60");
    let mut killed = fleet.gated_worker("killed", &gates, &[("FLEET_TEST_RENDERER", "model")]);
    let mut request = crate::support::request(7);
    request["infer_steps"] = 70.into();
    let job = id(&fleet.submit(&request).await);
    gates.until_reached("step-30").await;
    // A checkpoint is due after a second of work, and the model is quicker than that.
    let worked = "SELECT count(*) FROM jobs WHERE status = 'running' AND claimed_at < now() - interval '1.2 s'";
    until_count(&fleet, "a second of work has passed", worked, 1).await;
    gates.open("step-30");
    gates.until_reached("step-60").await;
    until_count(&fleet, "a checkpoint is stored", CHECKPOINTED, 1).await;
    killed.kill();
    let _successor = fleet.worker("successor");
    until_completed(&fleet, std::slice::from_ref(&job)).await;
    let undisturbed = id(&fleet.submit(&request).await);
    until_completed(&fleet, std::slice::from_ref(&undisturbed)).await;
    let resumed = fleet.job(&job).await.expect("the job");
    assert!(resumed["record"]["resumed_from"].as_u64().is_some_and(|step| step > 0), "{resumed}");
    assert!(fleet.video(&job).await == fleet.video(&undisturbed).await, "the resumed video has other bytes");
}

/// Goal: a worker that dies while it interpolates costs a lease; another one gives the same bytes, those of the new frames too.
#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_interpolates_the_job_goes_on_elsewhere_with_the_same_bytes() {
    let weights = testkit::repository().join("crates/hunyuan/tests/fixtures/interpolation/small");
    let options = impatient()
        .with("FLEET__INTERPOLATION__ENABLED", "true")
        .with("FLEET__INTERPOLATION__WEIGHTS_DIR", &weights.display().to_string());
    let fleet = Fleet::prepare(options).await;
    let (_api, _scheduler) = (fleet.api(), fleet.scheduler("scheduler"));
    fleet.until_api_ready().await;
    let gates = fleet.gates("killed");
    gates.hold("interpolate");
    let mut killed = fleet.gated_worker("killed", &gates, &[("FLEET_TEST_RENDERER", "model")]);
    let mut request = crate::support::request(9);
    request["interpolate"] = 2.into();
    let job = id(&fleet.submit(&request).await);
    gates.until_reached("interpolate").await;
    let at_work = "SELECT count(*) FROM jobs WHERE stage = 'interpolate'";
    until_count(&fleet, "the stage is in the row", at_work, 1).await;
    killed.kill();
    let _successor = fleet.worker("successor");
    until_completed(&fleet, std::slice::from_ref(&job)).await;
    let undisturbed = id(&fleet.submit(&request).await);
    until_completed(&fleet, std::slice::from_ref(&undisturbed)).await;
    let finished = fleet.job(&job).await.expect("the job");
    assert_eq!(finished["record"]["interpolation"]["factor"], 2, "{finished}");
    assert!(fleet.video(&job).await == fleet.video(&undisturbed).await, "the video has other bytes");
}

fn id(job: &serde_json::Value) -> String {
    job["job_id"].as_str().expect("a job has an id").to_owned()
}

/// Goal: a worker that is paused beyond its lease changes nothing afterwards. One is paused between upload and commit with its
/// completion in flight, one in the middle of denoising; both resume when another worker has finished their jobs.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_slept_past_its_lease_is_refused_and_touches_no_object() {
    let fleet = Fleet::prepare(impatient()).await;
    let (_api, _scheduler) = (fleet.api(), fleet.scheduler("scheduler"));
    fleet.until_api_ready().await;
    let book = Accounting::default();
    let database = Proxy::start(Protocol::Postgres, fleet.variable("FLEET__DATABASE__URL"));
    database.arm("complete_job", Catch::Hold);
    let url = database.through(fleet.variable("FLEET__DATABASE__URL"));
    let gates = fleet.gates("sleeper");
    gates.hold("step-4");
    let at_commit = fleet.quick_worker("at-commit", &[("FLEET__DATABASE__URL", &url), PATIENT, ONE_AT_A_TIME]);
    let at_step = fleet.gated_worker("at-step", &gates, &[]);
    let mut ids = vec![submit(&fleet, &book, 1).await, submit(&fleet, &book, 2).await];
    database.until_sprung().await;
    gates.until_reached("step-4").await;
    let recovery = Recovery::begins();
    at_commit.signal(Signal::SIGSTOP);
    at_step.signal(Signal::SIGSTOP);

    let mut successor = fleet.quick_worker("successor", &[]);
    until_completed(&fleet, &ids).await;
    recovery.over("workers paused; two jobs done by another");
    let before = [fleet.video(&ids[0]).await, fleet.video(&ids[1]).await];
    let rows = |fleet: &Fleet| {
        let client = fleet.client.clone();
        let urls: Vec<_> = ids.iter().map(|id| format!("{}/api/jobs/{id}", fleet.api_url)).collect();
        async move {
            let mut rows = Vec::new();
            for url in urls {
                rows.push(client.get(url).send().await.expect("an answer").text().await.expect("a job"));
            }
            rows
        }
    };
    let ended = rows(&fleet).await;

    at_commit.signal(Signal::SIGCONT);
    at_step.signal(Signal::SIGCONT);
    database.release();
    gates.open("step-4");
    for (worker, says) in [(&at_commit, "could not be recorded"), (&at_step, "lease lost")] {
        eventually_seen("the paused worker learns that its lease is lost", || async {
            let log = worker.log();
            if log.contains(says) { Ok(()) } else { Err(log.lines().last().unwrap_or_default().to_owned()) }
        })
        .await;
    }
    assert_eq!(rows(&fleet).await, ended, "a late write changed a row");
    assert!([fleet.video(&ids[0]).await, fleet.video(&ids[1]).await] == before, "a late write changed a video");

    // The paused workers still work afterwards.
    successor.kill();
    ids = vec![submit(&fleet, &book, 3).await, submit(&fleet, &book, 4).await];
    until_completed(&fleet, &ids).await;
    report(&fleet, &book).await.assert_all_completed_once();
}

/// Goal: a GPU that hangs costs the job seconds. The model ignores requests; its job is reassigned and the worker exits,
/// even when it is asked to stop meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_wedged_model_gives_its_job_up_and_its_worker_leaves() {
    let options = impatient().with("FLEET__WORKER__STALL_MIN_S", "3").with("FLEET__WORKER__DRAIN_S", "3");
    let fleet = Fleet::prepare(options).await;
    let (_api, _scheduler) = (fleet.api(), fleet.scheduler("scheduler"));
    fleet.until_api_ready().await;
    let book = Accounting::default();
    let (stalled, stopped) = (fleet.gates("stalled"), fleet.gates("stopped"));
    stalled.wedge("step-3");
    stopped.wedge("step-3");
    let mut first = fleet.gated_worker("stalled", &stalled, &[]);
    let mut second = fleet.gated_worker("stopped", &stopped, &[("FLEET__WORKER__STALL_MIN_S", "60")]);
    let ids = vec![submit(&fleet, &book, 1).await, submit(&fleet, &book, 2).await];
    stalled.until_reached("step-3").await;
    stopped.until_reached("step-3").await;
    let recovery = Recovery::begins();
    second.signal(Signal::SIGTERM);
    let _successor = fleet.quick_worker("successor", &[]);
    until_completed(&fleet, &ids).await;
    recovery.over("models wedged; two jobs done by another worker");
    first.until_ended(PATIENCE).await;
    second.until_ended(PATIENCE).await;
    assert!(first.log().contains("makes no progress"), "{}", first.log());
    assert!(second.log().contains("could not be handed back in time"), "{}", second.log());
    let report = report(&fleet, &book).await;
    report.assert_all_completed_once();
    assert!(report.duplicate_executions >= 2, "{report}");
}

/// Goal: a GPU that breaks costs the job no attempt and takes no second job: its worker leaves, the row says why, another
/// worker has the job. A job under which devices keep breaking fails in the end, before it has taken every worker down.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_device_ends_its_worker_and_not_the_job() {
    let fleet = Fleet::prepare(impatient().with("FLEET__SCHEDULER__ATTEMPTS_MAX", "2")).await;
    let (_api, _scheduler) = (fleet.api(), fleet.scheduler("scheduler"));
    fleet.until_api_ready().await;
    let book = Accounting::default();
    let gates = fleet.gates("sick");
    gates.break_device("step-3");
    let mut sick = fleet.gated_worker("sick", &gates, &[]);
    let jobs = [submit(&fleet, &book, 1).await, submit(&fleet, &book, 2).await];
    sick.until_ended(PATIENCE).await;
    let reason: Option<String> = sqlx::query_scalar("SELECT gone_reason FROM workers WHERE state = 'gone'")
        .fetch_one(&mut database(&fleet).await)
        .await
        .expect("the worker's row");
    assert!(reason.as_deref().is_some_and(|reason| reason.contains("uncorrectable ECC")), "{reason:?}");
    let touched = "SELECT count(*) FROM jobs WHERE device_faults > 0";
    until_count(&fleet, "one job met the fault", touched, 1).await;
    let mut well = fleet.quick_worker("well", &[]);
    until_completed(&fleet, &jobs).await;
    let most: i32 = sqlx::query_scalar("SELECT max(attempts_total) FROM jobs")
        .fetch_one(&mut database(&fleet).await)
        .await
        .expect("attempts");
    assert_eq!(most, 1, "the fault cost an attempt");
    report(&fleet, &book).await.assert_all_completed_once();
    well.kill();

    // Every worker breaks at it: three are free, then each costs one of two attempts.
    let job = submit(&fleet, &book, 3).await;
    for _ in 0..5 {
        let mut worker = fleet.gated_worker("sick", &gates, &[]);
        worker.until_ended(PATIENCE).await;
    }
    let job = fleet.until_status(&job, &["completed", "failed", "cancelled"]).await;
    assert_eq!(
        (job["status"].as_str(), job["failure"]["code"].as_str()),
        (Some("failed"), Some("device_broken")),
        "{job}"
    );
}

/// Goal: a result that is not finite is tried once more, then the job fails and says at which stage and step.
#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_not_finite_is_never_delivered() {
    let fleet = Fleet::prepare(impatient()).await;
    let (_api, _scheduler) = (fleet.api(), fleet.scheduler("scheduler"));
    fleet.until_api_ready().await;
    let book = Accounting::default();
    let gates = fleet.gates("damaged");
    gates.not_finite("step-3");
    let _worker = fleet.gated_worker("damaged", &gates, &[]);
    let job = submit(&fleet, &book, 1).await;
    let job = fleet.until_status(&job, &["completed", "failed", "cancelled"]).await;
    assert_eq!(
        (job["status"].as_str(), job["failure"]["code"].as_str()),
        (Some("failed"), Some("not_finite")),
        "{job}"
    );
    let reason = job["failure"]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("denoising") && reason.contains("step 3"), "{reason}");
    let attempts: i32 = sqlx::query_scalar("SELECT attempts_total FROM jobs")
        .fetch_one(&mut database(&fleet).await)
        .await
        .expect("attempts");
    assert_eq!(attempts, 2);
}

/// Goal: cut off from Postgres alone, a worker stops on its own and another one gets the job; cut off from RabbitMQ alone, it
/// continues by polling. Afterwards both work as before.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_cut_off_stops_in_time_and_comes_back() {
    let fleet = Fleet::prepare(impatient()).await;
    let (_api, _scheduler) = (fleet.api(), fleet.scheduler("scheduler"));
    fleet.until_api_ready().await;
    let book = Accounting::default();
    let database = Proxy::start(Protocol::Postgres, fleet.variable("FLEET__DATABASE__URL"));
    let broker = Proxy::start(Protocol::Bytes, fleet.variable("FLEET__BROKER__URL"));
    let (database_url, broker_url) = (
        database.through(fleet.variable("FLEET__DATABASE__URL")),
        broker.through(fleet.variable("FLEET__BROKER__URL")),
    );
    let gates = fleet.gates("cut-off");
    gates.hold("step-4");
    let variables = [("FLEET__DATABASE__URL", database_url.as_str()), ("FLEET__BROKER__URL", broker_url.as_str())];
    let worker = fleet.gated_worker("cut-off", &gates, &variables);

    // From RabbitMQ, in the middle of a job and before the next.
    let first = submit(&fleet, &book, 1).await;
    gates.until_reached("step-4").await;
    let recovery = Recovery::begins();
    broker.stall();
    gates.open("step-4");
    let second = submit(&fleet, &book, 2).await;
    until_completed(&fleet, &[first, second]).await;
    recovery.over("worker cut off from RabbitMQ alone; the running job and the next done by itself");
    broker.cut();
    broker.heal();

    // From Postgres: no replies, no refusals.
    gates.hold("step-4");
    let third = submit(&fleet, &book, 3).await;
    gates.until_reached("step-4").await;
    let recovery = Recovery::begins();
    database.stall();
    let mut successor = fleet.quick_worker("successor", &[]);
    until_completed(&fleet, &[third]).await;
    recovery.over("worker cut off from Postgres alone; its job done by another");
    eventually_seen("it stops by its own clock", || async {
        if worker.log().contains("lease lost") { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    gates.open("step-4");
    database.cut();
    database.heal();
    successor.signal(Signal::SIGTERM);
    successor.until_ended(Duration::from_secs(60)).await;
    let fourth = submit(&fleet, &book, 4).await;
    until_workers(&fleet, 1).await;
    until_completed(&fleet, &[fourth]).await;
    report(&fleet, &book).await.assert_all_completed_once();
}
