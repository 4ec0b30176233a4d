//! The effects of time: expired leases, retention, orphaned objects.

use domain::{CheckpointRef, JobStatus, LeaseToken};
use store::jobs::Scope;
use store::sweep::{LostLease, StoredObject};

use crate::support::{Fixture, LIMITS, POLICY, pool, rendered};

#[tokio::test]
async fn a_lost_worker_costs_attempts_until_the_job_fails() {
    let f = Fixture::new().await;
    let (job_id, mut dispatch_no) = f.scheduled().await;
    for attempt in 1..=LIMITS.attempts_max {
        f.claim(job_id, dispatch_no, 0.0).await;
        let lost = f.store.expire_leases(0.0, POLICY, 10, f.epoch).await.expect("sweep");
        let last = attempt == LIMITS.attempts_max;
        assert_eq!(lost, [LostLease { job_id, status: if last { JobStatus::Failed } else { JobStatus::Queued } }]);
        if !last {
            dispatch_no = f.store.release(&pool(), 1, f.epoch).await.expect("release")[0].dispatch_no;
        }
    }
    let failure = f.get(job_id).await.failure.expect("a reason");
    assert_eq!(failure.code, "worker_lost");
    assert!(failure.reason.contains("3 times"), "{}", failure.reason);
    assert_eq!(f.store.stats(Scope::Fleet).await.expect("stats").leases_lost, i64::from(LIMITS.attempts_max));
}

#[tokio::test]
async fn a_lease_that_is_kept_or_young_does_not_expire() {
    let f = Fixture::new().await;
    let kept = f.running().await;
    let (job_id, dispatch_no) = f.scheduled().await;
    f.claim(job_id, dispatch_no, 0.0).await;
    // The server must have been up for a lease's length, because no worker could renew before.
    let ages = 100.0 * 365.0 * 86_400.0;
    assert!(f.store.expire_leases(ages, POLICY, 10, f.epoch).await.expect("sweep").is_empty());
    let lost = f.store.expire_leases(0.0, POLICY, 10, f.epoch).await.expect("sweep");
    assert_eq!(lost, [LostLease { job_id, status: JobStatus::Queued }]);
    assert_eq!(f.get(kept.job_id).await.status, JobStatus::Running);
}

#[tokio::test]
async fn a_lost_job_with_a_cancel_request_ends_cancelled() {
    let f = Fixture::new().await;
    let (job_id, dispatch_no) = f.scheduled().await;
    f.claim(job_id, dispatch_no, 0.0).await;
    f.store.cancel(Scope::Fleet, job_id).await.expect("cancel");
    let lost = f.store.expire_leases(0.0, POLICY, 10, f.epoch).await.expect("sweep");
    assert_eq!(lost, [LostLease { job_id, status: JobStatus::Cancelled }]);
}

#[tokio::test]
async fn two_sweepers_take_each_lease_once() {
    let f = Fixture::new().await;
    for _ in 0..10 {
        let (job_id, dispatch_no) = f.scheduled().await;
        f.claim(job_id, dispatch_no, 0.0).await;
    }
    let sweeps = (0..4).map(|_| f.store.expire_leases(0.0, POLICY, 10, f.epoch));
    let taken: usize = futures::future::join_all(sweeps).await.into_iter().map(|one| one.expect("sweep").len()).sum();
    assert_eq!(taken, 10);
    assert_eq!(f.store.stats(Scope::Fleet).await.expect("stats").leases_lost, 10);
}

#[tokio::test]
async fn a_purge_waits_for_retention_and_for_the_job_to_end() {
    let f = Fixture::new().await;
    let done = f.completed().await;
    let running = f.running().await;
    f.store.soft_delete(Scope::Fleet, done).await.expect("delete");
    f.store.soft_delete(Scope::Fleet, running.job_id).await.expect("delete");
    assert!(f.store.purge_deleted(3_600.0, 10).await.expect("purge").is_empty());
    let purged = f.store.purge_deleted(0.0, 10).await.expect("purge");
    assert_eq!(purged.len(), 1);
    assert_eq!((purged[0].job_id, purged[0].objects.len()), (done, 2));
    assert_eq!(f.store.get(Scope::Fleet, done).await.expect("get"), None);
    assert!(f.event_kinds(done).await.is_empty());
    // The statistics still count it.
    assert_eq!(f.store.stats(Scope::Fleet).await.expect("stats").completed, 1);
}

#[tokio::test]
async fn finished_jobs_are_deleted_after_their_retention_and_then_purged() {
    let f = Fixture::new().await;
    let (old, young, waiting) = (f.completed().await, f.completed().await, f.queued().await.id);
    let running = f.running().await.job_id;
    let earlier = "UPDATE jobs SET finished_at = clock_timestamp() - interval '2 hours' WHERE id = $1";
    sqlx::query(earlier).bind(old.0).execute(&f.pool).await.expect("time passes");
    assert_eq!(f.store.delete_finished(3.0 * 3_600.0, 10).await.expect("sweep"), 0);
    assert_eq!(f.store.delete_finished(3_600.0, 10).await.expect("sweep"), 1);
    assert_eq!(f.store.delete_finished(3_600.0, 10).await.expect("sweep"), 0, "once");
    assert!(f.get(old).await.deleted_at.is_some());
    assert_eq!(f.event_kinds(old).await.last().map(String::as_str), Some("deleted"));
    // Its owner can restore it until the purge.
    assert!(f.store.purge_deleted(3_600.0, 10).await.expect("purge").is_empty());
    assert_eq!(f.store.purge_deleted(0.0, 10).await.expect("purge").len(), 1);
    for id in [young, waiting, running] {
        assert!(f.get(id).await.deleted_at.is_none());
    }
    // A batch is bounded and takes what finished first.
    assert_eq!(f.store.delete_finished(0.0, 1).await.expect("sweep"), 1);
}

#[tokio::test]
async fn only_objects_without_a_row_are_orphans() {
    let f = Fixture::new().await;
    let object = |job_id, token, name: &str| StoredObject { key: format!("{job_id}/{token}/{name}"), job_id, token };
    let running = f.running().await;
    let done = f.running().await;
    f.store.complete(done, &rendered(done), &crate::support::record()).await.expect("complete");
    let failed = f.running().await;
    let checkpoint = object(failed.job_id, failed.token, "checkpoint-4.safetensors");
    let pointer = CheckpointRef { key: checkpoint.key.clone(), step: 4, checksum: "c".into(), resumes: 0 };
    f.store.save_checkpoint(failed, &pointer).await.expect("save");
    f.store.hand_back(failed, 0.0).await.expect("hand back");
    let orphans = [
        object(failed.job_id, failed.token, "checkpoint-2.safetensors"),
        object(running.job_id, LeaseToken::fresh(), "video.mp4"),
        object(done.job_id, done.token, "checkpoint-8.safetensors"),
        object(domain::JobId::fresh(), LeaseToken::fresh(), "video.mp4"),
    ];
    let kept = [
        object(running.job_id, running.token, "video.mp4"),
        object(done.job_id, done.token, "video.mp4"),
        object(done.job_id, done.token, "poster.jpg"),
        checkpoint,
    ];
    let all: Vec<_> = orphans.iter().chain(&kept).cloned().collect();
    let mut found = f.store.orphans(&all).await.expect("orphans");
    let mut expected: Vec<_> = orphans.into_iter().map(|object| object.key).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn old_checkpoints_and_events_are_dropped() {
    let f = Fixture::new().await;
    let lease = f.running().await;
    let key = format!("{}/{}/checkpoint-4.safetensors", lease.job_id, lease.token);
    let pointer = CheckpointRef { key: key.clone(), step: 4, checksum: "c".into(), resumes: 0 };
    f.store.save_checkpoint(lease, &pointer).await.expect("save");
    f.store.cancel(Scope::Fleet, lease.job_id).await.expect("cancel");
    f.store.stopped(lease, 0.0).await.expect("stop");
    assert!(f.get(lease.job_id).await.checkpoint.is_some(), "a retry would resume from it");
    assert!(f.store.drop_stale_checkpoints(3_600.0, 10).await.expect("drop").is_empty());
    assert_eq!(f.store.drop_stale_checkpoints(0.0, 10).await.expect("drop"), [key]);
    assert!(f.get(lease.job_id).await.checkpoint.is_none());
    assert_eq!(f.store.purge_events(3_600.0, 100).await.expect("purge"), 0);
    assert_eq!(f.store.purge_events(0.0, 4).await.expect("purge"), 4);
    assert_eq!(f.event_kinds(lease.job_id).await.len(), 2);
}
