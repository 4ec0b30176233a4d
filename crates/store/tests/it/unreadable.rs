//! Rows that this release cannot read: they are left out of lists, streams and what is learnt from, and counted.

use domain::worker::WorkerInfo;
use domain::{EventCursor, WorkerId};
use store::events::EventScope;
use store::jobs::{JobFilter, Scope};

use crate::access::manifest;
use crate::support::{Fixture, MODEL, pool, record, rendered};

impl Fixture {
    /// Takes a check away that a later release would have widened.
    async fn allow(&self, statement: &'static str) {
        sqlx::query(statement).execute(&self.pool).await.expect("widen");
    }

    async fn spoil(&self, statement: &'static str) {
        let spoiled = sqlx::query(statement).execute(&self.pool).await.expect("spoil");
        assert_eq!(spoiled.rows_affected(), 1, "{statement}");
    }
}

#[tokio::test]
async fn one_unreadable_job_does_not_hide_the_others() {
    let f = Fixture::new().await;
    let good = f.completed().await;
    let bad = f.completed().await;
    let before = store::unreadable_rows();
    f.spoil(
        "UPDATE jobs SET plan = '{\"tier\": \"of a later release\"}' WHERE id = (SELECT id FROM jobs ORDER BY id DESC LIMIT 1)",
    )
    .await;
    let page = f.store.list(f.scope(), &JobFilter::default(), None, 10, 100).await.expect("the list is there");
    assert_eq!(page.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [good]);
    let runs = f.store.recent_runs(MODEL, 10).await.expect("the learner reads what there is");
    assert_eq!(runs.len(), 1);
    assert!(store::unreadable_rows() >= before + 2, "each was counted");
    // Who asks for that very row learns that it cannot be read.
    let error = f.store.get(Scope::Fleet, bad).await.expect_err("unreadable").to_string();
    assert!(error.contains("plan"), "{error}");
}

#[tokio::test]
async fn a_record_with_a_number_that_json_lacks_leaves_the_job_readable() {
    let f = Fixture::new().await;
    let lease = f.running().await;
    let mut poor = record();
    poor.convergence = vec![f32::NAN, f32::INFINITY, 0.5];
    (poor.saved_s, poor.cost_usd) = (f64::NAN, f64::INFINITY);
    f.store.complete(lease, &rendered(lease), &poor).await.expect("complete");
    let kept = f.get(lease.job_id).await.record.expect("a record");
    assert_eq!((kept.convergence, kept.saved_s), (vec![0.0, 0.0, 0.5], 0.0));
    let stats = f.store.stats(Scope::Fleet).await.expect("stats");
    assert!(stats.saved_s.is_finite() && stats.cost_usd.is_finite(), "one run must not spoil all sums");

    // What an earlier release stored, and what none can read.
    f.spoil("UPDATE jobs SET record = record || '{\"convergence\": [null, 0.5], \"saved_usd\": null}'").await;
    assert_eq!(f.get(lease.job_id).await.record.expect("a record").convergence, [0.0, 0.5]);
    f.spoil("UPDATE jobs SET record = '{\"stages\": 7}'").await;
    let job = f.get(lease.job_id).await;
    assert!(job.record.is_none() && job.rendered.is_some(), "the video is worth more than its statistics");
}

#[tokio::test]
async fn events_and_workers_are_read_past_one_that_cannot_be() {
    let f = Fixture::new().await;
    let lease = f.running().await;
    f.store.complete(lease, &rendered(lease), &record()).await.expect("complete");
    let scope = EventScope::Job(lease.job_id);
    let all = f.store.events_after(scope, EventCursor::default(), 100).await.expect("events").len();
    f.allow("ALTER TABLE job_events DROP CONSTRAINT IF EXISTS job_events_kind_check").await;
    f.spoil("UPDATE job_events SET kind = 'of-a-later-release' WHERE seq = (SELECT min(seq) FROM job_events)").await;
    let rest = f.store.events_after(scope, EventCursor::default(), 100).await.expect("events");
    assert_eq!(rest.len() + 1, all);

    f.store.upsert_model(&manifest("w")).await.expect("model");
    for name in ["fine", "strange"] {
        f.store.register_worker(&worker(name)).await.expect("register");
    }
    f.allow("ALTER TABLE workers DROP CONSTRAINT IF EXISTS workers_state_check").await;
    f.spoil("UPDATE workers SET state = 'of-a-later-release' WHERE name = 'strange'").await;
    let workers = f.store.workers(None, 100).await.expect("workers");
    assert_eq!(workers.iter().map(|worker| worker.info.name.as_str()).collect::<Vec<_>>(), ["fine"]);
    assert_eq!(workers[0].info.attention.as_deref(), Some("cudnn"));
}

#[tokio::test]
async fn a_broken_device_is_counted_on_the_job_and_told_on_the_workers_row() {
    let f = Fixture::new().await;
    let lease = f.running().await;
    assert_eq!(f.store.count_device_fault(lease).await.expect("count"), 1);
    f.store.hand_back(lease, 1.0).await.expect("hand back");
    assert_eq!(f.get(lease.job_id).await.attempts_total, 0, "no attempt was spent");
    assert!(f.store.count_device_fault(lease).await.is_err(), "the lease is over");

    f.store.upsert_model(&manifest("w")).await.expect("model");
    let info = worker("sick");
    f.store.register_worker(&info).await.expect("register");
    f.store.worker_gone(info.id, Some("the GPU failed")).await.expect("gone");
    let reason: Option<String> = sqlx::query_scalar("SELECT gone_reason FROM workers WHERE id = $1")
        .bind(info.id.0)
        .fetch_one(&f.pool)
        .await
        .expect("the row");
    assert_eq!(reason.as_deref(), Some("the GPU failed"));
}

fn worker(name: &str) -> WorkerInfo {
    WorkerInfo {
        id: WorkerId::fresh(),
        name: name.into(),
        pool: pool(),
        model_id: MODEL.into(),
        model_fingerprint: manifest("w").fingerprint.weights,
        device: "cuda:0".into(),
        device_class: "cuda NVIDIA H100 80GB HBM3".into(),
        build: "test".into(),
        threads: 1,
        attention: Some("cudnn".into()),
        memory_bytes: 1 << 30,
        slots: 1,
        formats: "f32/f32/f32".into(),
        gpu_hour_usd: 3.6,
        batch_max: 1,
        batch_tokens: 0,
        devices: 1,
    }
}
