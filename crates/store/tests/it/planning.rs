//! Jobs without a plan: which are read, and what happens to those that nobody can plan.

use domain::{JobId, JobStatus, ModelManifest};
use store::StoreError;
use store::jobs::Scope;

use crate::support::{Fixture, MODEL, new_job};

fn manifest(id: &str) -> ModelManifest {
    let mut manifest = crate::access::manifest("w");
    id.clone_into(&mut manifest.id);
    manifest
}

fn models(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|&id| id.to_owned()).collect()
}

#[tokio::test]
async fn jobs_of_unknown_models_are_not_in_front_of_those_that_can_be_planned() {
    let f = Fixture::new().await;
    for _ in 0..20 {
        f.insert(new_job(f.tenant, "unknown")).await;
    }
    let mut known = Vec::new();
    for n in 0..6 {
        known.push(f.insert(new_job(f.tenant, if n % 2 == 0 { MODEL } else { "other" })).await.id);
    }
    let read = async |names: &[&str], after: Option<JobId>, limit: u32| {
        let batch = f.store.unplanned(&models(names), after, limit).await.expect("unplanned");
        (batch.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), batch.last)
    };
    // Oldest first across models, a part at a time.
    assert_eq!(read(&[MODEL, "other"], None, 4).await, (known[..4].to_vec(), Some(known[3])));
    assert_eq!(read(&[MODEL, "other"], Some(known[3]), 4).await, (known[4..].to_vec(), Some(known[5])));
    assert_eq!(read(&[MODEL, "other"], Some(known[5]), 4).await, (Vec::new(), None));
    assert_eq!(read(&["other"], None, 4).await.0, [known[1], known[3], known[5]]);
    assert_eq!(read(&[], None, 4).await, (Vec::new(), None));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_stops_no_other() {
    let f = Fixture::new().await;
    let (broken, fine) = (f.queued().await.id, f.queued().await);
    let spoil = "UPDATE jobs SET request = '{\"prompt\": 7}' WHERE id = $1";
    sqlx::query(spoil).bind(broken.0).execute(&f.pool).await.expect("spoil");
    let batch = f.store.unplanned(&models(&[MODEL]), None, 10).await.expect("unplanned");
    assert_eq!((batch.jobs.len(), batch.unreadable.len(), batch.last), (1, 1, Some(fine.id)));
    let job = &batch.jobs[0];
    assert_eq!((job.id, job.tenant_id, job.model_id.as_str()), (fine.id, fine.tenant_id, MODEL));
    assert_eq!((&job.request, &job.shape, job.created_at), (&fine.request, &fine.shape, fine.created_at));
    assert!(matches!(batch.unreadable[0], StoreError::Unreadable { .. }), "{:?}", batch.unreadable);
}

#[tokio::test]
async fn a_job_fails_when_its_model_stays_unknown() {
    let f = Fixture::new().await;
    f.store.upsert_model(&manifest(MODEL)).await.expect("model");
    let known = f.queued().await.id;
    let mut lost = Vec::new();
    for _ in 0..3 {
        lost.push(f.insert(new_job(f.tenant, "unknown")).await.id);
    }
    assert!(
        f.store.fail_unknown_models(3_600.0, 10, f.epoch).await.expect("sweep").is_empty(),
        "the grace is not over"
    );
    // The limit holds, and nothing else is touched.
    assert_eq!(f.store.fail_unknown_models(0.0, 2, f.epoch).await.expect("sweep").len(), 2);
    assert_eq!(f.store.fail_unknown_models(0.0, 2, f.epoch).await.expect("sweep").len(), 1);
    assert!(f.store.fail_unknown_models(0.0, 2, f.epoch).await.expect("sweep").is_empty());
    assert_eq!(f.get(known).await.status, JobStatus::Queued);
    for id in &lost {
        let job = f.get(*id).await;
        let failure = job.failure.expect("a reason");
        assert_eq!((job.status, failure.code.as_str()), (JobStatus::Failed, "unknown_model"));
        assert!(failure.reason.contains("'unknown'") && failure.reason.contains("models.dirs"), "{}", failure.reason);
        assert_eq!(f.event_kinds(*id).await.last().map(String::as_str), Some("failed"));
    }
    assert_eq!(f.store.stats(Scope::Fleet).await.expect("stats").failed, 3);
    // Once the model is there, a retry is planned.
    f.store.upsert_model(&manifest("unknown")).await.expect("model");
    f.store.retry(Scope::Fleet, lost[0]).await.expect("retry");
    assert!(f.store.fail_unknown_models(0.0, 2, f.epoch).await.expect("sweep").is_empty());
    let batch = f.store.unplanned(&models(&["unknown"]), None, 10).await.expect("unplanned");
    assert_eq!(batch.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), [lost[0]]);
}

#[tokio::test]
async fn only_the_leader_fails_jobs() {
    let f = Fixture::new().await;
    let job = f.insert(new_job(f.tenant, "unknown")).await.id;
    let other = store::Epoch(f.epoch.0 + 1);
    let refused = f.store.fail_unknown_models(0.0, 10, other).await;
    assert!(matches!(refused, Err(StoreError::NotLeader { .. })), "{refused:?}");
    assert_eq!(f.get(job).await.status, JobStatus::Queued);
}

#[tokio::test]
async fn a_model_is_retired_and_restored_and_an_unreadable_one_hides_no_other() {
    let f = Fixture::new().await;
    f.store.upsert_model(&manifest("a")).await.expect("model");
    let broken =
        "INSERT INTO models (id, manifest, weights_fingerprint, encoders_fingerprint) VALUES ('b', '{}', '', '')";
    sqlx::query(broken).execute(&f.pool).await.expect("insert");
    assert!(!f.store.set_model_retired("missing", true).await.expect("retire"));
    assert!(f.store.set_model_retired("a", true).await.expect("retire"));
    // A restart of a process that has the folder changes nothing.
    f.store.upsert_model(&manifest("a")).await.expect("model");
    let read = f.store.models().await.expect("models");
    assert_eq!(read.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(read[0].manifest.is_ok() && read[1].manifest.is_err());
    let since = read[0].retired_at.expect("retired");
    assert!(f.store.set_model_retired("a", true).await.expect("retire"));
    assert_eq!(f.store.models().await.expect("models")[0].retired_at, Some(since));
    assert!(f.store.set_model_retired("a", false).await.expect("restore"));
    assert_eq!(f.store.models().await.expect("models")[0].retired_at, None);
}
