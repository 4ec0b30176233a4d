//! Replies of Postgres that are lost after the commit of background work: sweeps, retention, a returned delivery.

use reqwest::{Method, StatusCode};
use testkit::rabbitmq::QueueLevel;
use testkit::{Accounting, Catch, Fleet, Process, Protocol, Proxy, eventually_seen};

use crate::lost_replies::{DATABASE, cancelled_with_checkpoint, events, lose, repeat, way};
use crate::support::{
    PATIENT, database, impatient, report, request, submit, tidy, until_completed, until_count, until_nothing_left,
    with_long_leases,
};

const BROKER: &str = "FLEET__BROKER__URL";

/// Goal: nothing happens twice although each reply is lost once: of a dead worker's lease, its pool's releases, the worker
/// itself, a deleted job and an old checkpoint. All of it is due before a scheduler starts, so that each first call takes effect, and
/// loses its reply.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_sweep_that_is_lost_changes_nothing() {
    let fleet = Fleet::prepare(tidy(impatient())).await;
    let (_api, mut scheduler) = (fleet.api(), fleet.scheduler("before"));
    fleet.until_api_ready().await;
    let book = Accounting::default();
    let gates = fleet.gates("dies");
    let mut worker = fleet.gated_worker("dies", &gates, &[]);
    // Not in the records, which would count it as lost.
    let purged = fleet.submit(&request(1)).await["job_id"].as_str().expect("an id").to_owned();
    until_completed(&fleet, std::slice::from_ref(&purged)).await;
    cancelled_with_checkpoint(&fleet, &book, &gates, 2).await;
    gates.hold("step-2");
    let running = submit(&fleet, &book, 3).await;
    gates.until_reached("step-2").await;
    let scheduled = submit(&fleet, &book, 4).await;
    until_count(&fleet, "the next job is released", RELEASED, 1).await;
    scheduler.kill();
    worker.kill();
    repeat(&fleet, &purged, Method::DELETE, "", StatusCode::NO_CONTENT).await;
    until_count(&fleet, "all of it is due", DUE, 1).await;

    let (way, url) = way(&fleet);
    lose(&way, &["forget_announcements", "give_up_silent_workers", "unrelease_dead_pools", "expire_leases"]);
    lose(&way, &["purge_deleted_jobs", "drop_stale_checkpoints"]);
    let _scheduler = fleet.scheduler_with("after", &[(DATABASE, &url), ("FLEET__SCHEDULER__RETENTION_S", "1")]);
    way.until_sprung().await;
    let _successor = fleet.quick_worker("successor", &[]);
    until_completed(&fleet, &[running.clone(), scheduled.clone()]).await;

    assert_eq!(events(&fleet, &running, "retrying").await, 1, "its lease expired once");
    assert_eq!(events(&fleet, &running, "running").await, 2);
    assert_eq!(events(&fleet, &scheduled, "running").await, 1);
    assert_eq!(taken_back(&fleet, &scheduled).await, 1);
    assert!(fleet.job(&purged).await.is_err(), "it is deleted");
    until_nothing_left(&fleet, &book).await;
    report(&fleet, &book).await.assert_all_completed_once();
}

const RELEASED: &str = "SELECT count(*) FROM jobs WHERE status = 'scheduled'";

/// An expired lease, a release, a worker without heartbeats, a deleted job and a checkpoint past their retention.
const DUE: &str = "SELECT LEAST(
    (SELECT count(*) FROM jobs WHERE status = 'running' AND lease_expires_at < clock_timestamp()),
    (SELECT count(*) FROM jobs WHERE status = 'scheduled'),
    (SELECT count(*) FROM jobs WHERE deleted_at < clock_timestamp() - interval '2 s'),
    (SELECT count(*) FROM jobs WHERE status = 'cancelled' AND checkpoint_key IS NOT NULL
        AND finished_at < clock_timestamp() - interval '2 s'),
    (SELECT count(*) FROM workers WHERE state <> 'gone' AND last_seen_at < clock_timestamp() - interval '7 s'))";

/// Goal: a worker that found a job by polling returns the one that was delivered to it meanwhile, and does so once although the
/// reply is lost.
#[tokio::test(flavor = "multi_thread")]
async fn an_extra_delivery_is_given_back_once() {
    let options = with_long_leases().with("FLEET__SCHEDULER__REANNOUNCE_MIN_S", "600");
    let fleet = Fleet::prepare(options.with("FLEET__SCHEDULER__REANNOUNCE_MAX_S", "600")).await;
    let _api = fleet.api();
    fleet.until_api_ready().await;
    let bells = Proxy::start(Protocol::Bytes, fleet.variable(BROKER));
    let scheduler = fleet.scheduler_with("scheduler", &[(BROKER, &bells.through(fleet.variable(BROKER)))]);
    until_said(&scheduler, "RabbitMQ connected", 1).await;
    let (way, url) = way(&fleet);
    let _worker = fleet.quick_worker("worker", &[(DATABASE, &url), PATIENT]);
    let listens = |level: &QueueLevel| level.consumers == Some(1);
    until_ready_queue(&fleet, "the worker consumes", listens).await;

    // The first release is not published, and its claim waits.
    bells.refuse();
    until_said(&scheduler, "RabbitMQ connection lost", 1).await;
    way.arm("claim_job", Catch::Hold);
    let book = Accounting::default();
    let polled = submit(&fleet, &book, 1).await;
    way.until_sprung().await;
    bells.heal();
    until_said(&scheduler, "RabbitMQ connected", 2).await;
    let delivered = submit(&fleet, &book, 2).await;
    until_ready_queue(&fleet, "the second is delivered", |level| level.unacked == Some(1)).await;
    lose(&way, &["unrelease_job"]);
    way.release();
    way.until_sprung().await;
    until_completed(&fleet, &[polled.clone(), delivered.clone()]).await;
    assert_eq!([taken_back(&fleet, &polled).await, taken_back(&fleet, &delivered).await], [0, 1]);
    for job in [&polled, &delivered] {
        assert_eq!(fleet.job(job).await.expect("the job")["attempts"], 1);
    }
    report(&fleet, &book).await.assert_all_completed_once();
    until_ready_queue(&fleet, "no message is left", |level| level.messages == Some(0)).await;
}

async fn until_said(process: &Process, words: &str, times: usize) {
    eventually_seen("it logs this", || async {
        let log = process.log();
        if log.matches(words).count() >= times { Ok(()) } else { Err(log) }
    })
    .await;
}

async fn until_ready_queue(fleet: &Fleet, what: &str, wanted: impl Fn(&QueueLevel) -> bool) {
    eventually_seen(what, || async {
        let levels = fleet.vhost.queue_levels().await;
        let found = levels.iter().any(|level| level.name.starts_with("ready.") && wanted(level));
        if found { Ok(()) } else { Err(format!("{levels:?}")) }
    })
    .await;
}

/// How often a release of a job was taken back.
async fn taken_back(fleet: &Fleet, job: &str) -> i64 {
    let count = "SELECT count(*) FROM job_events WHERE job_id = $1::uuid AND detail ? 'unreleased'";
    sqlx::query_scalar(count).bind(job).fetch_one(&mut database(fleet).await).await.expect("a count")
}
