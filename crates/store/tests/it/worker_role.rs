//! Goal: a worker on another machine can do its work with its own database role, and nothing beyond.
//! Method: a store connected with such a role makes every move of a worker; then it tries statements that it must not run.

use domain::{LeaseToken, TenantId, WorkerId};
use sqlx::{Executor, PgPool};
use store::affinity::Seeker;
use store::leases::{ClaimOutcome, ProgressMark};
use store::workers::WorkerState;
use store::{Lease, Store, StoreError, StoreOptions};

use crate::support::{Fixture, POLICY, record, rendered};

/// The RabbitMQ user of the joined machine.
const BROKER_USER: &str = "fleet_worker_gpu2";

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
    f.model().await;
    let id = registered(&worker).await;
    let run = async |f: &Fixture| claimed(f, &worker, id).await;
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
    let lease = drafting(&f, &worker, id, 4).await;
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
    let (pool, hint) = (&crate::support::pool(), Some(job_id));
    let seeker = Seeker { worker_id: id, pool, adapters: "", hint, patience_s: 1.0 };
    worker.preferred(seeker).await.expect("preferred");
    worker.report_adapters(id, "a@1", &["a".to_owned()]).await.expect("report");
    assert!(worker.heartbeat(id, WorkerState::Ready, None).await.expect("heartbeat"));
    worker.worker_gone(id, Some("the GPU failed")).await.expect("gone");
    assert!(f.store.workers().await.expect("workers").is_empty(), "it has signed off");
}

/// Registers a worker of the fixture's pool under a store's login.
async fn registered(store: &Store) -> WorkerId {
    let info = crate::support::worker_info();
    store.register_worker(&info).await.expect("register");
    store.set_broker_user(info.id, BROKER_USER).await.expect("say the RabbitMQ user");
    info.id
}

/// A job that a worker holds.
async fn claimed(f: &Fixture, store: &Store, worker: WorkerId) -> Lease {
    let (job_id, dispatch_no) = f.scheduled().await;
    let claim = store.claim(job_id, dispatch_no, LeaseToken::fresh(), worker, 60.0).await.expect("claim");
    let ClaimOutcome::Claimed(claimed) = claim else { panic!("{claim:?}") };
    claimed.lease
}

/// A draft that a worker holds, with the checkpoint at which it pauses.
async fn drafting(f: &Fixture, store: &Store, worker: WorkerId, step: u32) -> Lease {
    let job = f.queued().await;
    f.plan_all(&[job.id], crate::support::draft_plan(step)).await;
    let released = f.store.release(&crate::support::pool(), 100, f.epoch).await.expect("release");
    let this = released.iter().find(|released| released.job_id == job.id).expect("released");
    let claim = store.claim(job.id, this.dispatch_no, LeaseToken::fresh(), worker, 60.0).await.expect("claim");
    let ClaimOutcome::Claimed(claimed) = claim else { panic!("{claim:?}") };
    let checkpoint = domain::CheckpointRef { key: "a/b/draft".into(), step, checksum: "d".into(), resumes: 0 };
    store.save_checkpoint(claimed.lease, &checkpoint).await.expect("save");
    claimed.lease
}

/// The fleet's own processes and other machines hold jobs that a joined machine neither sees nor changes.
#[tokio::test]
async fn jobs_that_others_hold_are_out_of_reach() {
    let f = Fixture::new().await;
    let (worker, plain) = as_worker(&f).await;
    f.model().await;
    let (own, other) = (registered(&worker).await, registered(&f.store).await);
    let (mine, theirs) = (claimed(&f, &worker, own).await, claimed(&f, &f.store, other).await);
    let seen: Vec<uuid::Uuid> =
        sqlx::query_scalar("SELECT id FROM jobs WHERE status = 'running'").fetch_all(&plain).await.expect("own jobs");
    assert_eq!(seen, [mine.job_id.0], "the lease of another's job stays secret");
    // Even with a lease that it came to know.
    let failure = domain::Failure { code: "x".into(), reason: "y".into() };
    let failed = worker.fail(theirs, &failure, domain::FailureAction::Fail, POLICY, 1.0).await;
    assert!(matches!(failed, Err(StoreError::LeaseLost { .. })), "{failed:?}");
    let mark = ProgressMark { stage: domain::Stage::Deliver, step: 99, steps_skipped: 0 };
    assert!(worker.progress(theirs, mark).await.is_err(), "progress of another's job");
    let moved = plain.execute("UPDATE jobs SET status = 'cancelled', finished_at = now()").await;
    assert!(moved.is_err() || moved.is_ok_and(|done| done.rows_affected() <= 1), "only its own job at most");
    for (statement, what) in [
        ("UPDATE workers SET state = 'gone' WHERE id = $1", "sign another worker off"),
        ("UPDATE jobs SET worker_id = $1 WHERE status = 'running'", "hand its job to another"),
    ] {
        let done = sqlx::query(statement).bind(other.0).execute(&plain).await;
        assert!(done.is_err() || done.is_ok_and(|done| done.rows_affected() == 0), "{what}");
    }
    let event = "INSERT INTO job_events (job_id, tenant_id, kind) VALUES ($1, $2, 'completed')";
    sqlx::query(event)
        .bind(theirs.job_id.0)
        .bind(f.tenant.0)
        .execute(&plain)
        .await
        .expect_err("an event of another's job");
    let row = f.store.get(f.scope(), theirs.job_id).await.expect("get").expect("the job");
    assert_eq!(row.status, domain::JobStatus::Running);
    f.store.renew(theirs, 60.0).await.expect("its worker still has it");
    let holds = async |user, lease: Lease, tenant| f.store.holds_job(user, lease.job_id, tenant).await.expect("holds");
    assert!(holds(Some(BROKER_USER), mine, f.tenant).await);
    assert!(!holds(Some(BROKER_USER), mine, TenantId(uuid::Uuid::from_u128(7))).await, "of another owner");
    assert!(!holds(Some("fleet_worker_gpu3"), mine, f.tenant).await, "another machine's user");
    assert!(!holds(None, mine, f.tenant).await, "an unsigned message");
    f.store.fail(mine, &failure, domain::FailureAction::Fail, POLICY, 1.0).await.expect("fail");
    assert!(!holds(Some(BROKER_USER), mine, f.tenant).await, "nobody holds it any more");
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
