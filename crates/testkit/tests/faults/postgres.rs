//! Postgres that is killed under load, and answers of it that get lost.

use std::sync::Arc;

use nix::sys::signal::Signal;
use reqwest::StatusCode;
use testkit::{Accounting, Catch, Fleet, FleetOptions, PrivateStack, Protocol, Proxy, eventually_seen};
use tokio::task::JoinSet;

use crate::support::{PATIENCE, Recovery, database, report, request, submit, until_completed, with_long_leases};

const DATABASE: &str = "FLEET__DATABASE__URL";

/// Goal: Postgres killed twice while four clients submit. Every 2xx is a job, whoever got no answer has one job after
/// repeating with the key, and a running job keeps its lease.
#[tokio::test(flavor = "multi_thread")]
async fn killed_under_load_every_accepted_job_is_there_and_leases_survive() {
    let mut stack = PrivateStack::only(&["postgres"]);
    // A lease that outlasts the restart also on a slow machine.
    let options = with_long_leases();
    let fleet = Fleet::prepare(FleetOptions { services: Some(stack.services.clone()), ..options }).await;
    let (_api, _scheduler) = (fleet.api(), fleet.scheduler("scheduler"));
    fleet.until_api_ready().await;
    let book = Arc::new(Accounting::default());
    let gates = fleet.gates("long");
    gates.hold("step-4");
    let _long = fleet.gated_worker("long", &gates, &[]);
    let running = submit(&fleet, &book, 1).await;
    gates.until_reached("step-4").await;

    let mut clients = JoinSet::new();
    for one in 0..4_i64 {
        let (client, urls, book) = (fleet.client.clone(), [fleet.api_url.clone()], Arc::clone(&book));
        clients.spawn(async move {
            for seed in (100 * one)..(100 * one + 50) {
                let key = format!("client-{one}-{seed}");
                book.submit(&client, &urls, None, &key, &request(1), PATIENCE).await;
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

    // Most of them need not be rendered to know that they are there: one row each, known by its key.
    let report = report(&fleet, &book).await;
    assert!(report.unexpected.is_empty() && report.duplicated.is_empty(), "{report:#?}");
    let missing: Vec<_> = report.lost.iter().filter(|lost| lost.contains("no row")).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Goal: each transition takes effect and its answer is lost once. Nothing happens twice, and no attempt is spent.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_after_the_commit_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let scratch = folder.path().join("scratch");
    let options = with_long_leases().with("FLEET__WORKER__SCRATCH_DIR", &scratch.display().to_string());
    let fleet = Fleet::prepare(options).await;
    let proxy = || Proxy::start(Protocol::Postgres, fleet.variable(DATABASE));
    let (api, scheduler, worker) = (proxy(), proxy(), proxy());
    let through = |proxy: &Proxy| proxy.through(fleet.variable(DATABASE));
    worker.arm("register_worker", Catch::LoseReply);
    scheduler.arm("try_lead", Catch::LoseReply);
    let _api = fleet.api_with(&[(DATABASE, &through(&api))]);
    let _scheduler = fleet.scheduler_with("scheduler", &[(DATABASE, &through(&scheduler))]);
    fleet.until_api_ready().await;
    let gates = fleet.gates("worker");
    let mut process = fleet.gated_worker("worker", &gates, &[(DATABASE, &through(&worker))]);
    worker.until_sprung().await;
    scheduler.until_sprung().await;
    let book = Accounting::default();

    // From submission to completion.
    gates.hold("step-3");
    api.arm("insert_jobs", Catch::LoseReply);
    for what in ["save_plans", "release_jobs", "keep_leading", "reannounce_due"] {
        scheduler.arm(what, Catch::LoseReply);
    }
    for what in ["claim_job", "note_progress", "renew_lease", "heartbeat", "save_checkpoint", "complete_job"] {
        worker.arm(what, Catch::LoseReply);
    }
    let first = submit(&fleet, &book, 1).await;
    gates.until_reached("step-3").await;
    api.until_sprung().await;
    scheduler.until_sprung().await;
    // All but the last are under way while the model waits.
    eventually_seen("the worker's answers are lost", || async {
        let sprung = worker.sprung();
        if sprung >= 6 { Ok(()) } else { Err(format!("{sprung} of 6")) }
    })
    .await;
    gates.open("step-3");
    until_completed(&fleet, std::slice::from_ref(&first)).await;
    worker.until_sprung().await;

    // A cancel, and a retry that goes on from a checkpoint.
    gates.hold("step-5");
    let second = submit(&fleet, &book, 2).await;
    gates.until_reached("step-5").await;
    api.arm("cancel_job", Catch::LoseReply);
    worker.arm("stop_job", Catch::LoseReply);
    repeat(&fleet, &second, "cancel", StatusCode::OK).await;
    fleet.until_status(&second, &["cancelled"]).await;
    gates.open("step-5");
    api.arm("retry_job", Catch::LoseReply);
    worker.arm("begin_resume", Catch::LoseReply);
    // The first took effect, so the job is no longer one that can be retried.
    repeat(&fleet, &second, "retry", StatusCode::CONFLICT).await;
    until_completed(&fleet, std::slice::from_ref(&second)).await;

    // A failure: the worker has no room for its files.
    worker.arm("fail_job", Catch::LoseReply);
    std::fs::remove_dir_all(&scratch).expect("the worker's folder is there");
    let third = submit(&fleet, &book, 3).await;
    worker.until_sprung().await;
    std::fs::create_dir_all(&scratch).expect("a folder");
    until_completed(&fleet, std::slice::from_ref(&third)).await;

    // A hand-back.
    gates.hold("step-3");
    let fourth = submit(&fleet, &book, 4).await;
    gates.until_reached("step-3").await;
    worker.arm("hand_back_job", Catch::LoseReply);
    process.signal(Signal::SIGTERM);
    process.until_ended(PATIENCE).await;
    worker.until_sprung().await;
    let _successor = fleet.quick_worker("successor", &[]);
    until_completed(&fleet, std::slice::from_ref(&fourth)).await;

    for (job, attempts) in [(&first, 1), (&second, 1), (&fourth, 1)] {
        let job = fleet.job(job).await.expect("the job");
        assert_eq!(job["attempts"], attempts, "{job}");
    }
    report(&fleet, &book).await.assert_all_completed_once();
}

/// Calls until there is an answer, and expects the last one to be this.
async fn repeat(fleet: &Fleet, job: &str, verb: &str, wanted: StatusCode) {
    let url = format!("{}/api/jobs/{job}/{verb}", fleet.api_url);
    eventually_seen("the call is answered", || async {
        let answer = fleet.client.post(&url).send().await.map_err(|error| error.to_string())?;
        let status = answer.status();
        if status == wanted { Ok(()) } else { Err(format!("{status}: {}", answer.text().await.unwrap_or_default())) }
    })
    .await;
}

/// Goal: a client that repeats its batch after a lost answer has one batch.
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
            let what = "the other replica takes the batch";
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
    assert!(accepted("committed").await.iter().all(|created| !created), "the first try had made them");

    // Killed before the commit: there is nothing, and the other replica makes them.
    proxy.arm("COMMIT", Catch::Hold);
    let (sent, ()) = tokio::join!(send(&fleet.api_url, "killed"), async {
        proxy.until_sprung().await;
        first.kill();
    });
    assert!(sent.is_err(), "nobody could have answered");
    drop(proxy);
    assert!(accepted("killed").await.iter().all(|created| *created), "nothing was there");
}
