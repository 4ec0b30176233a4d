//! One video from the first command to the file, and the commands about it.

use std::time::Duration;

use serde_json::Value;
use testkit::{Fleet, FleetOptions, PICTURE_MODEL, eventually_seen, picture, picture_model};

use crate::support::{gated, jobs, run, start};

#[tokio::test]
async fn the_first_request_of_the_readme_makes_a_video_that_plays() {
    let (fleet, _processes) = Fleet::start(FleetOptions::default()).await;
    let words = ["generate", "a cat walks", "--tier", "preview", "--wait", "-o", "cat.mp4"];
    let ran = run(&fleet, &words).await.ended_with(0);
    assert!(ran.stdout.starts_with("cat.mp4\n"), "{ran:?}");
    for part in ["completed", "steps", "$"] {
        assert!(ran.stdout.contains(part), "{part}: {ran:?}");
    }
    // Without a terminal there is a line per stage instead of a bar.
    assert!(ran.stderr.contains("denoise"), "{ran:?}");
    let video = std::fs::read(fleet.folder().join("cat.mp4")).expect("the file");
    assert_eq!(&video[4..8], b"ftyp", "an MP4");
    assert!(!fleet.folder().join("cat.mp4.part").exists(), "nothing incomplete is left");

    let job = run(&fleet, &["jobs", "--json"]).await.ended_with(0).document();
    assert_eq!(job["request"]["quality_tier"], "preview", "{job}");
    let id = job["job_id"].as_str().expect("an id");
    assert_eq!(fleet.video(id).await, video);
    run(&fleet, &["get", id, "-o", "poster.jpg", "--poster"]).await.ended_with(0);
    assert!(std::fs::read(fleet.folder().join("poster.jpg")).expect("the file").starts_with(&[0xFF, 0xD8]), "a JPEG");
}

#[tokio::test]
async fn every_command_prints_what_the_api_says() {
    let (fleet, gates, _processes) = gated(FleetOptions::default()).await;
    gates.hold("step-2");
    let submitted =
        run(&fleet, &["generate", "a red circle", "--steps", "4", "--seed", "5", "--json"]).await.ended_with(0);
    let id = submitted.document()["job_id"].as_str().expect("an id").to_owned();
    let mut watching = start(&fleet, "watching", &["watch", &id, "--json", "--quiet"]);
    eventually_seen("the run is watched", || async {
        if watching.log().contains("\"progress\"") { Ok(()) } else { Err(watching.log()) }
    })
    .await;
    gates.open("step-2");
    assert!(watching.until_ended(Duration::from_secs(90)).await.success(), "{}", watching.log());
    let events: Vec<Value> =
        watching.log().lines().map(|line| serde_json::from_str(line).expect("a JSON document per line")).collect();
    let kinds: Vec<&str> = events.iter().filter_map(|event| event["data"]["kind"].as_str()).collect();
    // The last events may be late; the job at the end is what counts.
    assert!(kinds.starts_with(&["queued"]), "{kinds:?}");
    assert_eq!(events.last().expect("events")["data"]["status"], "completed");

    let shown = run(&fleet, &["get", &id]).await.ended_with(0);
    assert!(shown.stdout.contains("a red circle") && shown.stdout.contains("seed     5"), "{shown:?}");
    let analysis = run(&fleet, &["analyze", "a red circle", "--tier", "preview", "--json"]).await.ended_with(0);
    assert_eq!(analysis.document()["analysis"]["quality_tier"], "preview");
    let listed = run(&fleet, &["jobs", "--status", "completed", "--search", "RED"]).await.ended_with(0);
    assert!(listed.stdout.contains(&id) && listed.stdout.starts_with("ID "), "{listed:?}");
    let stats = run(&fleet, &["stats", "--json"]).await.ended_with(0);
    assert_eq!(stats.document()["completed"], 1);
    let workers = run(&fleet, &["workers"]).await.ended_with(0);
    assert!(workers.stdout.contains("worker-1"), "{workers:?}");
    let keys = run(&fleet, &["keys", "--json"]).await.ended_with(0);
    assert_eq!(keys.document()["keys_required"], false);
    let top = run(&fleet, &["top", "--json"]).await.ended_with(0).document();
    assert_eq!((&top["jobs"][0]["job_id"], &top["workers"][0]["name"]), (&id.into(), &"worker-1".into()));
    for command in ["stats", "analyze", "keys"] {
        let words: &[&str] = if command == "analyze" { &["analyze", "a cat"] } else { &[command] };
        assert!(run(&fleet, words).await.ended_with(0).stdout.lines().count() >= 3, "{command}");
    }
}

#[tokio::test]
async fn a_video_begins_from_a_file_and_a_repeated_command_gives_the_same_job() {
    let folder = tempfile::tempdir().expect("a folder");
    picture_model(folder.path());
    let path = folder.path().display().to_string();
    let fleet =
        Fleet::prepare(FleetOptions::default().with("FLEET__MODELS__DIRS", &format!("models/default,{path}"))).await;
    let _api = fleet.api();
    fleet.until_api_ready().await;
    let _others =
        (fleet.scheduler("scheduler"), fleet.quick_worker("worker-1", &[("FLEET__WORKER__MODEL_DIR", &path)]));
    std::fs::write(fleet.folder().join("cat.jpg"), picture("turned.jpg")).expect("a picture");
    let words =
        ["generate", "a cat", "--model", PICTURE_MODEL, "--image", "cat.jpg", "--idempotency-key", "k1", "--json"];
    let first = run(&fleet, &words).await.ended_with(0);
    assert!(first.stderr.contains("uploaded cat.jpg as "), "{first:?}");
    let first = first.document();
    assert_eq!(first["request"]["image"]["height"], 48, "{first}");
    let again = run(&fleet, &words).await.ended_with(0).document();
    assert_eq!(again["job_id"], first["job_id"]);
    assert_eq!(jobs(&fleet).await.len(), 1);
    fleet.until_status(first["job_id"].as_str().expect("an id"), &["completed"]).await;

    std::fs::write(fleet.folder().join("notes.txt"), "no picture").expect("a file");
    let refused =
        run(&fleet, &["generate", "a cat", "--model", PICTURE_MODEL, "--image", "notes.txt"]).await.ended_with(5);
    assert!(refused.stderr.contains("must be a PNG, JPEG or WebP"), "{refused:?}");
    let missing = run(&fleet, &["generate", "a cat", "--image", "none.png"]).await.ended_with(1);
    assert!(missing.stderr.contains("cannot read none.png"), "{missing:?}");
}
