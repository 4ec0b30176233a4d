//! Preemption: a run gives its slot to a job with a deadline, and its video is that of an undisturbed run.

use serde_json::{Value, json};
use testkit::{Accounting, Fleet};

use crate::support::{database, request, submit, undisturbed, until_completed, until_count, with_long_leases};

/// Goal: a run of the real model waits at its fourth step; a job with a deadline arrives that only this slot can save.
#[tokio::test(flavor = "multi_thread")]
async fn a_preempted_run_of_the_default_model_gives_the_bytes_of_an_undisturbed_one() {
    let fleet = Fleet::prepare(with_long_leases().with("FLEET__SCHEDULER__PREEMPT_NOTICE_S", "90")).await;
    let gates = fleet.gates("worker");
    gates.hold("step-4");
    let worker = fleet.gated_worker("worker", &gates, &[("FLEET_TEST_RENDERER", "model")]);
    let _running = (fleet.api(), fleet.scheduler("scheduler"), worker);
    fleet.until_api_ready().await;
    let book = Accounting::default();
    let plain = submit(&fleet, &book, 1).await;
    gates.until_reached("step-4").await;
    let steps = "SELECT count(*) FROM jobs WHERE status = 'running' AND stage = 'denoise' AND step >= 3";
    until_count(&fleet, "the row shows the steps", steps, 1).await;
    // As if the model was large: no slot becomes free within the deadline.
    let slow = "UPDATE jobs SET estimate_s = 3600 WHERE status = 'running'";
    sqlx::query(slow).execute(&mut database(&fleet).await).await.expect("update");

    let mut urgent = request(2);
    urgent["deadline_s"] = json!(80);
    let urgent: Value = fleet.submit(&urgent).await;
    let urgent = urgent["job_id"].as_str().expect("an id").to_owned();
    let back = "SELECT count(*) FROM job_events WHERE kind = 'handed_back' AND (detail ->> 'preempted')::bool";
    until_count(&fleet, "the run was handed back", back, 1).await;
    gates.open("step-4");
    until_completed(&fleet, &[urgent.clone(), plain.clone()]).await;

    // By claims: the videos of such short runs may be delivered in either order.
    let first = "SELECT count(*) FROM jobs AS urgent JOIN jobs AS plain ON urgent.claimed_at < plain.claimed_at
        WHERE urgent.request ->> 'deadline_s' IS NOT NULL AND plain.request ->> 'deadline_s' IS NULL";
    until_count(&fleet, "the job with the deadline went first", first, 1).await;
    let second = fleet.job(&plain).await.expect("a job");
    assert_eq!((&second["attempts"], &second["record"]["resumed_from"]), (&json!(1), &json!(3)), "{second}");
    let counted = "SELECT (preempted + deadlines_met)::bigint FROM (SELECT sum(preempted) AS preempted, sum(deadlines_met) AS deadlines_met
        FROM stats_hourly WHERE bucket = '-infinity') AS sums";
    until_count(&fleet, "one preemption and one deadline met", counted, 2).await;
    let reference = undisturbed(&fleet, &book, &[1]).await;
    assert!(fleet.video(&plain).await == reference[&1], "the video has other bytes");
}
