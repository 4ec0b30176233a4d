//! Goal: no process's own clock affects a lease, a release or an object.
//! Method: api, scheduler and one worker run with their wall clock an hour ahead, another worker with an hour behind (a
//! preloaded library shifts it); jobs outlive several leases, and one worker is killed.

use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{Clock as _, SystemClock};
use serde_json::{Value, json};
use testkit::{Fleet, FleetOptions, eventually_seen, repository};

const HOUR_S: i64 = 3_600;

/// Builds the library; the compiler is the one that links our own programs.
fn shift_library(folder: &Path) -> PathBuf {
    let library = folder.join("shift.so");
    let source = repository().join("crates/testkit/tests/clock/shift.c");
    let built =
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl").status();
    assert!(built.expect("a C compiler").success());
    library
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is not a time"))
}

/// How far the times at the beginning of a process's log lines are ahead of this test's clock.
fn ahead(log: &str) -> Option<TimeDelta> {
    let stamp = |line: &str| line.split_whitespace().next()?.parse::<DateTime<Utc>>().ok();
    log.lines().rev().find_map(stamp).map(|stamp| stamp - SystemClock.now())
}

async fn finished(fleet: &Fleet, id: &str) -> Value {
    let job = fleet.until_status(id, &["completed", "failed"]).await;
    assert_eq!(job["status"], "completed", "{job}");
    let now = SystemClock.now();
    let (created, started, ended) = (time(&job["created_at"]), time(&job["started_at"]), time(&job["finished_at"]));
    assert!(created <= started && started <= ended, "{job}");
    assert!((now - created).abs() < TimeDelta::minutes(30), "the database's clock stamps jobs: {job}");
    job
}

#[tokio::test]
async fn clocks_an_hour_off_lose_no_lease_and_keep_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let library = shift_library(folder.path()).display().to_string();
    let options = FleetOptions::default()
        .with("LD_PRELOAD", &library)
        .with("CLOCK_SHIFT_S", &HOUR_S.to_string())
        .with("FLEET__WORKER__LEASE_S", "4")
        .with("FLEET__WORKER__HEARTBEAT_S", "1")
        .with("FLEET__WORKER__CHECKPOINT_EVERY_S", "1")
        .with("FLEET__SCHEDULER__SWEEP_MS", "300")
        .with("FLEET__SCHEDULER__BACKOFF_MIN_S", "1");
    let (fleet, mut processes) = Fleet::start(options).await;
    let request = json!({
        "prompt": "a blue square rotates on the sand", "seed": 21, "infer_steps": 100, "step_cache": "off",
    });
    let submit = async || fleet.submit(&request).await["job_id"].as_str().expect("an id").to_owned();

    // Longer than its lease, by a worker an hour ahead: renewed in time, so no other worker claims it.
    let undisturbed = submit().await;
    let job = finished(&fleet, &undisturbed).await;
    assert_eq!(job["attempts"], 1, "{job}");
    let fast = processes.iter().filter_map(|process| ahead(&process.log()));
    assert!(fast.clone().count() > 0 && fast.clone().all(|ahead| ahead > TimeDelta::minutes(30)), "the clocks are off");

    // Its worker is killed: the lease ends after its seconds, not an hour later, and the worker with the slow clock continues.
    let disturbed = submit().await;
    eventually_seen("the job is being denoised", || async {
        let job = fleet.job(&disturbed).await.map_err(|error| error.to_string())?;
        if job["progress"]["step"].as_u64().is_some_and(|step| step > 0) { Ok(()) } else { Err(job.to_string()) }
    })
    .await;
    processes.last_mut().expect("the worker").kill();
    let slow = fleet.worker_with("worker-2", &[("CLOCK_SHIFT_S", &(-HOUR_S).to_string())]);
    let job = finished(&fleet, &disturbed).await;
    assert_eq!(job["attempts"], 2, "{job}");
    assert!(ahead(&slow.log()).is_some_and(|ahead| ahead < TimeDelta::minutes(-30)), "{}", slow.log());
    assert_eq!(fleet.video(&disturbed).await, fleet.video(&undisturbed).await);
}
