//! Replays: submitted once, claimed only by a worker like the first one, and ended when there is none.

use domain::worker::WorkerInfo;
use domain::{Job, JobId, JobStatus, LeaseToken, WorkerIdentity};
use store::jobs::{NewReplay, ReplayOutcome, Scope};
use store::leases::ClaimOutcome;

use crate::support::{Fixture, pool, record, rendered, worker_info};

fn replay<'a>(of: JobId, worker: &'a WorkerIdentity, key: Option<&'a str>) -> NewReplay<'a> {
    NewReplay { id: JobId::fresh(), of, worker, key_id: None, idempotency_key: key, traceparent: None }
}

impl Fixture {
    async fn replayed(&self, new: &NewReplay<'_>) -> Job {
        match self.store.insert_replay(self.scope(), new).await.expect("insert") {
            ReplayOutcome::Accepted(job) => *job,
            other => panic!("{other:?}"),
        }
    }

    async fn registered(&self, build: &str) -> WorkerInfo {
        self.model().await;
        let info = WorkerInfo { build: build.into(), ..worker_info() };
        self.store.register_worker(&info).await.expect("register");
        info
    }
}

#[tokio::test]
async fn a_replay_has_the_plan_and_request_of_the_original_and_is_submitted_once() {
    let f = Fixture::new().await;
    let original = f.completed().await;
    let identity = worker_info().identity();
    let new = replay(original, &identity, Some("once"));
    let job = f.replayed(&new).await;
    let first = f.get(original).await;
    assert_eq!((job.status, job.replays), (JobStatus::Queued, Some(original)));
    assert_eq!((&job.request, &job.plan, job.shape), (&first.request, &first.plan, first.shape));
    assert_eq!(f.replayed(&new).await.id, job.id, "the reply was lost");
    assert_eq!(f.replayed(&replay(original, &identity, Some("once"))).await.id, job.id, "the same key");
    assert_eq!(f.event_kinds(job.id).await, ["queued"]);
    let other = f.completed().await;
    let outcome = f.store.insert_replay(f.scope(), &replay(other, &identity, Some("once"))).await.expect("insert");
    assert_eq!(outcome, ReplayOutcome::KeyReused);

    let waiting = f.planned().await;
    let outcome = f.store.insert_replay(f.scope(), &replay(waiting, &identity, None)).await.expect("insert");
    assert_eq!(outcome, ReplayOutcome::NotCompleted);
    let stranger = f.store.ensure_tenant("stranger").await.expect("tenant").id;
    let outcome =
        f.store.insert_replay(Scope::Tenant(stranger), &replay(original, &identity, None)).await.expect("insert");
    assert_eq!(outcome, ReplayOutcome::NotCompleted);
}

#[tokio::test]
async fn only_a_worker_like_the_first_one_claims_a_replay() {
    let f = Fixture::new().await;
    let (like, unlike) = (f.registered("a").await, f.registered("b").await);
    let original = f.completed().await;
    let job = f.replayed(&replay(original, &like.identity(), None)).await;
    let released = f.store.release(&pool(), 10, f.epoch).await.expect("release");
    let no = released.iter().find(|released| released.job_id == job.id).expect("released").dispatch_no;
    assert!(f.store.unclaimed(&pool(), unlike.id, 10).await.expect("look").is_empty());
    let refused = f.store.claim(job.id, no, LeaseToken::fresh(), unlike.id, 60.0).await.expect("claim");
    assert_eq!(refused, ClaimOutcome::Stale { status: Some(JobStatus::Scheduled) });
    assert_eq!(f.store.unclaimed(&pool(), like.id, 10).await.expect("look").len(), 1);
    let ClaimOutcome::Claimed(claimed) =
        f.store.claim(job.id, no, LeaseToken::fresh(), like.id, 60.0).await.expect("claim")
    else {
        panic!("it was refused")
    };
    f.store.complete(claimed.lease, &rendered(claimed.lease), &record()).await.expect("complete");
    assert_eq!(f.get(job.id).await.status, JobStatus::Completed);
}

#[tokio::test]
async fn a_replay_ends_when_no_such_worker_is_left() {
    let f = Fixture::new().await;
    let like = f.registered("a").await;
    let original = f.completed().await;
    let queued = f.replayed(&replay(original, &like.identity(), None)).await;
    let released = f.replayed(&replay(original, &like.identity(), None)).await;
    f.store.release(&pool(), 1, f.epoch).await.expect("release");
    let cancelled = async || f.store.cancel_unmatched_replays(30.0, 10, f.epoch).await.expect("sweep");
    sqlx::query("UPDATE jobs SET created_at = created_at - interval '1 hour'").execute(&f.pool).await.expect("age");
    assert!(cancelled().await.is_empty(), "its worker lives");
    f.store.worker_gone(like.id, None).await.expect("gone");
    let mut found = cancelled().await;
    found.sort();
    let mut both = vec![queued.id, released.id];
    both.sort();
    assert_eq!(found, both);
    assert_eq!(f.get(queued.id).await.status, JobStatus::Cancelled);
}
