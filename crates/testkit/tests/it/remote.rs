//! Goal: a worker that joined from another machine does its work with database and broker roles that have no other rights.
//! Method: the executable that creates the roles, and a worker that gets only what it printed. `scripts/verify.d/join` does the
//! same between two network namespaces, with TLS and an object store.

use std::process::{Command, Output};

use serde_json::Value;
use testkit::{Fleet, FleetOptions, program, repository, services};

/// `api workers ...`, as a person runs it beside the fleet.
fn workers(fleet: &Fleet, artifacts: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program("api"));
    for name in ["FLEET_CONFIG_DIR", "FLEET__DATABASE__URL", "FLEET__BROKER__URL", "REDIS_HOST", "REDIS_PORT"] {
        command.env(name, fleet.variable(name));
    }
    command.env("FLEET__ARTIFACTS__URL", artifacts).env("FLEET__SCHEDULER__ATTEMPTS_MAX", "5");
    command.arg("workers").args(arguments).args(["--broker-management", &services().broker_management_url]);
    command.current_dir(repository()).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn a_worker_that_joined_renders_under_roles_of_its_own() {
    let fleet = Fleet::prepare(FleetOptions::default()).await;
    let _processes = (fleet.api(), fleet.scheduler("scheduler"));
    fleet.until_api_ready().await;
    // RabbitMQ's users are global to the server, so the name contains this process's id.
    let machine = format!("m{}", std::process::id());
    let join = ["join", &machine, "--host", "127.0.0.1", "--plaintext"];

    let refused = workers(&fleet, fleet.variable("FLEET__ARTIFACTS__URL"), &join);
    assert!(!refused.status.success());
    assert!(text(&refused.stderr).contains("s3://bucket/prefix"), "{}", text(&refused.stderr));
    let joined = workers(&fleet, "s3://videos/fleet", &join);
    assert!(joined.status.success(), "{}", text(&joined.stderr));
    assert!(text(&joined.stderr).contains("target/release/worker run"), "{}", text(&joined.stderr));
    let file = text(&joined.stdout);
    let variables: Vec<(&str, &str)> = file
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once('=').expect("NAME=value"))
        .collect();
    let value = |wanted: &str| variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
    assert_eq!(value("FLEET__ARTIFACTS__URL"), Some("s3://videos/fleet"));
    assert_eq!(value("FLEET__SCHEDULER__ATTEMPTS_MAX"), Some("5"), "shared settings are included");
    assert!(value("FLEET__DATABASE__URL").is_some_and(|url| url.contains(&format!("_worker_{machine}:"))), "{file}");
    assert!(value("FLEET__BROKER__URL").is_some_and(|url| url.contains(&format!("fleet_worker_{machine}:"))), "{file}");

    // Everything as printed, except the store, which is this test's folder.
    let given: Vec<(&str, &str)> =
        variables.iter().copied().filter(|(name, _)| !name.starts_with("FLEET__ARTIFACTS__")).collect();
    let worker = fleet.worker_with(&machine, &given);
    let job = fleet.submit(&Fleet::small_request("a large red ball moves to the right on the snow", 1, 4)).await;
    let id = job["job_id"].as_str().expect("an id").to_owned();
    let ended = fleet.until_status(&id, &["completed", "failed"]).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    assert_eq!(&fleet.video(&id).await[4..8], b"ftyp");
    let shown: Value = fleet
        .client
        .get(format!("{}/api/workers", fleet.api_url))
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert!(shown.to_string().contains(&machine), "{shown}");

    let revoked = workers(&fleet, "s3://videos/fleet", &["revoke", &machine]);
    assert!(revoked.status.success(), "{}", text(&revoked.stderr));
    drop(worker);
    // A local worker continues.
    let _own = fleet.worker("worker-1");
    let job = fleet.submit(&Fleet::small_request("a large red ball moves to the right on the snow", 2, 4)).await;
    fleet.until_status(job["job_id"].as_str().expect("an id"), &["completed"]).await;
}
