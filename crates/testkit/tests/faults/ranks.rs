//! A worker whose videos are computed by several processes, and what happens when one of them is lost or hangs.

use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use testkit::{Accounting, Fleet, Way, eventually_seen};

use crate::support::{CHECKPOINTED, PATIENCE, Recovery, until_completed, until_count, until_workers, with_long_leases};

/// Long enough for a checkpoint and a fault after it.
fn request(seed: i64) -> Value {
    json!({ "prompt": "a blue square rotates on the sand", "seed": seed, "infer_steps": 100, "step_cache": "off" })
}

async fn submit(fleet: &Fleet, book: &Accounting, key: &str, seed: i64) -> String {
    let urls = [fleet.api_url.clone()];
    let way = Way { client: &fleet.client, urls: &urls, token: None, patience: PATIENCE };
    book.submit(&way, key, &request(seed)).await
}

/// The processes of other devices that belong to this test's workers: they meet in a folder below its own.
pub(crate) fn ranks(fleet: &Fleet) -> Vec<i32> {
    let folder = fleet.folder().display().to_string();
    let ours = |process: &Path| {
        let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        let dead = std::fs::read_to_string(process.join("stat")).is_ok_and(|stat| stat.contains(") Z "));
        line.contains("\0rank\0") && line.contains(&folder) && !dead
    };
    let processes = std::fs::read_dir("/proc").expect("the processes").flatten();
    let ours = processes.filter(|process| ours(&process.path()));
    ours.filter_map(|process| process.file_name().to_string_lossy().parse().ok()).collect()
}

async fn until_ranks(fleet: &Fleet, wanted: usize) -> Vec<i32> {
    eventually_seen("the worker has the processes of its devices", || async {
        let found = ranks(fleet);
        if found.len() == wanted { Ok(found) } else { Err(format!("{found:?}")) }
    })
    .await
}

/// Goal: a process that is killed, and one that hangs, cost an attempt each; the worker starts new ones, the bytes are those of an
/// undisturbed run, and the worker's end leaves no process behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_or_hanging_device_costs_an_attempt_and_leaves_no_process() {
    let fleet = Fleet::prepare(with_long_leases()).await;
    let (_api, _scheduler) = (fleet.api(), fleet.scheduler("scheduler"));
    fleet.until_api_ready().await;
    let book = Accounting::default();
    let folder = fleet.folder().display().to_string();
    let threads = ("FLEET__WORKER__THREADS", "1");
    let devices = ("FLEET__WORKER__DEVICES", "cpu,cpu");
    let settings = [devices, threads, ("FLEET__WORKER__STALL_MIN_S", "20"), ("TMPDIR", folder.as_str())];
    let mut together = fleet.worker_with("together", &settings);
    until_workers(&fleet, 1).await;
    let first = until_ranks(&fleet, 1).await;

    let mut ids = Vec::new();
    let mut known = first;
    for (seed, signal) in [(1, Signal::SIGKILL), (2, Signal::SIGSTOP)] {
        let id = submit(&fleet, &book, &format!("together-{seed}"), seed).await;
        until_count(&fleet, "a checkpoint is stored", CHECKPOINTED, 1).await;
        let recovery = Recovery::begins();
        kill(Pid::from_raw(known[0]), signal).expect("it runs");
        until_completed(&fleet, std::slice::from_ref(&id)).await;
        recovery.over(&format!("{signal} for the process of a second device; the job is done at a later attempt"));
        let job = fleet.job(&id).await.expect("the job");
        assert!(job["attempts"].as_u64().is_some_and(|attempts| attempts <= 2), "{job}");
        assert_eq!(job["record"]["device"], "cpu,cpu", "{job}");
        let now = until_ranks(&fleet, 1).await;
        assert_ne!(now, known, "a new process replaced it");
        known = now;
        ids.push((seed, id));
    }
    assert!(together.ended().is_none(), "the worker itself goes on:\n{}", together.log());

    // The worker's end, however it ends, is theirs.
    together.kill();
    until_ranks(&fleet, 0).await;

    let _again = fleet.worker_with("again", &settings);
    for (seed, id) in ids {
        let undisturbed = submit(&fleet, &book, &format!("again-{seed}"), seed).await;
        until_completed(&fleet, std::slice::from_ref(&undisturbed)).await;
        assert_eq!(fleet.video(&id).await, fleet.video(&undisturbed).await, "seed {seed}");
    }
}
