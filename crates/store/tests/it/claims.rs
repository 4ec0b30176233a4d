//! Leases: one winner, lost responses, stale owners, cancel against completion, checkpoints, attempts.

use domain::{CheckpointRef, Failure, FailureAction, JobId, JobStatus, LeaseToken, Stage, WorkerId};
use futures::future::join_all;
use store::jobs::{CancelOutcome, DeleteOutcome, RetryOutcome, Scope};
use store::leases::{ClaimOutcome, ProgressMark, ResumeOutcome, SavedCheckpoint};
use store::{Lease, StoreError};

use crate::support::{Fixture, LIMITS, POLICY, pool, record, rendered};

fn is_lost<T>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::LeaseLost { .. }))
}

fn failure() -> Failure {
    Failure { code: "out_of_memory".into(), reason: "the device is full; ask for a smaller size".into() }
}

fn checkpoint(lease: Lease, step: u32) -> CheckpointRef {
    let key = format!("{}/{}/checkpoint-{step}.safetensors", lease.job_id, lease.token);
    CheckpointRef { key, step, checksum: "c".into(), resumes: 0 }
}

#[tokio::test]
async fn of_several_claims_one_succeeds() {
    let f = Fixture::new().await;
    for _ in 0..10 {
        let (job_id, dispatch_no) = f.scheduled().await;
        let claim = || f.store.claim(job_id, dispatch_no, LeaseToken::fresh(), WorkerId::fresh(), 60.0);
        let outcomes = join_all((0..12).map(|_| claim())).await;
        let winners = outcomes.iter().filter(|one| matches!(one, Ok(ClaimOutcome::Claimed(_)))).count();
        let stale = |one: &&Result<ClaimOutcome, _>| {
            matches!(one, Ok(ClaimOutcome::Stale { status: Some(JobStatus::Running) }))
        };
        assert_eq!((winners, outcomes.iter().filter(stale).count()), (1, 11));
        assert_eq!(f.get(job_id).await.attempts_total, 1);
    }
}

#[tokio::test]
async fn a_claim_whose_response_was_lost_is_found_by_its_token() {
    let f = Fixture::new().await;
    let (job_id, dispatch_no) = f.scheduled().await;
    let (token, worker) = (LeaseToken::fresh(), WorkerId::fresh());
    assert_eq!(f.store.find_by_lease(Lease { job_id, token }).await.expect("find"), None);
    f.store.claim(job_id, dispatch_no, token, worker, 60.0).await.expect("claim, response lost");
    let again = f.store.claim(job_id, dispatch_no, token, worker, 60.0).await.expect("claim");
    let ClaimOutcome::Claimed(claimed) = again else { panic!("{again:?}") };
    assert_eq!((claimed.attempts, claimed.job.attempts_total), (1, 1));
    assert!(claimed.lease_remaining_s > 0.0 && claimed.lease_remaining_s <= 60.0);
    assert_eq!(claimed.job.worker_id, Some(worker));
    assert!(f.store.find_by_lease(claimed.lease).await.expect("find").is_some());
    assert_eq!(f.event_kinds(job_id).await, ["queued", "planned", "scheduled", "running"]);
}

#[tokio::test]
async fn a_message_of_an_earlier_release_cannot_claim() {
    let f = Fixture::new().await;
    let (job_id, first) = f.scheduled().await;
    assert!(f.store.unrelease(job_id, first).await.expect("unrelease"));
    assert!(!f.store.unrelease(job_id, first).await.expect("unrelease"));
    let released = f.store.release(&pool(), 1, f.epoch).await.expect("release");
    assert_eq!(released[0].dispatch_no, first + 1);
    let stale = f.store.claim(job_id, first, LeaseToken::fresh(), WorkerId::fresh(), 60.0).await.expect("claim");
    assert_eq!(stale, ClaimOutcome::Stale { status: Some(JobStatus::Scheduled) });
    let unknown = f.store.claim(JobId::fresh(), 1, LeaseToken::fresh(), WorkerId::fresh(), 60.0).await.expect("claim");
    assert_eq!(unknown, ClaimOutcome::Stale { status: None });
}

/// A worker was paused past its lease, and the sweep gave its job to another worker.
#[tokio::test]
async fn a_stale_owner_is_refused_everywhere() {
    let f = Fixture::new().await;
    let (job_id, dispatch_no) = f.scheduled().await;
    let old = f.claim(job_id, dispatch_no, 0.0).await.lease;
    assert_eq!(f.store.expire_leases(0.0, POLICY, 10, f.epoch).await.expect("sweep").len(), 1);
    let again = f.store.release(&pool(), 1, f.epoch).await.expect("release");
    let new = f.claim(job_id, again[0].dispatch_no, 60.0).await.lease;
    let before = f.get(job_id).await;

    let mark = ProgressMark { stage: Stage::Denoise, step: 9, steps_skipped: 1 };
    assert!(is_lost(&f.store.renew(old, 60.0).await));
    assert!(is_lost(&f.store.progress(old, mark).await));
    assert!(is_lost(&f.store.save_checkpoint(old, &checkpoint(old, 9)).await));
    assert!(is_lost(&f.store.begin_resume(old, 2).await));
    assert!(is_lost(&f.store.drop_checkpoint(old).await));
    assert!(is_lost(&f.store.complete(old, &rendered(old), &record()).await));
    assert!(is_lost(&f.store.fail(old, &failure(), FailureAction::Fail, POLICY, 0.0).await));
    assert!(is_lost(&f.store.hand_back(old, 0.0).await));
    f.store.cancel(Scope::Fleet, job_id).await.expect("cancel");
    assert!(is_lost(&f.store.stopped(old, 0.0).await));
    assert!(f.store.find_by_lease(old).await.expect("find").is_none());

    let mut after = f.get(job_id).await;
    after.cancel_requested = false;
    assert_eq!(after, before);
    assert!(f.store.renew(new, 60.0).await.expect("the owner continues").cancel_requested);
}

#[tokio::test]
async fn a_renewal_works_after_the_expiry_if_nobody_took_the_job() {
    let f = Fixture::new().await;
    let (job_id, dispatch_no) = f.scheduled().await;
    let lease = f.claim(job_id, dispatch_no, -5.0).await.lease;
    assert!(f.store.renew(lease, 60.0).await.expect("renew").remaining_s > 0.0);
    assert!(f.store.expire_leases(0.0, POLICY, 10, f.epoch).await.expect("sweep").is_empty());
}

#[tokio::test]
async fn ending_calls_may_be_repeated_after_a_lost_response() {
    let f = Fixture::new().await;
    let lease = f.running().await;
    let first = f.store.complete(lease, &rendered(lease), &record()).await.expect("complete");
    let again = f.store.complete(lease, &rendered(lease), &record()).await.expect("complete");
    assert_eq!((first.status, again.status), (JobStatus::Completed, JobStatus::Completed));
    let lease = f.running().await;
    f.store.hand_back(lease, 1.0).await.expect("hand back");
    assert_eq!(f.store.hand_back(lease, 1.0).await.expect("hand back").status, JobStatus::Queued);
    let counted = f.store.stats(Scope::Fleet).await.expect("stats");
    assert_eq!((counted.completed, counted.handed_back), (1, 1));
}

/// Cancel and completion at the same moment, many times: exactly one terminal state, and both callers get the true result.
#[tokio::test]
async fn cancel_against_completion_has_one_ending() {
    let f = Fixture::new().await;
    let mut completed = 0;
    for _ in 0..60 {
        let lease = f.running().await;
        let (video, run) = (rendered(lease), record());
        let (cancel, complete) =
            tokio::join!(f.store.cancel(Scope::Fleet, lease.job_id), f.store.complete(lease, &video, &run));
        let (cancel, ended) = (cancel.expect("cancel"), complete.expect("complete").status);
        let job = f.get(lease.job_id).await;
        assert_eq!(job.status, ended);
        match ended {
            JobStatus::Completed => {
                completed += 1;
                assert_eq!(cancel, CancelOutcome::AlreadyEnded(JobStatus::Completed));
                assert!(job.rendered.is_some() && job.record.is_some());
            }
            JobStatus::Cancelled => {
                assert_eq!(cancel, CancelOutcome::Requested);
                assert!(job.rendered.is_none() && job.record.is_none());
            }
            other => panic!("ended {other}"),
        }
        let terminal = f.event_kinds(lease.job_id).await;
        let terminal = terminal.iter().filter(|kind| ["completed", "cancelled"].contains(&kind.as_str())).count();
        assert_eq!(terminal, 1);
    }
    let counted = f.store.stats(Scope::Fleet).await.expect("stats");
    assert_eq!((counted.completed, counted.cancelled), (completed, 60 - completed));
}

#[tokio::test]
async fn cancel_returns_what_it_did() {
    let f = Fixture::new().await;
    let waiting = f.planned().await;
    assert_eq!(f.store.cancel(f.scope(), waiting).await.expect("cancel"), CancelOutcome::Cancelled);
    let ended = CancelOutcome::AlreadyEnded(JobStatus::Cancelled);
    assert_eq!(f.store.cancel(f.scope(), waiting).await.expect("cancel"), ended);
    let lease = f.running().await;
    assert_eq!(f.store.cancel(f.scope(), lease.job_id).await.expect("cancel"), CancelOutcome::Requested);
    assert_eq!(f.store.cancel(f.scope(), lease.job_id).await.expect("cancel"), CancelOutcome::Requested);
    assert_eq!(f.store.stopped(lease, 2.0).await.expect("stop").status, JobStatus::Cancelled);
    assert_eq!(
        f.event_kinds(lease.job_id).await,
        ["queued", "planned", "scheduled", "running", "cancel_requested", "cancelled"]
    );
    assert_eq!(f.store.cancel(f.scope(), JobId::fresh()).await.expect("cancel"), CancelOutcome::NotFound);
    let stranger = Scope::Tenant(f.store.ensure_tenant("stranger").await.expect("tenant").id);
    let theirs = f.planned().await;
    assert_eq!(f.store.cancel(stranger, theirs).await.expect("cancel"), CancelOutcome::NotFound);
    assert_eq!(f.store.retry(stranger, waiting).await.expect("retry"), RetryOutcome::NotFound);
    assert_eq!(f.store.retry(f.scope(), theirs).await.expect("retry"), RetryOutcome::NotEnded(JobStatus::Queued));
    assert_eq!(f.store.retry(f.scope(), waiting).await.expect("retry"), RetryOutcome::Queued);
}

#[tokio::test]
async fn a_stop_without_a_cancel_request_is_refused() {
    let f = Fixture::new().await;
    let lease = f.running().await;
    assert!(is_lost(&f.store.stopped(lease, 0.0).await));
    assert_eq!(f.get(lease.job_id).await.status, JobStatus::Running);
}

#[tokio::test]
async fn a_delete_stops_and_hides_and_can_be_undone() {
    let f = Fixture::new().await;
    let waiting = f.planned().await;
    assert_eq!(f.store.soft_delete(f.scope(), waiting).await.expect("delete"), DeleteOutcome::Deleted);
    assert_eq!(f.store.soft_delete(f.scope(), waiting).await.expect("delete"), DeleteOutcome::NotFound);
    assert_eq!(f.get(waiting).await.status, JobStatus::Cancelled);
    let lease = f.running().await;
    let outcome = f.store.soft_delete(f.scope(), lease.job_id).await.expect("delete");
    assert_eq!(outcome, DeleteOutcome::DeletedWhileRunning);
    assert!(f.store.renew(lease, 60.0).await.expect("renew").cancel_requested);
    assert!(f.store.restore(f.scope(), waiting).await.expect("restore"));
    assert!(!f.store.restore(f.scope(), waiting).await.expect("restore"));
    assert_eq!(f.event_kinds(waiting).await, ["queued", "planned", "cancelled", "deleted", "restored"]);
}

#[tokio::test]
async fn attempts_are_bounded_and_the_reason_is_stored() {
    let f = Fixture::new().await;
    let (job_id, mut dispatch_no) = f.scheduled().await;
    for attempt in 1..=LIMITS.attempts_max {
        let claimed = f.claim(job_id, dispatch_no, 60.0).await;
        assert_eq!(claimed.attempts, attempt);
        assert!((claimed.gpu_seconds - 2.0 * f64::from(attempt - 1)).abs() < 1e-9);
        let ended = f.store.fail(claimed.lease, &failure(), FailureAction::Retry, POLICY, 2.0).await.expect("fail");
        if attempt == LIMITS.attempts_max {
            assert_eq!(ended.status, JobStatus::Failed);
        } else {
            assert_eq!(ended.status, JobStatus::Queued);
            dispatch_no = f.store.release(&pool(), 1, f.epoch).await.expect("release")[0].dispatch_no;
        }
    }
    let job = f.get(job_id).await;
    assert_eq!(job.failure, Some(failure()));
    assert!(f.store.release(&pool(), 1, f.epoch).await.expect("release").is_empty());
    assert_eq!(f.store.retry(f.scope(), job_id).await.expect("retry"), RetryOutcome::Queued);
    let job = f.get(job_id).await;
    assert_eq!((job.status, job.attempts_total, job.failure), (JobStatus::Queued, 0, None));
}

#[tokio::test]
async fn a_failed_job_waits_for_its_backoff() {
    let f = Fixture::new().await;
    let lease = f.running().await;
    let policy = store::leases::RetryPolicy { backoff_s: 3_600.0, backoff_max_s: 7_200.0, ..POLICY };
    f.store.fail(lease, &failure(), FailureAction::Retry, policy, 0.0).await.expect("fail");
    assert!(f.get(lease.job_id).await.not_before.is_some());
    assert!(f.store.release(&pool(), 1, f.epoch).await.expect("release").is_empty());
    sqlx::query("UPDATE jobs SET not_before = clock_timestamp()").execute(&f.pool).await.expect("time passes");
    assert_eq!(f.store.release(&pool(), 1, f.epoch).await.expect("release").len(), 1);
}

#[tokio::test]
async fn a_newer_checkpoint_replaces_the_older_and_earns_attempts() {
    let f = Fixture::new().await;
    let lease = f.running().await;
    let (first, second) = (checkpoint(lease, 4), checkpoint(lease, 8));
    let saved = f.store.save_checkpoint(lease, &first).await.expect("save");
    assert_eq!(saved, SavedCheckpoint::Stored { drop: None });
    let saved = f.store.save_checkpoint(lease, &second).await.expect("save");
    assert_eq!(saved, SavedCheckpoint::Stored { drop: Some(first.key.clone()) });
    // Again after a lost response; then a checkpoint that arrives too late.
    let saved = f.store.save_checkpoint(lease, &second).await.expect("save");
    assert_eq!(saved, SavedCheckpoint::Stored { drop: None });
    assert_eq!(f.store.save_checkpoint(lease, &first).await.expect("save"), SavedCheckpoint::NotNewer);
    assert_eq!(f.get(lease.job_id).await.checkpoint, Some(second.clone()));
    // A completed job no longer needs it.
    let ended = f.store.complete(lease, &rendered(lease), &record()).await.expect("complete");
    assert_eq!(ended.drop, Some(second.key));
    assert_eq!(f.get(lease.job_id).await.checkpoint, None);
}

#[tokio::test]
async fn a_checkpoint_is_resumed_twice_and_then_dropped() {
    let f = Fixture::new().await;
    let lease = f.running().await;
    assert_eq!(f.store.begin_resume(lease, 2).await.expect("resume"), ResumeOutcome::None);
    let stored = checkpoint(lease, 4);
    f.store.save_checkpoint(lease, &stored).await.expect("save");
    for resumes in 1..=2 {
        assert_eq!(f.store.begin_resume(lease, 2).await.expect("resume"), ResumeOutcome::Resume { resumes });
    }
    let outcome = f.store.begin_resume(lease, 2).await.expect("resume");
    assert_eq!(outcome, ResumeOutcome::Exhausted { drop: stored.key.clone() });
    assert_eq!(f.get(lease.job_id).await.checkpoint, None);
    // A run that starts from the beginning may store its own again, at an earlier step.
    f.store.save_checkpoint(lease, &checkpoint(lease, 2)).await.expect("save");
    assert_eq!(f.store.drop_checkpoint(lease).await.expect("drop"), Some(checkpoint(lease, 2).key));
    assert_eq!(f.store.drop_checkpoint(lease).await.expect("drop"), None);
}

/// Stopping workers are no fault of the checkpoint, however many of them hand the job back.
#[tokio::test]
async fn a_hand_back_uses_up_no_resumption() {
    let f = Fixture::new().await;
    let mut lease = f.running().await;
    f.store.save_checkpoint(lease, &checkpoint(lease, 4)).await.expect("save");
    for _ in 0..4 {
        assert_eq!(f.store.begin_resume(lease, 2).await.expect("resume"), ResumeOutcome::Resume { resumes: 1 });
        let mark = ProgressMark { stage: Stage::Decode, step: 4, steps_skipped: 0 };
        f.store.progress(lease, mark).await.expect("progress");
        f.store.hand_back(lease, 1.0).await.expect("hand back");
        let released = f.store.release(&pool(), 1, f.epoch).await.expect("release");
        lease = f.claim(lease.job_id, released[0].dispatch_no, 3_600.0).await.lease;
    }
}

#[tokio::test]
async fn progress_and_renewal_update_in_place() {
    let f = Fixture::new().await;
    let lease = f.running().await;
    let mark = ProgressMark { stage: Stage::Denoise, step: 7, steps_skipped: 2 };
    let renewal = f.store.progress(lease, mark).await.expect("progress");
    assert!(!renewal.cancel_requested && renewal.remaining_s > 0.0);
    let job = f.get(lease.job_id).await;
    assert_eq!((job.stage, job.step, job.steps_skipped), (Some(Stage::Denoise), 7, 2));
    // No event and no index entry: every indexed column is untouched, so Postgres may update the page in place.
    assert_eq!(f.event_kinds(lease.job_id).await.len(), 4);
    let changed = "lease_expires_at|stage|step|steps_skipped|progressed_at|checkpoint_step|checkpoint_resumes|attempts";
    let indexed: Vec<String> = sqlx::query_scalar("SELECT indexdef FROM pg_indexes WHERE tablename = 'jobs'")
        .fetch_all(&f.pool)
        .await
        .expect("indexes");
    for column in changed.split('|') {
        let named =
            indexed.iter().find(|def| def.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == column));
        assert_eq!(named, None, "{column} is indexed");
    }
}
