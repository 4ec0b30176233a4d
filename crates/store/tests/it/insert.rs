//! Submissions: batches, idempotency, conflicts, deadlocks.

use std::time::Duration;

use domain::{JobStatus, TenantId};
use store::jobs::{BatchOutcome, InsertOutcome, Scope};
use uuid::Uuid;

use crate::support::{Fixture, keyed, new_job};

async fn count(fixture: &Fixture) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM jobs").fetch_one(&fixture.pool).await.expect("count")
}

#[tokio::test]
async fn a_created_job_reads_back_as_it_was_returned() {
    let f = Fixture::new().await;
    let mut new = keyed(f.tenant, "k", "a cat");
    new.request.aspect_ratio = Some("16:9".into());
    new.request.negative_prompt = Some("blur".into());
    new.request.step_cache = Some(domain::StepCacheMode::Balanced);
    new.request.similar_prompts = Some(false);
    new.request.deadline_s = Some(600);
    new.traceparent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into());
    new.origin = Some(domain::Origin { asked_size: Some("1280x720".into()), ..domain::Origin::default() });
    let created = f.insert(new).await;
    assert_eq!(f.get(created.id).await, created);
    assert_eq!(created.status, JobStatus::Queued);
    assert!(created.seed_drawn && created.request.seed.is_some());
    assert_eq!(f.event_kinds(created.id).await, ["queued"]);
    assert_eq!(f.store.get_by_key(f.tenant, "k").await.expect("get"), Some(created));
}

#[tokio::test]
async fn a_key_creates_one_job_and_another_payload_is_refused() {
    let f = Fixture::new().await;
    let first = f.insert(keyed(f.tenant, "k", "a cat")).await;
    let again = f.store.insert(&keyed(f.tenant, "k", "a cat")).await.expect("insert");
    assert_eq!(again, InsertOutcome::Replayed(Box::new(first)));
    let other = f.store.insert(&keyed(f.tenant, "k", "a dog")).await.expect("insert");
    assert_eq!(other, InsertOutcome::KeyReused);
    // Keys are separate for each tenant.
    let stranger = f.store.ensure_tenant("stranger").await.expect("tenant").id;
    assert!(matches!(f.store.insert(&keyed(stranger, "k", "a dog")).await, Ok(InsertOutcome::Created(_))));
    assert_eq!(count(&f).await, 2);
}

#[tokio::test]
async fn duplicates_inside_one_batch_share_a_job() {
    let f = Fixture::new().await;
    let batch = [
        keyed(f.tenant, "b", "a dog"),
        keyed(f.tenant, "a", "a cat"),
        new_job(f.tenant, "default"),
        keyed(f.tenant, "a", "a cat"),
        keyed(f.tenant, "a", "another cat"),
    ];
    let outcomes = f.store.insert_batch(&batch).await.expect("batch");
    let outcomes: Vec<InsertOutcome> = outcomes.into_iter().map(|one| one.expect("row")).collect();
    let created = outcomes.iter().filter(|one| matches!(one, InsertOutcome::Created(_))).count();
    assert_eq!((created, count(&f).await), (3, 3));
    // The order of their ids decides which of the three rows of one key comes first; the others follow from it.
    assert_eq!(outcomes[1].job().map(|job| job.id), Some(batch[1].id));
    assert_eq!(outcomes[3].job().map(|job| job.id), Some(batch[1].id));
    assert!(matches!(outcomes[3], InsertOutcome::Replayed(_)));
    assert_eq!(outcomes[4], InsertOutcome::KeyReused);
}

#[tokio::test]
async fn repeating_a_batch_after_a_lost_response_changes_nothing() {
    let f = Fixture::new().await;
    let batch: Vec<_> = (0..20).map(|_| new_job(f.tenant, "default")).collect();
    f.store.insert_batch(&batch).await.expect("batch");
    for (outcome, job) in f.store.insert_batch(&batch).await.expect("batch").into_iter().zip(&batch) {
        assert!(matches!(outcome, Ok(InsertOutcome::Replayed(found)) if found.id == job.id));
    }
    assert_eq!(count(&f).await, 20);
    assert_eq!(f.store.stats(Scope::Fleet).await.expect("stats").submitted, 20);
}

#[tokio::test]
async fn one_bad_row_of_a_batch_fails_alone() {
    let f = Fixture::new().await;
    let mut batch: Vec<_> = (0..5).map(|_| new_job(f.tenant, "default")).collect();
    batch[2].request.prompt = "a\0b".into();
    let outcomes = f.store.insert_batch(&batch).await.expect("batch");
    assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false, true, true]);
    assert_eq!(count(&f).await, 4);
}

#[tokio::test]
async fn a_users_batch_is_whole_or_not_at_all() {
    let f = Fixture::new().await;
    f.insert(keyed(f.tenant, "taken", "a cat")).await;
    let batch = [keyed(f.tenant, "x", "1"), keyed(f.tenant, "taken", "a dog"), keyed(f.tenant, "y", "2")];
    let refused = f.store.insert_all_or_nothing(&batch).await.expect("batch");
    assert_eq!((refused, count(&f).await), (BatchOutcome::KeysReused(vec![1]), 1));
    let batch = [keyed(f.tenant, "x", "1"), keyed(f.tenant, "taken", "a cat"), keyed(f.tenant, "y", "2")];
    let BatchOutcome::Committed(outcomes) = f.store.insert_all_or_nothing(&batch).await.expect("batch") else {
        panic!("refused")
    };
    assert!(matches!(outcomes[1], InsertOutcome::Replayed(_)));
    assert_eq!(count(&f).await, 3);
}

/// Batches with the same keys in opposite orders, all at once: one job per key, and no batch fails.
#[tokio::test]
async fn crossing_batches_agree_on_one_job_per_key() {
    let f = Fixture::new().await;
    let keys: Vec<String> = (0..30).map(|n| format!("key-{n}")).collect();
    let batches: Vec<Vec<_>> = (0..8)
        .map(|turn| {
            let mut batch: Vec<_> = keys.iter().map(|key| keyed(f.tenant, key, "a cat")).collect();
            batch.rotate_left(turn * 3);
            if turn % 2 == 1 {
                batch.reverse();
            }
            batch
        })
        .collect();
    let outcomes = futures::future::join_all(batches.iter().map(|batch| f.store.insert_batch(batch))).await;
    let created: usize = outcomes
        .into_iter()
        .flat_map(|outcomes| outcomes.expect("batch"))
        .filter(|one| matches!(one.as_ref().expect("row"), InsertOutcome::Created(_)))
        .count();
    assert_eq!((created, count(&f).await), (30, 30));
}

/// A real deadlock: another transaction holds the row that the insert needs, and then needs the row that the insert holds.
/// Postgres aborts one of them; if it is the insert, the store retries.
#[tokio::test]
async fn a_deadlock_is_retried() {
    let f = Fixture::new().await;
    let mut rival = f.pool.begin().await.expect("begin");
    // The rival must not be the victim, so it checks for deadlocks only after the insert has.
    sqlx::query("SET LOCAL deadlock_timeout = '20s'").execute(&mut *rival).await.expect("set");
    let stolen = keyed(f.tenant, "b", "a cat");
    insert_plain(&mut rival, &stolen, "b").await;
    let batch = [keyed(f.tenant, "a", "a cat"), keyed(f.tenant, "b", "a cat")];
    let insert = f.store.insert_batch(&batch);
    let cross = async {
        // Once the insert holds "a" and waits for the rival's "b", request "a".
        testkit::eventually("the insert waits for the rival", Duration::from_secs(20), || async {
            let waiting: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
            )
            .fetch_one(&f.pool)
            .await
            .expect("activity");
            (waiting > 0).then_some(())
        })
        .await;
        insert_plain(&mut rival, &keyed(f.tenant, "a", "a cat"), "a").await;
        rival.commit().await.expect("commit");
    };
    let (outcomes, ()) = tokio::join!(insert, cross);
    let outcomes = outcomes.expect("retried");
    assert!(outcomes.iter().all(|one| matches!(one, Ok(InsertOutcome::KeyReused | InsertOutcome::Replayed(_)))));
    assert_eq!(count(&f).await, 2);
}

async fn insert_plain(transaction: &mut sqlx::PgConnection, job: &store::jobs::NewJob, key: &str) {
    sqlx::query(
        "INSERT INTO jobs (id, tenant_id, prompt, video_size, video_length, infer_steps, quality_tier, seed, seed_drawn,
             cfg_scale, flow_reverse, true_cfg_scale, model_id, width, height, frames, fps, idempotency_key, payload_hash)
         VALUES ($1, $2, 'a cat', '540p', 129, 0, 'auto', 1, true, 6, true, 1, 'default', 96, 64, 17, 8, $3, $4)",
    )
    .bind(Uuid::now_v7())
    .bind(TenantId::DEFAULT.0)
    .bind(key)
    .bind(job.payload_hash.as_slice())
    .execute(transaction)
    .await
    .expect("insert");
}

/// A submission that retries without an idempotency key can find.
fn found_again(f: &Fixture, hash: u8) -> store::jobs::NewJob {
    let mut new = new_job(f.tenant, crate::support::MODEL);
    (new.payload_hash, new.retry_no) = ([hash; 32], Some(0));
    new
}

#[tokio::test]
async fn each_retry_number_gets_a_job_only_once() {
    let f = Fixture::new().await;
    let (one, two) = (f.insert(found_again(&f, 1)).await.id, f.insert(found_again(&f, 1)).await.id);
    f.insert(found_again(&f, 2)).await;
    f.insert(new_job(f.tenant, crate::support::MODEL)).await;
    let adopt = async |retry_no: i16, window_s: f64| {
        let found = f.store.adopt_retried(f.tenant, &[1; 32], retry_no, window_s).await.expect("adopt");
        found.map(|job| job.id)
    };
    assert_eq!(adopt(1, 0.0).await, None, "outside the window");
    assert_eq!(adopt(1, 60.0).await, Some(two), "the newest first");
    assert_eq!(adopt(2, 60.0).await, Some(two), "what an earlier retry got");
    assert_eq!(adopt(1, 60.0).await, Some(one));
    assert_eq!(adopt(1, 60.0).await, None);
    let stranger = f.store.adopt_retried(TenantId::fresh(), &[1; 32], 3, 60.0).await.expect("adopt");
    assert_eq!(stranger, None, "another tenant's");
    f.store.cancel(f.scope(), two).await.expect("cancel");
    assert_eq!(adopt(3, 60.0).await, Some(one), "no cancelled one");
}

#[tokio::test]
async fn retries_at_the_same_time_get_different_jobs() {
    let f = Fixture::new().await;
    for _ in 0..8 {
        f.insert(found_again(&f, 1)).await;
    }
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (store, tenant) = (f.store.clone(), f.tenant);
            tokio::spawn(async move { store.adopt_retried(tenant, &[1; 32], 1, 60.0).await.expect("adopt") })
        })
        .collect();
    let mut adopted = std::collections::BTreeSet::new();
    for task in tasks {
        assert!(adopted.insert(task.await.expect("a task").expect("a job").id));
    }
    assert_eq!(adopted.len(), 8);
}
