//! A worker that dies at the change of resolution of a run whose early steps have half the size, with the real model.

use testkit::Fleet;

use crate::support::{CHECKPOINTED, impatient, request, until_completed, until_count};

const SEED: i64 = 11;

/// Goal: another worker computes the change again from a checkpoint before it, and gives the bytes of an undisturbed run.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_the_change_of_resolution_the_job_goes_on_elsewhere_with_the_same_bytes() {
    let fleet = Fleet::prepare(impatient()).await;
    let (_api, _scheduler) = (fleet.api(), fleet.scheduler("scheduler"));
    fleet.until_api_ready().await;
    let gates = fleet.gates("killed");
    let change = format!("raise-{SEED}");
    gates.hold("step-5");
    gates.hold(&change);
    let mut killed = fleet.gated_worker("killed", &gates, &[("FLEET_TEST_RENDERER", "model")]);
    let mut request = request(SEED);
    (request["infer_steps"], request["progressive"]) = (40.into(), "fast".into());
    let submit = async || fleet.submit(&request).await["job_id"].as_str().expect("an id").to_owned();
    let job = submit().await;
    gates.until_reached("step-5").await;
    // A checkpoint is due after a second of work.
    let worked = "SELECT count(*) FROM jobs WHERE status = 'running' AND claimed_at < now() - interval '1.2 s'";
    until_count(&fleet, "a second of work has passed", worked, 1).await;
    gates.open("step-5");
    gates.until_reached(&change).await;
    until_count(&fleet, "a checkpoint is stored", CHECKPOINTED, 1).await;
    killed.kill();

    let _successor = fleet.worker("successor");
    until_completed(&fleet, std::slice::from_ref(&job)).await;
    let undisturbed = submit().await;
    until_completed(&fleet, std::slice::from_ref(&undisturbed)).await;
    let resumed = fleet.job(&job).await.expect("the job");
    let early = resumed["record"]["progressive"]["steps_computed"].as_u64().expect("early steps");
    let from = resumed["record"]["resumed_from"].as_u64().expect("a resumed run");
    assert!(0 < from && from <= early, "it resumed after the change: {resumed}");
    assert!(fleet.video(&job).await == fleet.video(&undisturbed).await, "the resumed video has other bytes");
}
