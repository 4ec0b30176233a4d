//! Jobs that are rendered together under faults: each has the bytes of a run alone, its own lease and its own end.
//!
//! The real model on a CPU worker, where batches are off unless the setting asks for them.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;
use testkit::{Accounting, Fleet, Gates, Process};

use crate::support::{
    CHECKPOINTED, PATIENCE, database, impatient, report, submit, submit_as, tidy, undisturbed, until_completed,
    until_count, until_nothing_left,
};

const SEEDS: [i64; 4] = [1, 2, 3, 4];
/// Of jobs that only show whether keys are given.
const PROBE_SEED: i64 = 9;
/// Most of them.
const PROBES: u32 = 30;
const TOGETHER: (&str, &str) = ("FLEET__WORKER__BATCH_MAX", "4");
const MODEL: (&str, &str) = ("FLEET_TEST_RENDERER", "model");

/// A fleet with four jobs in one batch, which stands before its fifth step of six.
struct Batch {
    fleet: Fleet,
    book: Accounting,
    /// By seed, of runs alone.
    reference: BTreeMap<i64, Vec<u8>>,
    gates: Gates,
    worker: Process,
    /// In the order of [`SEEDS`].
    jobs: Vec<String>,
    _running: [Process; 2],
}

impl Batch {
    async fn begin() -> Self {
        let fleet = Fleet::prepare(tidy(impatient()).with("FLEET__WORKER__THREADS", "1")).await;
        let running = [fleet.api(), fleet.scheduler("scheduler")];
        fleet.until_api_ready().await;
        let book = Accounting::default();
        let mut alone = fleet.worker("alone");
        let reference = undisturbed(&fleet, &book, &SEEDS).await;
        alone.signal(Signal::SIGTERM);
        alone.until_ended(PATIENCE).await;
        until_keys_are_given(&fleet, &book).await;
        // They wait together, so they are released together.
        let mut jobs = Vec::new();
        for seed in SEEDS {
            jobs.push(submit(&fleet, &book, seed).await);
        }
        let planned = "SELECT count(*) FROM jobs WHERE status = 'queued' AND batch_key IS NOT NULL";
        until_count(&fleet, "all four are planned, with a key", planned, 4).await;
        let gates = fleet.gates("together");
        gates.hold("step-2");
        let worker = fleet.gated_worker("together", &gates, &[MODEL, TOGETHER]);
        gates.until_reached("step-2").await;
        // They join the first one before or after its second step, as soon as their prompts are encoded. The second step begins only
        // when they ask for that: after it, nothing happens until the gate before the third one is opened.
        let arrived = "SELECT count(*) FROM jobs WHERE status = 'running' AND stage IN ('encode', 'denoise')";
        until_count(&fleet, "the worker has prepared all four", arrived, 4).await;
        gates.hold("step-3");
        gates.open("step-2");
        let encoded = "SELECT count(*) FROM jobs WHERE status = 'running' AND stage = 'denoise'";
        until_count(&fleet, "their prompts are encoded between two steps", encoded, 4).await;
        gates.until_reached("step-3").await;
        gates.hold("step-5");
        gates.open("step-3");
        gates.until_reached("step-5").await;
        Self { fleet, book, reference, gates, worker, jobs, _running: running }
    }

    /// Waits until the leases have outlasted their first length while the model stands. Checkpoints are due then, too.
    async fn until_renewed(&self) {
        let renewed = "SELECT count(*) FROM jobs WHERE status = 'running' AND claimed_at < now() - interval '6 s'
                           AND lease_expires_at > now()";
        until_count(&self.fleet, "all four leases are renewed", renewed, 4).await;
    }

    /// Waits until these jobs are completed, and compares their videos with those of runs alone.
    async fn completed(&self, seeds: &[i64]) {
        for (seed, job) in SEEDS.iter().zip(&self.jobs).filter(|(seed, _)| seeds.contains(seed)) {
            until_completed(&self.fleet, std::slice::from_ref(job)).await;
            assert!(self.fleet.video(job).await == self.reference[seed], "the video of seed {seed} has other bytes");
        }
    }

    /// Records of these jobs.
    async fn records(&self) -> Vec<serde_json::Value> {
        let mut records = Vec::new();
        for job in &self.jobs {
            records.push(self.fleet.job(job).await.expect("the job")["record"].clone());
        }
        records
    }
}

/// The scheduler gives keys once it has seen a worker that renders several jobs at once and has loaded the model's tokenizers. It goes
/// on when that worker has left.
async fn until_keys_are_given(fleet: &Fleet, book: &Accounting) {
    let mut first = fleet.worker_with("first", &[TOGETHER]);
    for number in 0..PROBES {
        let probe = submit_as(fleet, book, &format!("probe-{number}"), PROBE_SEED).await;
        until_completed(fleet, &[probe]).await;
        let keyed: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE batch_key IS NOT NULL")
            .fetch_one(&mut database(fleet).await)
            .await
            .expect("a count");
        if keyed > 0 {
            first.signal(Signal::SIGTERM);
            assert!(first.until_ended(PATIENCE).await.success(), "{}", first.log());
            return;
        }
    }
    panic!("{PROBES} jobs were planned without a key beside a worker that renders several at once");
}

/// Goal: one of four is cancelled in the middle and leaves the others alone; those have the bytes of runs alone, their records say
/// that passes were shared, and their charges add up to no more than the time that passed.
#[tokio::test(flavor = "multi_thread")]
async fn one_is_cancelled_and_the_others_have_the_bytes_of_runs_alone() {
    let batch = Batch::begin().await;
    let url = format!("{}/api/jobs/{}/cancel", batch.fleet.api_url, batch.jobs[1]);
    batch.fleet.client.post(url).send().await.expect("an answer");
    batch.gates.open("step-5");
    let cancelled = batch.fleet.until_status(&batch.jobs[1], &["completed", "cancelled", "failed"]).await;
    assert_eq!(cancelled["status"], "cancelled", "{cancelled}");
    batch.completed(&[1, 3, 4]).await;
    let records = batch.records().await;
    for record in [&records[0], &records[2], &records[3]] {
        assert!(record["batch"].as_f64().is_some_and(|members| members > 1.0 && members <= 4.0), "{record}");
        assert!(record["resumed_from"].is_null(), "{record}");
    }
    let charged = "SELECT sum(gpu_seconds)::float8, extract(epoch FROM max(finished_at) - min(started_at))::float8
                   FROM jobs WHERE batch_key IS NOT NULL AND started_at >= (SELECT min(registered_at) FROM workers
                       WHERE name = 'together')";
    let (charged_s, passed_s): (f64, f64) =
        sqlx::query_as(charged).fetch_one(&mut database(&batch.fleet).await).await.expect("the charges");
    assert!(charged_s > 0.0 && charged_s <= passed_s, "charged {charged_s:.2} s of {passed_s:.2} s");
}

/// Goal: the worker renews the lease of each member, and is killed in the middle of the batch: each of the four is finished elsewhere
/// from its own checkpoint, once.
#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_each_is_finished_elsewhere_from_its_own_checkpoint() {
    let mut batch = Batch::begin().await;
    batch.until_renewed().await;
    batch.gates.hold("step-6");
    batch.gates.open("step-5");
    batch.gates.until_reached("step-6").await;
    until_count(&batch.fleet, "those of the batch have checkpoints", CHECKPOINTED, 4).await;
    batch.worker.kill();
    let _successor = batch.fleet.worker_with("successor", &[TOGETHER]);
    batch.completed(&SEEDS).await;
    let records = batch.records().await;
    assert!(records.iter().all(|record| record["resumed_from"].is_u64()), "{records:?}");
    report(&batch.fleet, &batch.book).await.assert_all_completed_once();
    until_nothing_left(&batch.fleet, &batch.book).await;
}

/// Goal: a worker that is asked to stop in the middle of a batch hands each of its jobs back with its checkpoint, and leaves.
#[tokio::test(flavor = "multi_thread")]
async fn asked_to_stop_it_hands_every_member_back() {
    let mut batch = Batch::begin().await;
    batch.worker.signal(Signal::SIGTERM);
    assert!(batch.worker.until_ended(PATIENCE).await.success(), "{}", batch.worker.log());
    let back = "SELECT count(*) FROM jobs WHERE status IN ('queued', 'scheduled') AND checkpoint_step > 0";
    until_count(&batch.fleet, "all four wait with their checkpoints", back, 4).await;
    let _successor = batch.fleet.worker_with("successor", &[TOGETHER]);
    batch.completed(&SEEDS).await;
    report(&batch.fleet, &batch.book).await.assert_all_completed_once();
    let records = batch.records().await;
    assert!(records.iter().all(|record| record["resumed_from"].is_u64()), "{records:?}");
}
