//! Postgres that is killed under load, and replies that are lost.

use std::sync::Arc;

use reqwest::StatusCode;
use testkit::{Accounting, Catch, Fleet, FleetOptions, PrivateStack, Protocol, Proxy, Way, eventually_seen};
use tokio::task::JoinSet;

use crate::support::{PATIENCE, Recovery, database, report, request, submit, until_completed, with_long_leases};

const DATABASE: &str = "FLEET__DATABASE__URL";

/// Goal: Postgres killed twice while four clients submit. Every 2xx is a job, a client without a response has one job after
/// retrying with the key, and a running job keeps its lease.
#[tokio::test(flavor = "multi_thread")]
async fn killed_under_load_every_accepted_job_is_there_and_leases_survive() {
    let mut stack = PrivateStack::only(&["postgres"]);
    // A lease that outlasts the restart even on a slow machine.
    let options = with_long_leases();
    let fleet = Fleet::prepare(FleetOptions { services: Some(stack.services.clone()), ..options }).await;
    let (_api, _scheduler) = (fleet.api(), fleet.scheduler("scheduler"));
    fleet.until_api_ready().await;
    let book = Arc::new(Accounting::default());
    let gates = fleet.gates("long");
    gates.hold("step-4");
    let long = fleet.gated_worker("long", &gates, &[]);
    let running = submit(&fleet, &book, 1).await;
    gates.until_reached("step-4").await;

    let mut clients = JoinSet::new();
    for one in 0..4_i64 {
        let (client, urls, book) = (fleet.client.clone(), [fleet.api_url.clone()], Arc::clone(&book));
        clients.spawn(async move {
            let way = Way { client: &client, urls: &urls, token: None, patience: PATIENCE };
            for seed in (100 * one)..(100 * one + 50) {
                let key = format!("client-{one}-{seed}");
                book.submit(&way, &key, &request(1)).await;
            }
        });
    }
    for enough in [10, 60] {
        eventually_seen("clients are in the middle of it", || async {
            let accepted = book.accepted().len();
            if accepted >= enough { Ok(()) } else { Err(format!("{accepted} accepted")) }
        })
        .await;
        let (recovery, before) = (Recovery::begins(), book.accepted().len());
        stack.kill("postgres");
        stack.start_again("postgres");
        eventually_seen("submissions are accepted again", || async {
            if book.accepted().len() > before { Ok(()) } else { Err("none yet".to_owned()) }
        })
        .await;
        recovery.over("Postgres killed and started; the next submission is accepted");
    }
    clients.join_all().await;
    assert_eq!(book.accepted().len(), 201);
    gates.open("step-4");
    until_completed(&fleet, std::slice::from_ref(&running)).await;
    let job = fleet.job(&running).await.expect("the job");
    assert_eq!(job["attempts"], 1, "the lease did not survive the restarts: {job}");

    // Most of them need not be rendered: one row each, found by its key, shows that they exist. The worker must not complete another one
    // between the two looks of the report, at objects and at rows.
    drop(long);
    let report = report(&fleet, &book).await;
    assert!(report.unexpected.is_empty() && report.duplicated.is_empty(), "{report:#?}");
    assert_eq!((report.lost.len(), report.unfinished.len() as u64 + report.completed), (0, 201), "{report:#?}");
}

/// Goal: a client that repeats its batch after a lost response has one batch.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_commit_was_answered_to_nobody_is_found_again_by_its_key() {
    let fleet = Fleet::prepare(with_long_leases()).await;
    let proxy = Proxy::start(Protocol::Postgres, fleet.variable(DATABASE));
    let url = proxy.through(fleet.variable(DATABASE));
    let mut first = fleet.api_with(&[(DATABASE, &url)]);
    fleet.until_api_ready().await;
    let (_second, other_url) = fleet.another_api("api-2");
    let batch = serde_json::json!({"requests": (0..20).map(request).collect::<Vec<_>>()});
    let send = |base: &str, key: &'static str| {
        let url = format!("{base}/api/generate/batch");
        fleet.client.post(url).header("Idempotency-Key", key).json(&batch).send()
    };
    let accepted = |key: &'static str| {
        let (fleet, other_url, send) = (&fleet, &other_url, &send);
        async move {
            let what = "the other replica accepts the batch";
            let view: serde_json::Value = eventually_seen(what, || async {
                let answer = send(other_url, key).await.map_err(|error| error.to_string())?;
                if answer.status() != StatusCode::ACCEPTED {
                    return Err(answer.status().to_string());
                }
                answer.json().await.map_err(|error| error.to_string())
            })
            .await;
            let count = "SELECT count(*) FROM jobs WHERE idempotency_key LIKE $1 || '/%'";
            let mut database = database(fleet).await;
            let rows: i64 = sqlx::query_scalar(count).bind(key).fetch_one(&mut database).await.expect("a count");
            assert_eq!(rows, 20, "{key}");
            view["jobs"].as_array().expect("jobs").iter().map(|item| item["created"] == true).collect::<Vec<_>>()
        }
    };

    proxy.arm("COMMIT", Catch::LoseReply);
    let lost = send(&fleet.api_url, "committed").await.expect("an answer");
    assert_eq!(lost.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(accepted("committed").await.iter().all(|created| !created), "the first attempt had created them");

    // Killed before the commit: there are no rows, and the other replica creates them.
    proxy.arm("COMMIT", Catch::Hold);
    let (sent, ()) = tokio::join!(send(&fleet.api_url, "killed"), async {
        proxy.until_sprung().await;
        first.kill();
    });
    assert!(sent.is_err(), "no process could have responded");
    drop(proxy);
    assert!(accepted("killed").await.iter().all(|created| *created), "no rows existed");
}
