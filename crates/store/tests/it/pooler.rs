//! Goal: the fleet works through a connection pooler that lends connections for a transaction at a time.
//! Method: a real pgbouncer, two stores, and a single connection behind it, so that every statement of one comes between those of
//! the other.

use std::time::Duration;

use domain::{JobStatus, LeaseToken, WorkerId};
use store::events::EventScope;
use store::jobs::{CancelOutcome, InsertOutcome};
use store::leases::ClaimOutcome;
use store::workers::WorkerState;
use store::{Store, StoreError, StoreOptions};
use testkit::Pgbouncer;

use crate::support::{Fixture, MODEL, keyed, new_job, plan, pool, record, rendered};

/// A fixture whose store goes through the pooler, and a second such store.
async fn pooled() -> (Fixture, Store, Pgbouncer) {
    let f = Fixture::new().await;
    let url = testkit::postgres::url_like(&f.pool);
    let pooler = Pgbouncer::start(&url, 1);
    pooler.until_ready().await;
    let through = pooler.through(&url);
    let connect = async || {
        let mut options = StoreOptions::new(&through);
        options.connections_max = 2;
        // Another test may hold the machine for long, and both wait for the one connection.
        options.acquire_timeout_ms = 60_000;
        options.lock_timeout_ms = 200;
        Store::connect(&options).await.expect("connect through the pooler")
    };
    let (store, other) = (connect().await, connect().await);
    (Fixture { store, ..f }, other, pooler)
}

#[tokio::test]
async fn a_job_runs_through_its_whole_life_behind_a_pooler() {
    let (f, other, _pooler) = pooled().await;
    let start = f.store.events_from_now().await.expect("cursor");
    let lives = async |store: &Store, name: &str| {
        for n in 0..5 {
            let key = format!("{name}-{n}");
            let job = keyed(f.tenant, &key, "a red ball");
            let InsertOutcome::Created(created) = store.insert(&job).await.expect("insert") else {
                panic!("not created")
            };
            let InsertOutcome::Replayed(replayed) =
                store.insert(&keyed(f.tenant, &key, "a red ball")).await.expect("insert again")
            else {
                panic!("not replayed")
            };
            assert_eq!(created.id, replayed.id);
            assert_eq!(store.get(f.scope(), created.id).await.expect("get").map(|job| job.id), Some(created.id));
        }
    };
    tokio::join!(lives(&f.store, "one"), lives(&other, "other"));

    let (job_id, dispatch_no) = f.scheduled().await;
    let claim = other.claim(job_id, dispatch_no, LeaseToken::fresh(), WorkerId::fresh(), 60.0).await.expect("claim");
    let ClaimOutcome::Claimed(claimed) = claim else { panic!("{claim:?}") };
    let (renewed, listed) = tokio::join!(other.renew(claimed.lease, 60.0), f.store.get(f.scope(), job_id));
    assert!(!renewed.expect("renew").cancel_requested);
    assert_eq!(listed.expect("get").map(|job| job.status), Some(JobStatus::Running));
    assert_eq!(f.store.cancel(f.scope(), job_id).await.expect("cancel"), CancelOutcome::Requested);
    assert!(other.renew(claimed.lease, 60.0).await.expect("renew").cancel_requested);
    let ended = other.complete(claimed.lease, &rendered(claimed.lease), &record()).await.expect("complete");
    assert_eq!(ended.status, JobStatus::Cancelled);
    let batch = [new_job(f.tenant, MODEL), new_job(f.tenant, MODEL)];
    f.store.insert_all_or_nothing(&batch).await.expect("a batch");
    f.plan_all(&batch.map(|job| job.id), plan()).await;
    f.store.release(&pool(), 1, f.epoch).await.expect("release");
    let events = f.store.events_after(EventScope::Fleet, start, 100).await.expect("events");
    assert_eq!(events.len(), 10 + 6 + 2 + 2 + 1, "{events:#?}");
}

/// A setting of a session would be lost or, worse, leak into another client's transaction.
#[tokio::test]
async fn time_limits_hold_behind_a_pooler() {
    let (f, other, _pooler) = pooled().await;
    let job = f.queued().await;
    let mut holder = f.pool.begin().await.expect("begin");
    sqlx::query("SELECT FROM jobs FOR UPDATE").execute(&mut *holder).await.expect("a lock");
    let waited = tokio::time::timeout(Duration::from_secs(60), f.store.cancel(f.scope(), job.id)).await;
    let refused = waited.expect("the lock timeout ends the wait");
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    // The connection is usable at once, by either.
    other.ping().await.expect("ping");
    holder.rollback().await.expect("rollback");
    assert_eq!(f.store.cancel(f.scope(), job.id).await.expect("cancel"), CancelOutcome::Cancelled);
}

#[tokio::test]
async fn what_needs_a_session_is_refused_with_the_alternative() {
    let (f, _, _pooler) = pooled().await;
    for refused in [f.store.migrate().await.err(), f.store.let_worker_log_in("gpu2", "p").await.err()] {
        let Some(StoreError::Options(reason)) = refused else { panic!("{refused:?}") };
        assert!(reason.contains("pooler") && reason.contains("api migrate"), "{reason}");
    }
}

/// Rejections are reported with what to do, not as a database that is unavailable.
#[tokio::test]
async fn a_rejected_connection_says_what_to_do() {
    let f = Fixture::new().await;
    let url = testkit::postgres::url_like(&f.pool);
    let (base, _) = url.rsplit_once('/').expect("a URL with a database");
    let mut options = StoreOptions::new(format!("{base}/no_such_database"));
    options.connections_max = 1;
    let error = Store::connect(&options).await.expect_err("the database does not exist");
    assert!(error.is_unavailable(), "somebody may create it");
    let text = error.to_string();
    assert!(text.contains("no_such_database") && text.contains("createdb") && text.contains("database.url"), "{text}");
}

/// Goal: a fleet of workers needs no more connections of Postgres than the pooler is given. Method: eighteen workers, each with the
/// two stores that a worker has, all sending heartbeats and looking for work at once. Pgbouncer accepts a hundred clients by default.
#[tokio::test]
async fn many_workers_share_the_few_connections_of_a_pooler() {
    const WORKERS: usize = 18;
    const SERVER_CONNECTIONS: u32 = 4;
    let f = Fixture::new().await;
    f.model().await;
    let url = testkit::postgres::url_like(&f.pool);
    let pooler = Pgbouncer::start(&url, SERVER_CONNECTIONS);
    pooler.until_ready().await;
    let through = pooler.through(&url);
    let store = |connections_max| {
        let mut options = StoreOptions::new(&through);
        options.connections_max = connections_max;
        options.connections_min = 0;
        options.acquire_timeout_ms = 60_000;
        options.application_name = "one of many".to_owned();
        Store::connect_lazy(&options).expect("options")
    };
    let work = async |number: usize| {
        let (main, heart) = (store(4), store(1));
        let info = domain::worker::WorkerInfo {
            id: WorkerId::fresh(),
            name: format!("worker {number}"),
            ..crate::support::worker_info()
        };
        main.register_worker(&info).await.expect("register");
        let pool = pool();
        for _ in 0..5 {
            let (beat, polled) =
                tokio::join!(heart.heartbeat(info.id, WorkerState::Ready, None), main.unclaimed(&pool, info.id, 1));
            assert!(beat.expect("beat"));
            polled.expect("poll");
        }
        (main, heart)
    };
    let stores = futures::future::join_all((0..WORKERS).map(work)).await;
    // All their connections are still open; each holds one to the pooler.
    let servers: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
             AND application_name = 'one of many'",
    )
    .fetch_one(&f.pool)
    .await
    .expect("count");
    assert!(servers <= i64::from(SERVER_CONNECTIONS), "{servers} connections of Postgres");
    let open: u32 = stores.iter().map(|(main, heart)| main.pool_usage().open + heart.pool_usage().open).sum();
    assert!(open as usize >= WORKERS, "{open} connections of the pooler");
    assert_eq!(f.store.count_workers(store::jobs::Scope::Fleet).await.expect("counts").workers, WORKERS as u64);
}
