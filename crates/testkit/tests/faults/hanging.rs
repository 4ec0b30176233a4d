//! Parts that hang instead of failing, and messages that ask for a stop that nobody ordered.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;
use sqlx::types::chrono::{DateTime, Utc};
use testkit::{Accounting, Fleet, ObjectStore, eventually_seen};

use crate::support::{
    Recovery, database, impatient, report, submit, submit_as, tell, undisturbed, until_completed, with_long_leases,
};

/// Longer than any test: only a stop can end what waits for this long.
const NEVER: &str = "100000";

/// An ffmpeg that hangs while a file exists. It writes its process number beside that file.
struct HangingFfmpeg {
    script: PathBuf,
    switch: PathBuf,
    number: PathBuf,
}

impl HangingFfmpeg {
    fn new(folder: &Path) -> Self {
        let (script, switch, number) = (folder.join("ffmpeg"), folder.join("hang"), folder.join("number"));
        let text = format!(
            "#!/bin/sh\nif [ -e {} ]; then echo $$ > {}; exec sleep {NEVER}; fi\nexec ffmpeg \"$@\"\n",
            switch.display(),
            number.display()
        );
        std::fs::write(&script, text).expect("a script");
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
        Self { script, switch, number }
    }

    fn hang(&self) {
        std::fs::write(&self.switch, []).expect("the switch");
    }

    fn heal(&self) {
        std::fs::remove_file(&self.switch).expect("the switch");
        drop(std::fs::remove_file(&self.number));
    }

    /// The number of a process that hangs.
    async fn until_hanging(&self) -> u32 {
        eventually_seen("ffmpeg hangs", || async {
            let text = std::fs::read_to_string(&self.number).map_err(|error| error.to_string())?;
            text.trim().parse().map_err(|_| text)
        })
        .await
    }
}

async fn until_gone(process: u32) {
    eventually_seen("the hanging ffmpeg is gone", || async {
        let status = std::fs::read_to_string(format!("/proc/{process}/stat"));
        // A process that nobody has waited for yet is dead too.
        if status.is_err() || status.is_ok_and(|line| line.contains(") Z ")) { Ok(()) } else { Err("it runs".into()) }
    })
    .await;
}

async fn until_attempts(fleet: &Fleet, id: &str, wanted: u64) {
    eventually_seen("the run is given up and tried again", || async {
        let job = fleet.job(id).await.map_err(|error| error.to_string())?;
        if job["attempts"].as_u64() >= Some(wanted) { Ok(()) } else { Err(job.to_string()) }
    })
    .await;
}

async fn cancel(fleet: &Fleet, id: &str) {
    let answer = fleet.client.post(format!("{}/api/jobs/{id}/cancel", fleet.api_url)).send().await.expect("an answer");
    assert!(answer.status().is_success(), "{}", answer.status());
}

/// Goal: an ffmpeg that hangs costs an attempt; a cancel and the end of the worker end it at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_ffmpeg_is_ended_and_the_job_goes_on() {
    let fleet = Fleet::prepare(with_long_leases()).await;
    let (_api, _scheduler) = (fleet.api(), fleet.scheduler("scheduler"));
    fleet.until_api_ready().await;
    let book = Accounting::default();
    let ffmpeg = HangingFfmpeg::new(fleet.folder());
    let script = ffmpeg.script.display().to_string();
    let program = ("FLEET__WORKER__FFMPEG", script.as_str());

    let mut strict = fleet.quick_worker("strict", &[program, ("FLEET__WORKER__FFMPEG_STALL_S", "1")]);
    crate::support::until_workers(&fleet, 1).await;
    ffmpeg.hang();
    let recovery = Recovery::begins();
    let id = submit(&fleet, &book, 1).await;
    let process = ffmpeg.until_hanging().await;
    until_attempts(&fleet, &id, 2).await;
    until_gone(process).await;
    ffmpeg.heal();
    until_completed(&fleet, std::slice::from_ref(&id)).await;
    recovery.over("ffmpeg hangs (worker.ffmpeg_stall_s = 1); the job is done at a later attempt");
    strict.kill();

    // Without a limit that could end it, a cancel does.
    let patient = [program, ("FLEET__WORKER__FFMPEG_STALL_S", NEVER)];
    let mut worker = fleet.quick_worker("patient", &patient);
    let here = "SELECT count(*) FROM workers WHERE name = 'patient'";
    crate::support::until_count(&fleet, "the worker has tried its ffmpeg", here, 1).await;
    ffmpeg.hang();
    let cancelled = fleet.submit(&crate::support::request(2)).await["job_id"].as_str().expect("an id").to_owned();
    let process = ffmpeg.until_hanging().await;
    cancel(&fleet, &cancelled).await;
    fleet.until_status(&cancelled, &["cancelled"]).await;
    until_gone(process).await;
    ffmpeg.heal();

    // So does the end of the worker, however it ends.
    ffmpeg.hang();
    let last = submit(&fleet, &book, 3).await;
    let process = ffmpeg.until_hanging().await;
    worker.kill();
    until_gone(process).await;
    ffmpeg.heal();
    cancel(&fleet, &last).await;
}

/// Goal: an object store that accepts a connection and never responds costs an attempt; a cancel takes effect at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_object_store_delays_the_video_and_a_cancel_takes_effect() {
    let store = ObjectStore::start();
    let options = store.variables().iter().fold(with_long_leases(), |options, (name, value)| options.with(name, value));
    let fleet = Fleet::prepare(options).await;
    let (_api, _scheduler) = (fleet.api(), fleet.scheduler("scheduler"));
    fleet.until_api_ready().await;
    let book = Accounting::default();
    let mut hasty = fleet.quick_worker("hasty", &[("FLEET__ARTIFACTS__TIMEOUT_S", "1")]);
    store.hold_writes("video.mp4");
    let recovery = Recovery::begins();
    let id = submit(&fleet, &book, 1).await;
    store.until_held().await;
    until_attempts(&fleet, &id, 2).await;
    store.release();
    until_completed(&fleet, std::slice::from_ref(&id)).await;
    recovery.over("object store frozen (artifacts.timeout_s = 1); the job is done at a later attempt");
    hasty.kill();

    let _patient = fleet.quick_worker("patient", &[("FLEET__ARTIFACTS__TIMEOUT_S", NEVER)]);
    store.hold_writes("video.mp4");
    let cancelled = fleet.submit(&crate::support::request(2)).await["job_id"].as_str().expect("an id").to_owned();
    eventually_seen("the second job is being delivered", || async {
        let job = fleet.job(&cancelled).await.map_err(|error| error.to_string())?;
        if job["progress"]["stage"] == "deliver" { Ok(()) } else { Err(job.to_string()) }
    })
    .await;
    cancel(&fleet, &cancelled).await;
    fleet.until_status(&cancelled, &["cancelled"]).await;
    store.release();
    let report = book.report(fleet.variable("FLEET__DATABASE__URL"), &store.keys()).await;
    tell(&report.to_string());
}

/// Goal: a run that goes on for a multiple of its estimate is stopped, whatever progress it shows.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_takes_a_multiple_of_its_estimate_is_stopped() {
    let options =
        with_long_leases().with("FLEET__WORKER__RUN_LIMIT_FACTOR", "1").with("FLEET__WORKER__RUN_LIMIT_MIN_S", "1");
    let fleet = Fleet::prepare(options).await;
    let (_api, _scheduler) = (fleet.api(), fleet.scheduler("scheduler"));
    fleet.until_api_ready().await;
    let book = Accounting::default();
    let gates = fleet.gates("slow");
    gates.hold("step-4");
    let _worker = fleet.gated_worker("slow", &gates, &[]);
    let id = submit(&fleet, &book, 1).await;
    gates.until_reached("step-4").await;
    until_attempts(&fleet, &id, 2).await;
    let reason = "SELECT count(*) FROM job_events WHERE kind = 'retrying' AND detail ->> 'code' = 'run_too_long'";
    crate::support::until_count(&fleet, "the limit was the reason", reason, 1).await;
    gates.open("step-4");
    until_completed(&fleet, std::slice::from_ref(&id)).await;
    report(&fleet, &book).await.assert_all_completed_once();
}

/// Goal: a message is a hint. Requests to cancel that are late, repeated or forged do not touch a job whose row is not cancelled.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_request_to_cancel_changes_nothing() {
    let fleet = Fleet::prepare(impatient()).await;
    let (_api, _scheduler) = (fleet.api(), fleet.scheduler("scheduler"));
    fleet.until_api_ready().await;
    let book = Accounting::default();
    let gates = fleet.gates("worker");
    gates.hold("step-4");
    let _worker = fleet.gated_worker("worker", &gates, &[]);
    let id = submit(&fleet, &book, 1).await;
    gates.until_reached("step-4").await;
    let forged = json!({
        "v": 1, "type": "fleet.event", "id": id, "at": "2026-01-01T00:00:00Z",
        "body": {"kind": "cancel_requested", "data": {"job_id": id, "tenant_id": "00000000-0000-0000-0000-000000000000"}},
    });
    for _ in 0..3 {
        let forged = forged.to_string();
        eventually_seen("the worker receives the message", || async {
            let routed = fleet.vhost.publish_raw("fleet.events", "cancel", &forged).await;
            if routed { Ok(()) } else { Err("nobody listens".to_owned()) }
        })
        .await;
        // The message asks for a look at the row, which is a renewal.
        let mut end = lease_end(&fleet).await;
        for _ in 0..2 {
            end = until_renewed(&fleet, end).await;
        }
    }
    gates.open("step-4");
    until_completed(&fleet, std::slice::from_ref(&id)).await;
    let job = fleet.job(&id).await.expect("the job");
    assert_eq!(job["attempts"], 1, "{job}");
    let reference = undisturbed(&fleet, &book, &[1]).await;
    assert!(fleet.video(&id).await == reference[&1]);
    // A true one takes effect although it comes twice.
    gates.hold("step-4");
    let cancelled = submit_as(&fleet, &book, "cancelled", 2).await;
    gates.until_reached("step-4").await;
    cancel(&fleet, &cancelled).await;
    fleet.until_status(&cancelled, &["cancelled"]).await;
}

async fn lease_end(fleet: &Fleet) -> Option<DateTime<Utc>> {
    let query = "SELECT max(lease_expires_at) FROM jobs WHERE status = 'running'";
    sqlx::query_scalar(query).fetch_one(&mut database(fleet).await).await.expect("a row")
}

async fn until_renewed(fleet: &Fleet, before: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    eventually_seen("the lease is renewed", || async {
        let now = lease_end(fleet).await;
        if now > before { Ok(now) } else { Err(format!("{now:?}")) }
    })
    .await
}
