//! What owners do to their own queues, and what their keys may use: pause, resume, move, quotas.

use domain::{JobId, KeyId, TenantId};
use store::jobs::{MoveOutcome, MoveTo, Scope};
use store::keys::{NewKey, Role};
use store::quotas::Quota;

use crate::support::{Fixture, MODEL, new_job, plan, pool};

impl Fixture {
    async fn waiting(&self, tenant: TenantId, count: usize) -> Vec<JobId> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(self.insert(new_job(tenant, MODEL)).await.id);
        }
        self.plan_all(&ids, plan()).await;
        ids
    }

    async fn order(&self) -> Vec<JobId> {
        let released = self.store.release(&pool(), 100, self.epoch).await.expect("release");
        released.into_iter().map(|one| one.job_id).collect()
    }

    async fn moved(&self, job: JobId, to: MoveTo) -> MoveOutcome {
        self.store.move_queued(self.scope(), job, to).await.expect("move")
    }

    async fn key(&self, quota: Quota) -> KeyId {
        let id = KeyId::fresh();
        let key = NewKey {
            id,
            tenant_id: self.tenant,
            role: Role::User,
            label: String::new(),
            prefix: "k".into(),
            hash: id.0.as_bytes().to_vec(),
        };
        self.store.issue_key(&key).await.expect("issue");
        assert!(self.store.set_quota(id, quota).await.expect("set"));
        id
    }
}

#[tokio::test]
async fn a_paused_queue_releases_nothing_and_other_tenants_go_on() {
    let f = Fixture::new().await;
    let other = f.store.ensure_tenant("other").await.expect("tenant").id;
    let own = f.waiting(f.tenant, 2).await;
    let theirs = f.waiting(other, 2).await;
    let since = f.store.pause_queue(f.tenant, true).await.expect("pause").expect("paused");
    assert_eq!(f.store.pause_queue(f.tenant, true).await.expect("again"), Some(since));
    assert_eq!(f.store.queue_paused_at(f.tenant).await.expect("state"), Some(since));
    assert_eq!(f.order().await, theirs);
    assert_eq!(f.store.pause_queue(f.tenant, false).await.expect("resume"), None);
    assert_eq!(f.order().await, own);
}

#[tokio::test]
async fn moves_change_the_order_of_ones_own_jobs_only() {
    let f = Fixture::new().await;
    let other = f.store.ensure_tenant("other").await.expect("tenant").id;
    let [a, b, c, d] = f.waiting(f.tenant, 4).await[..] else { panic!("four jobs") };
    let theirs = f.waiting(other, 1).await[0];
    assert_eq!(f.moved(d, MoveTo::Front).await, MoveOutcome::Moved);
    assert_eq!(f.moved(a, MoveTo::Back).await, MoveOutcome::Moved);
    assert_eq!(f.moved(a, MoveTo::Before(b)).await, MoveOutcome::Moved);
    assert_eq!(f.moved(c, MoveTo::Before(b)).await, MoveOutcome::Moved);
    assert_eq!(f.moved(b, MoveTo::Before(b)).await, MoveOutcome::Moved, "it stays");
    assert_eq!(f.moved(a, MoveTo::Before(theirs)).await, MoveOutcome::NotInQueue);
    assert_eq!(f.moved(theirs, MoveTo::Front).await, MoveOutcome::NotFound);
    assert_eq!(f.moved(JobId::fresh(), MoveTo::Front).await, MoveOutcome::NotFound);
    let order: Vec<_> = f.order().await.into_iter().filter(|id| *id != theirs).collect();
    assert_eq!(order, [d, a, c, b]);
    assert!(matches!(f.moved(a, MoveTo::Front).await, MoveOutcome::NotWaiting(_)));
}

/// Jobs of one batch stand a microsecond apart, so there is no time between them.
#[tokio::test]
async fn a_job_finds_room_between_two_that_stand_next_to_each_other() {
    let f = Fixture::new().await;
    let ids = f.waiting(f.tenant, 6).await;
    let close = "UPDATE jobs SET order_at = timestamptz '2026-01-01' + ids.n * interval '1 microsecond'
        FROM UNNEST($1::uuid[]) WITH ORDINALITY AS ids (id, n) WHERE jobs.id = ids.id";
    let raw: Vec<_> = ids.iter().map(|id| id.0).collect();
    sqlx::query(close).bind(&raw).execute(&f.pool).await.expect("update");
    for from in [4, 5] {
        assert_eq!(f.moved(ids[from], MoveTo::Before(ids[2])).await, MoveOutcome::Moved);
    }
    assert_eq!(f.order().await, [ids[0], ids[1], ids[4], ids[5], ids[2], ids[3]]);
}

#[tokio::test]
async fn a_quota_counts_finished_runs_and_reserves_unfinished_jobs() {
    let f = Fixture::new().await;
    let key_id = f.key(Quota { gpu_s: Some(100.0), usd: None }).await;
    let mut job = new_job(f.tenant, MODEL);
    (job.key_id, job.quota_s) = (Some(key_id), Some(12.0));
    let job_id = f.insert(job).await.id;
    let state = async || f.store.quota_state(key_id).await.expect("state").expect("the key");
    let before = state().await;
    assert_eq!((before.used_s, before.reserved_s, before.quota.gpu_s), (0.0, 12.0, Some(100.0)));
    assert!((0.0..=86_400.0).contains(&before.renews_in_s), "{before:?}");
    f.plan_all(&[job_id], plan()).await;
    f.order().await;
    let lease = f.claim(job_id, 1, 3_600.0).await.lease;
    f.store.hand_back(lease, 4.0).await.expect("hand back");
    assert_eq!((state().await.used_s, state().await.reserved_s), (4.0, 12.0), "also a run without a video counts");
    f.store.cancel(Scope::Fleet, job_id).await.expect("cancel");
    assert_eq!((state().await.used_s, state().await.reserved_s), (4.0, 0.0));

    assert_eq!(f.store.list_keys(None).await.expect("keys")[0].quota.gpu_s, Some(100.0));
    assert!(!f.store.set_quota(KeyId::fresh(), Quota::default()).await.expect("set"), "an unknown key");
    assert_eq!(f.store.quota_state(KeyId::fresh()).await.expect("state"), None);
}
