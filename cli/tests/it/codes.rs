//! The exit codes of docs/cli.md.

use signals::interrupt;
use testkit::{Fleet, FleetOptions, eventually_seen};

use crate::support::{client, finish, gated, run};

mod signals {
    //! Ctrl-C for a running client.
    use std::process::Command;

    pub(super) fn interrupt(id: u32) {
        let sent = Command::new("kill").args(["-INT", &id.to_string()]).status().expect("kill runs");
        assert!(sent.success());
    }
}

#[tokio::test]
async fn usage_reachability_and_refusals_have_codes_of_their_own() {
    let (fleet, _gates, _processes) = gated(FleetOptions::default()).await;
    run(&fleet, &["generate"]).await.ended_with(2);
    run(&fleet, &["generate", "a cat", "--tier", "best"]).await.ended_with(2);
    run(&fleet, &["generate", "a cat", "-o", "no/such/folder/cat.mp4"]).await.ended_with(2);
    let refused = run(&fleet, &["generate", "a cat", "--steps", "100000"]).await.ended_with(5);
    assert!(refused.stderr.contains("infer_steps"), "{refused:?}");
    let unknown = "0198c5f2-0000-7000-8000-000000000001";
    run(&fleet, &["get", unknown]).await.ended_with(5);
    run(&fleet, &["cancel", unknown]).await.ended_with(5);
    run(&fleet, &["cancel", unknown, "0198c5f2-0000-7000-8000-000000000002"]).await.ended_with(9);

    let mut nowhere = client("http://127.0.0.1:9", fleet.folder());
    nowhere.args(["stats", "--patience-s", "0"]);
    let ran = finish(nowhere).await.ended_with(3);
    assert!(ran.stderr.contains("127.0.0.1:9 cannot be reached"), "{ran:?}");
    assert!(!ran.stderr.contains("trying again"), "{ran:?}");
    let mut nowhere = client("http://127.0.0.1:9", fleet.folder());
    nowhere.args(["stats", "--patience-s", "1"]);
    let ran = finish(nowhere).await.ended_with(3);
    assert_eq!(ran.stderr.matches("trying again for up to 1 s (--patience-s)").count(), 1, "{ran:?}");
    assert_eq!(run(&fleet, &["jobs", "--json"]).await.ended_with(0).stdout, "", "nothing was submitted");
}

#[tokio::test]
async fn waiting_ends_with_the_fate_of_the_job_or_of_the_user() {
    let (fleet, gates, _processes) = gated(FleetOptions::default()).await;
    gates.hold("step-2");
    let late = run(&fleet, &["generate", "a cat", "--steps", "4", "--wait", "--timeout-s", "1"]).await.ended_with(10);
    assert!(late.stderr.contains("continues"), "{late:?}");
    let id = run(&fleet, &["jobs", "--json"]).await.document()["job_id"].as_str().expect("an id").to_owned();

    // Ctrl-C leaves the job alone.
    let seen = fleet.folder().join("interrupted.log");
    let mut child = client(&fleet.api_url, fleet.folder());
    child.args(["watch", &id]).stderr(std::fs::File::create(&seen).expect("a file"));
    let mut child = child.spawn().expect("the client starts");
    eventually_seen("the client watches", || async {
        let log = std::fs::read_to_string(&seen).unwrap_or_default();
        if log.contains("denoise") { Ok(()) } else { Err(log) }
    })
    .await;
    interrupt(child.id());
    let ended = tokio::task::spawn_blocking(move || child.wait()).await.expect("it ends").expect("its status");
    assert_eq!(ended.code(), Some(130), "{ended:?}");
    assert_eq!(fleet.job(&id).await.expect("the job")["status"], "running");

    let cancelled = run(&fleet, &["cancel", &id]).await.ended_with(0);
    assert!(cancelled.stdout.contains("stopping"), "{cancelled:?}");
    gates.open("step-2");
    let watched = run(&fleet, &["watch", &id]).await.ended_with(8);
    assert!(watched.stderr.contains("was cancelled"), "{watched:?}");
}

#[tokio::test]
async fn keys_come_from_the_environment_or_the_file_of_their_server() {
    let fleet = Fleet::prepare(FleetOptions::default().with("FLEET__SERVER__KEYS", "on")).await;
    let _api = fleet.api();
    fleet.until_api_ready().await;
    let key = fleet.issue_key("painters");
    let refused = run(&fleet, &["jobs"]).await.ended_with(4);
    assert!(refused.stderr.contains("FLEET_API_KEY"), "{refused:?}");
    let mut given = client(&fleet.api_url, fleet.folder());
    given.env("FLEET_API_KEY", &key).args(["keys", "--json"]);
    let shown = finish(given).await.ended_with(0).document();
    assert_eq!((&shown["keys_required"], &shown["role"]), (&true.into(), &"user".into()));

    let folder = fleet.folder().join("fleet");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("config.toml"), format!("server = {:?}\nkey = {key:?}\n", fleet.api_url))
        .expect("a file");
    let mut stored = client(&fleet.api_url, fleet.folder());
    stored.env_remove("FLEET_SERVER").args(["keys", "--json"]);
    let shown = finish(stored).await.ended_with(0);
    assert_eq!(shown.document()["key"], "configuration file");
    assert!(shown.stderr.contains("chmod 600"), "others can read it: {shown:?}");
    std::fs::write(folder.join("config.toml"), "sever = \"x\"").expect("a file");
    let wrong = run(&fleet, &["jobs"]).await.ended_with(2);
    assert!(wrong.stderr.contains("sever"), "{wrong:?}");
}
