//! Goal: a worker on another machine can do its work with its own database role, and nothing beyond.
//! Method: a store connected with such a role makes every move of a worker; then it tries statements that it must not run.

use domain::{LeaseToken, WorkerId};
use sqlx::{Executor, PgPool};
use store::leases::{ClaimOutcome, ProgressMark};
use store::workers::WorkerState;
use store::{Store, StoreError, StoreOptions};

use crate::support::{Fixture, POLICY, record, rendered};

/// The URL of the fixture's database for another user.
async fn url_as(f: &Fixture, user: &str, password: &str) -> String {
    let options = f.pool.connect_options();
    let database = options.get_database().expect("a database");
    format!("postgres://{user}:{password}@{}:{}/{database}", options.get_host(), options.get_port())
}

async fn as_worker(f: &Fixture) -> (Store, PgPool) {
    let role = f.store.let_worker_log_in("gpu2", "first").await.expect("a role");
    let url = url_as(f, &role, "first").await;
    let store = Store::connect(&StoreOptions::new(&url)).await.expect("the role logs in");
    (store, PgPool::connect(&url).await.expect("the role logs in"))
}

#[tokio::test]
async fn every_move_of_a_worker_works_under_its_role() {
    let f = Fixture::new().await;
    let (worker, _) = as_worker(&f).await;
    let run = async |f: &Fixture| {
        let (job_id, dispatch_no) = f.scheduled().await;
        let claim =
            worker.claim(job_id, dispatch_no, LeaseToken::fresh(), WorkerId::fresh(), 60.0).await.expect("claim");
        let ClaimOutcome::Claimed(claimed) = claim else { panic!("{claim:?}") };
        claimed.lease
    };
    let lease = run(&f).await;
    worker.renew(lease, 60.0).await.expect("renew");
    let mark = ProgressMark { stage: domain::Stage::Denoise, step: 3, steps_skipped: 1 };
    worker.progress(lease, mark).await.expect("progress");
    let checkpoint = domain::CheckpointRef { key: "a/b/c".into(), step: 3, checksum: "d".into(), resumes: 0 };
    worker.save_checkpoint(lease, &checkpoint).await.expect("save");
    worker.begin_resume(lease, 2).await.expect("resume");
    worker.drop_checkpoint(lease).await.expect("drop");
    worker.save_preview(lease, "a/b/preview-3.webp", 3).await.expect("preview");
    worker.complete(lease, &rendered(lease), &record()).await.expect("complete");
    let lease = f.running_draft(4).await;
    worker.pause(lease, &crate::support::draft(4), 1.0).await.expect("pause");
    let lease = run(&f).await;
    worker.count_device_fault(lease).await.expect("count a fault");
    worker.hand_back(lease, 1.0).await.expect("hand back");
    let lease = run(&f).await;
    let failure = domain::Failure { code: "x".into(), reason: "y".into() };
    worker.fail(lease, &failure, domain::FailureAction::Fail, POLICY, 1.0).await.expect("fail");
    let lease = run(&f).await;
    f.store.cancel(f.scope(), lease.job_id).await.expect("cancel");
    worker.stopped(lease, 1.0).await.expect("stopped");
    let (job_id, dispatch_no) = f.scheduled().await;
    worker.unrelease(job_id, dispatch_no).await.expect("unrelease");
    worker.unclaimed(&crate::support::pool(), 1).await.expect("unclaimed");
    worker.heartbeat(WorkerId::fresh(), WorkerState::Ready, None).await.expect("heartbeat");
    worker.worker_gone(WorkerId::fresh(), Some("the GPU failed")).await.expect("gone");
}

#[tokio::test]
async fn everything_else_is_refused() {
    let f = Fixture::new().await;
    let (worker, plain) = as_worker(&f).await;
    f.planned().await;
    for statement in [
        "SELECT * FROM api_keys",
        "SELECT * FROM sessions",
        "SELECT * FROM tenants",
        "SELECT * FROM job_events",
        "SELECT * FROM leader",
        "UPDATE leader SET epoch = 99",
        "UPDATE jobs SET prompt = 'mine'",
        "UPDATE jobs SET request = '{}'",
        "UPDATE jobs SET dispatch_no = 99",
        "UPDATE jobs SET cancel_requested_at = NULL",
        "UPDATE jobs SET tenant_id = gen_random_uuid()",
        "UPDATE jobs SET plan = NULL",
        "UPDATE models SET weights_fingerprint = 'x'",
        "INSERT INTO jobs (id) VALUES (gen_random_uuid())",
        "DELETE FROM jobs",
        "DELETE FROM workers",
        "TRUNCATE stats_hourly",
        "CREATE TABLE mine (x integer)",
        "DROP TABLE jobs",
        "CREATE ROLE another",
    ] {
        let error = plain.execute(statement).await.expect_err(statement);
        let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned();
        assert_eq!(code, "42501", "{statement}: {error}");
    }
    assert!(matches!(worker.list_keys(None).await, Err(StoreError::Refused(_))));
}

#[tokio::test]
async fn a_new_column_is_closed_to_workers_until_it_is_listed() {
    let f = Fixture::new().await;
    let (_, plain) = as_worker(&f).await;
    f.planned().await;
    f.pool.execute("ALTER TABLE jobs ADD COLUMN warmth integer").await.expect("a later release's column");
    // Not even after that release has started and renewed the rights.
    f.store.migrate().await.expect("a start of the later release");
    let error = plain.execute("UPDATE jobs SET warmth = 1").await.expect_err("not listed");
    assert_eq!(error.as_database_error().and_then(|error| error.code()).as_deref(), Some("42501"), "{error}");
    plain.execute("SELECT warmth FROM jobs").await.expect("workers read all of a job");
    plain.execute("UPDATE jobs SET step = step").await.expect("a listed column is writable");
}

#[tokio::test]
async fn a_password_is_renewed_and_a_machine_is_locked_out() {
    let f = Fixture::new().await;
    let (_, plain) = as_worker(&f).await;
    let role = f.store.let_worker_log_in("gpu2", "second").await.expect("joins again");
    assert!(PgPool::connect(&url_as(&f, &role, "first").await).await.is_err());
    PgPool::connect(&url_as(&f, &role, "second").await).await.expect("the new password works");
    f.store.shut_worker_out("gpu2").await.expect("lock out");
    assert!(PgPool::connect(&url_as(&f, &role, "second").await).await.is_err());
    assert!(plain.execute("SELECT id FROM jobs").await.is_err(), "an open connection ends too");
    f.store.shut_worker_out("gpu2").await.expect("an unknown name is not an error");
    let left: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
        .bind(&role)
        .fetch_one(&f.pool)
        .await
        .expect("a row");
    assert!(!left);
}

#[tokio::test]
async fn an_invalid_name_is_refused_before_anything_is_created() {
    let f = Fixture::new().await;
    let long = "x".repeat(25);
    for name in ["", "GPU", "a b", "a'; DROP TABLE jobs; --", long.as_str()] {
        let error = f.store.let_worker_log_in(name, "p").await.expect_err(name);
        assert!(matches!(error, StoreError::Unstorable { .. }), "{name}: {error}");
    }
    f.pool.execute("SELECT 1 FROM jobs").await.expect("still there");
}
