//! The client outlives the server's restarts, and works without event streams.

use testkit::{FleetOptions, eventually_seen};

use crate::support::{gated, run, start};

#[tokio::test]
async fn waiting_survives_a_restart_of_the_api() {
    let (fleet, gates, mut processes) = gated(FleetOptions::default()).await;
    gates.hold("step-2");
    let mut waiting = start(&fleet, "waiting", &["generate", "a cat", "--steps", "4", "-o", "cat.mp4"]);
    gates.until_reached("step-2").await;
    eventually_seen("it watches the run", || async {
        if waiting.log().contains("denoise") { Ok(()) } else { Err(waiting.log()) }
    })
    .await;
    processes[0].kill();
    // The job completes while nobody can be asked about it.
    gates.open("step-2");
    processes[0] = fleet.api();
    fleet.until_api_ready().await;
    let status = waiting.until_ended(std::time::Duration::from_secs(60)).await;
    assert!(status.success(), "{}", waiting.log());
    assert!(fleet.folder().join("cat.mp4").exists());
}

#[tokio::test]
async fn a_submission_waits_for_a_server_that_starts() {
    let (fleet, _gates, mut processes) = gated(FleetOptions::default()).await;
    processes[0].kill();
    let mut submitting = start(&fleet, "submitting", &["generate", "a cat", "--steps", "2", "--wait", "--json"]);
    processes[0] = fleet.api();
    let status = submitting.until_ended(std::time::Duration::from_secs(90)).await;
    assert!(status.success(), "{}", submitting.log());
}

#[tokio::test]
async fn without_event_streams_it_polls() {
    // The only stream is taken by the first client.
    let (fleet, gates, _processes) = gated(FleetOptions::default().with("FLEET__SERVER__SSE_STREAMS_MAX", "1")).await;
    let watcher = start(&fleet, "watcher", &["watch"]);
    eventually_seen("the first client has the stream", || async {
        run(&fleet, &["generate", "a dog", "--steps", "2", "--quiet", "--wait"]).await.ended_with(0);
        if watcher.log().contains("completed") { Ok(()) } else { Err(watcher.log()) }
    })
    .await;
    gates.hold("step-2");
    let mut waiting = start(&fleet, "waiting", &["generate", "a cat", "--steps", "4", "--wait"]);
    gates.until_reached("step-2").await;
    eventually_seen("it sees the run in the row", || async {
        if waiting.log().contains("denoise") { Ok(()) } else { Err(waiting.log()) }
    })
    .await;
    gates.open("step-2");
    let status = waiting.until_ended(std::time::Duration::from_secs(60)).await;
    assert!(status.success(), "{}", waiting.log());
}
