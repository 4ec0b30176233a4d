//! Batches: each line becomes one job, however often the command is killed and repeated.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;
use testkit::{FleetOptions, eventually_seen};

use crate::support::{client, gated, jobs, run, start};

fn prompts(jobs: &[Value]) -> Vec<String> {
    let mut prompts: Vec<String> =
        jobs.iter().map(|job| job["request"]["prompt"].as_str().expect("a prompt").to_owned()).collect();
    prompts.sort();
    prompts
}

#[tokio::test]
async fn a_killed_batch_continues_without_a_double() {
    const LINES: usize = 300;
    let (fleet, _gates, _processes) = gated(FleetOptions::default()).await;
    let text: Vec<String> = (0..LINES).map(|n| format!("a cat number {n:03}")).collect();
    std::fs::write(fleet.folder().join("cats.txt"), text.join("\n")).expect("the batch");
    let words = ["batch", "cats.txt", "--steps", "2", "--json", "--parallel", "2"];
    let state = fleet.folder().join("cats.txt.fleet-state");
    let written = || std::fs::read_to_string(&state).unwrap_or_default().lines().count();

    let mut first = start(&fleet, "first", &words);
    eventually_seen("some lines are submitted", || async {
        if written() > 5 { Ok(()) } else { Err(written().to_string()) }
    })
    .await;
    first.kill();
    assert!(written() < LINES, "it was killed half way");

    let second = run(&fleet, &words).await.ended_with(0).documents();
    assert_eq!(second.len(), LINES);
    let known = second.iter().filter(|line| line["status"] == "submitted before").count();
    assert!(known > 5, "{known}");
    let ids: BTreeSet<&str> = second.iter().map(|line| line["job_id"].as_str().expect("an id")).collect();
    assert_eq!(ids.len(), LINES, "a job per line");
    assert_eq!(prompts(&jobs(&fleet).await), text, "one job per line, and no more");

    // Without the state file the idempotency keys lead to the same jobs.
    std::fs::remove_file(&state).expect("the state file");
    let third = run(&fleet, &words).await.ended_with(0).documents();
    assert_eq!(third.iter().map(|line| line["job_id"].as_str().expect("an id")).collect::<BTreeSet<_>>(), ids);
    assert_eq!(jobs(&fleet).await.len(), LINES);

    // A new name is a new run.
    let named = ["batch", "cats.txt", "--steps", "2", "--name", "second", "--state", "second-state"];
    run(&fleet, &named).await.ended_with(0);
    assert_eq!(jobs(&fleet).await.len(), 2 * LINES);
}

#[tokio::test]
async fn videos_of_a_batch_are_saved_and_refused_lines_are_named() {
    let (fleet, _gates, _processes) = gated(FleetOptions::default()).await;
    let lines = "a cat\n\n{\"prompt\": \"a dog\", \"seed\": 4}\n{\"prompt\": \"a bird\", \"infer_steps\": 100000}\n";
    let mut command = client(&fleet.api_url, fleet.folder());
    command.args(["batch", "-", "--steps", "2", "-o", "videos", "--json"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the client starts");
    child.stdin.take().expect("its input").write_all(lines.as_bytes()).expect("it reads");
    let ran: crate::support::Ran = tokio::task::spawn_blocking(move || child.wait_with_output())
        .await
        .expect("it ends")
        .expect("its output")
        .into();
    let ran = ran.ended_with(9);
    assert!(ran.stderr.contains("1 of 3 lines"), "{ran:?}");
    let documents = ran.documents();
    let refused = documents.iter().find(|line| line["line"] == 4).expect("line 4");
    assert!(refused["error"].as_str().is_some_and(|text| text.contains("infer_steps")), "{refused}");
    for number in [1, 3] {
        let saved = documents.iter().find(|line| line["line"] == number && line["file"].is_string()).expect("a video");
        let bytes = std::fs::read(fleet.folder().join(saved["file"].as_str().expect("a file"))).expect("the video");
        assert_eq!(bytes, fleet.video(saved["job_id"].as_str().expect("an id")).await);
    }
}

#[tokio::test]
async fn a_batch_with_an_unreadable_line_submits_nothing() {
    let (fleet, _gates, _processes) = gated(FleetOptions::default()).await;
    std::fs::write(fleet.folder().join("bad.jsonl"), "\"a cat\"\n{\"promt\": \"a dog\"}\n").expect("the batch");
    let ran = run(&fleet, &["batch", "bad.jsonl"]).await.ended_with(2);
    assert!(ran.stderr.contains("line 2: has no \"prompt\""), "{ran:?}");
    assert_eq!(jobs(&fleet).await.len(), 0);
}

#[tokio::test]
async fn a_line_that_is_not_read_to_its_end_is_named() {
    let (fleet, _gates, _processes) = gated(FleetOptions::default()).await;
    let long = "a large red ball moves to the right on the snow, then it bounces; ".repeat(30);
    std::fs::write(fleet.folder().join("two.txt"), format!("a cat\n{long}at night\n")).expect("the batch");
    let ran = run(&fleet, &["batch", "two.txt", "--steps", "2"]).await.ended_with(0);
    let warnings: Vec<_> = ran.stderr.lines().filter(|line| line.contains("the model reads only 256")).collect();
    assert_eq!(warnings.len(), 1, "{ran:?}");
    assert!(warnings[0].starts_with("line 2: "), "{ran:?}");
}
