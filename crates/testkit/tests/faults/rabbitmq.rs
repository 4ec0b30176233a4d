//! RabbitMQ that dies, blocks, closes connections, and messages that are duplicated, lost, stale or unreadable.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use serde_json::json;
use testkit::{Accounting, Fleet, PrivateStack, Way, eventually_seen};
use tokio::task::JoinSet;

use crate::support::{
    PATIENCE, Recovery, report, request, submit, until_completed, until_count, until_workers, with_long_leases,
};

/// Submits these seeds one after the other, beside the test.
fn submit_beside(fleet: &Fleet, book: &Arc<Accounting>, seeds: std::ops::Range<i64>) -> JoinSet<Vec<String>> {
    let (client, urls, book) = (fleet.client.clone(), [fleet.api_url.clone()], Arc::clone(book));
    let mut clients = JoinSet::new();
    clients.spawn(async move {
        let mut ids = Vec::new();
        let way = Way { client: &client, urls: &urls, token: None, patience: PATIENCE };
        for seed in seeds {
            let key = format!("seed-{seed}");
            ids.push(book.submit(&way, &key, &request(seed)).await);
        }
        ids
    });
    clients
}

/// Goal: RabbitMQ killed during submission, dispatch and a job, and later blocking all publishers: everything is accepted
/// and rendered once, and the job that ran meanwhile was not affected.
#[tokio::test(flavor = "multi_thread")]
async fn killed_or_blocked_it_delays_hints_and_loses_nothing() {
    let mut stack = PrivateStack::only(&["rabbitmq"]);
    let fleet =
        Fleet::prepare(testkit::FleetOptions { services: Some(stack.services.clone()), ..with_long_leases() }).await;
    let (_api, _scheduler) = (fleet.api(), fleet.scheduler("scheduler"));
    fleet.until_api_ready().await;
    let book = Arc::new(Accounting::default());
    let gates = fleet.gates("long");
    gates.hold("step-4");
    let _long = fleet.gated_worker("long", &gates, &[]);
    let running = submit(&fleet, &book, 1).await;
    gates.until_reached("step-4").await;
    let _worker = fleet.quick_worker("worker", &[]);
    until_workers(&fleet, 2).await;

    let clients = submit_beside(&fleet, &book, 10..20);
    let recovery = Recovery::begins();
    stack.kill("rabbitmq");
    let during = submit(&fleet, &book, 2).await;
    until_completed(&fleet, std::slice::from_ref(&during)).await;
    recovery.over("RabbitMQ killed; a job submitted then is done");
    stack.start_again("rabbitmq");
    let ids = clients.join_all().await.concat();
    until_completed(&fleet, &ids).await;

    stack.alarm();
    let recovery = Recovery::begins();
    let clients = submit_beside(&fleet, &book, 20..25);
    let ids = clients.join_all().await.concat();
    until_completed(&fleet, &ids).await;
    recovery.over("RabbitMQ blocks publishers; five jobs submitted then are done");
    stack.calm();
    let after = submit(&fleet, &book, 3).await;
    gates.open("step-4");
    until_completed(&fleet, &[after, running]).await;

    let report = report(&fleet, &book).await;
    report.assert_all_completed_once();
    assert_eq!(report.duplicate_executions, 0, "{report}");
}

/// Goal: a message is only a hint. Duplicated, stale, lost and unreadable ones, queues that vanish and channels that close:
/// each job runs once, and unreadable messages are in the dead-letter queue.
#[tokio::test(flavor = "multi_thread")]
async fn no_message_and_no_lack_of_one_changes_what_happens() {
    let fleet = Fleet::prepare(with_long_leases().with("FLEET__BROKER__MESSAGE_MAX_BYTES", "20000")).await;
    let (_api, _scheduler) = (fleet.api(), fleet.scheduler("scheduler"));
    fleet.until_api_ready().await;
    let book = Accounting::default();
    let gates = fleet.gates("busy");
    gates.hold("step-2");
    let _worker = fleet.gated_worker("busy", &gates, &[]);
    let mut ids = vec![submit(&fleet, &book, 1).await];
    gates.until_reached("step-2").await;
    // One job runs; the next is released ahead of time and its message waits for a free worker.
    for seed in 2..=4 {
        ids.push(submit(&fleet, &book, seed).await);
    }
    let queue = eventually_seen("a job is released to a queue", || async {
        let queues = fleet.vhost.queues().await;
        queues.iter().find(|name| name.starts_with("ready.")).cloned().ok_or(format!("{queues:?}"))
    })
    .await;
    let (message, _) = eventually_seen("a message is queued", || async {
        fleet.vhost.take(&queue, 1).await.into_iter().next().ok_or("none".to_owned())
    })
    .await;
    // That message is lost. Now others arrive: for the running job (stale), for the lost one (duplicated), for no job, and unreadable ones.
    let running = {
        let mut old: serde_json::Value = serde_json::from_str(&message).expect("JSON");
        old["body"]["job_id"] = json!(ids[0]);
        old.to_string()
    };
    let unknown_version = json!({"v": 9, "type": "job.ready", "anything": true}).to_string();
    let bad = ["nonsense", unknown_version.as_str(), &"x".repeat(30_000)];
    for payload in [running.as_str(), &message, &message].into_iter().chain(bad) {
        assert!(fleet.vhost.publish_raw("fleet.work", &queue, payload).await, "it is routed");
    }
    assert!(fleet.vhost.publish_raw("fleet.work", "submitted", "nonsense").await, "it is routed");
    gates.open("step-2");
    until_completed(&fleet, &ids).await;

    fleet.vhost.delete(&queue).await;
    let vanished = submit(&fleet, &book, 5).await;
    until_completed(&fleet, &[vanished]).await;
    eventually_seen("the connections can be closed", || async {
        let closed = fleet.vhost.kill_connections().await;
        if closed >= 3 { Ok(()) } else { Err(format!("{closed} closed")) }
    })
    .await;
    let closed = submit(&fleet, &book, 6).await;
    until_completed(&fleet, &[closed]).await;

    let report = report(&fleet, &book).await;
    report.assert_all_completed_once();
    assert_eq!(report.duplicate_executions, 0, "{report}");
    let dead = Mutex::new(Vec::new());
    eventually_seen("all unreadable messages are kept", || async {
        let taken = fleet.vhost.take("dead-letter", 10).await;
        let mut dead = dead.lock().expect("no other task uses it");
        dead.extend(taken.into_iter().map(|(payload, _)| payload));
        if dead.len() >= 4 { Ok(()) } else { Err(format!("{} of 4", dead.len())) }
    })
    .await;
    let dead = dead.into_inner().expect("no other task uses it");
    assert_eq!(dead.iter().filter(|payload| *payload == "nonsense").count(), 2, "{dead:?}");
}

/// Goal: a job that waits for a busy worker has one message, however long it waits; if the message is lost, it gets another one.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_jobs_are_announced_again_only_if_their_messages_are_lost() {
    let options = with_long_leases()
        .with("FLEET__SCHEDULER__REANNOUNCE_MIN_S", "1")
        .with("FLEET__SCHEDULER__REANNOUNCE_MAX_S", "1")
        .with("FLEET__SCHEDULER__LOOKAHEAD", "2");
    let fleet = Fleet::prepare(options).await;
    let (_api, _scheduler) = (fleet.api(), fleet.scheduler("scheduler"));
    fleet.until_api_ready().await;
    let book = Accounting::default();
    let gates = fleet.gates("busy");
    gates.hold("step-2");
    let _worker = fleet.gated_worker("busy", &gates, &[]);
    let mut ids = vec![submit(&fleet, &book, 1).await];
    gates.until_reached("step-2").await;
    for seed in 2..=4 {
        ids.push(submit(&fleet, &book, seed).await);
    }
    let looked_at = "SELECT count(*) FROM jobs WHERE status = 'scheduled' AND announcements >= 4";
    until_count(&fleet, "two released jobs were due three times", looked_at, 2).await;
    let queues = fleet.vhost.queues().await;
    let queue = queues.iter().find(|name| name.starts_with("ready.")).expect("the pool's queue");
    let jobs = |messages: Vec<(String, serde_json::Value)>| {
        let job = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON")["body"]["job_id"].clone();
        messages.iter().map(|(text, _)| job(text).as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    // Taking the messages also loses them.
    let mut waiting = jobs(fleet.vhost.take(queue, 100).await);
    waiting.sort();
    let mut released = ids.clone();
    released.retain(|id| waiting.contains(id));
    released.sort();
    assert_eq!(waiting.len(), 2, "one message for each of two jobs: {waiting:?}");
    assert_eq!(waiting, released, "each of a job of its own");

    let again = Mutex::new(BTreeSet::new());
    eventually_seen("both get another message", || async {
        let taken = jobs(fleet.vhost.take(queue, 100).await);
        let mut again = again.lock().expect("no other task uses it");
        again.extend(taken);
        if again.len() == 2 { Ok(()) } else { Err(format!("{again:?}")) }
    })
    .await;
    gates.open("step-2");
    until_completed(&fleet, &ids).await;
    let report = report(&fleet, &book).await;
    report.assert_all_completed_once();
    assert_eq!(report.duplicate_executions, 0, "{report}");
}
