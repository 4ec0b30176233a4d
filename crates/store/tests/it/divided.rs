//! Releases to workers with one device and to workers with several: each kind gets at most its part, in the fair order.

use domain::{JobId, Plan, PoolId, TenantId, Tier};
use store::jobs::NewReplay;
use store::split::{Split, Waiting};

use crate::support::{Fixture, MODEL, new_job, plan, pool, worker_info};

impl Fixture {
    async fn of_tier(&self, tenant: TenantId, tier: Tier, count: usize) -> Vec<JobId> {
        let mut ids = Vec::new();
        for _ in 0..count {
            ids.push(self.insert(new_job(tenant, MODEL)).await.id);
        }
        self.plan_all(&ids, Plan { tier, ..plan() }).await;
        ids
    }

    async fn split(&self, pool: &PoolId, premium: u32, others: u32, limit: u32) -> Vec<JobId> {
        let most = Split { premium, others, limit };
        let released = self.store.release_split(pool, most, self.epoch).await.expect("release");
        assert!(released.iter().all(|one| one.pool == *pool));
        released.into_iter().map(|one| one.job_id).collect()
    }
}

#[tokio::test]
async fn each_class_is_released_up_to_its_part() {
    let f = Fixture::new().await;
    let several = PoolId::of_devices(MODEL, 1 << 30, 4);
    let standard = f.of_tier(f.tenant, Tier::Standard, 5).await;
    let premium = f.of_tier(f.tenant, Tier::Premium, 5).await;
    let preview = f.of_tier(f.tenant, Tier::Preview, 1).await;
    let waiting = f.store.waiting_by_tier(&pool(), 100).await.expect("count");
    assert_eq!(waiting, Waiting { premium: 5, others: 6 });
    assert_eq!(f.store.waiting_by_tier(&pool(), 2).await.expect("count"), Waiting { premium: 2, others: 2 });
    f.store.pause_queue(f.tenant, true).await.expect("pause");
    assert_eq!(f.store.waiting_by_tier(&pool(), 100).await.expect("count"), Waiting::default(), "of a paused tenant");
    f.store.pause_queue(f.tenant, false).await.expect("resume");
    // A long backlog of other tiers in front hides no premium job.
    assert_eq!(f.split(&several, 2, 0, 10).await, premium[..2]);
    assert_eq!(f.split(&pool(), 0, u32::MAX, 3).await, standard[..3]);
    assert_eq!(f.split(&pool(), 1, 2, 10).await, [standard[3], standard[4], premium[2]]);
    assert_eq!(f.split(&pool(), 0, 0, 10).await, []);
    assert_eq!(f.split(&pool(), u32::MAX, u32::MAX, 10).await, [premium[3], premium[4], preview[0]]);
    let old = store::Epoch(f.epoch.0 - 1);
    let most = Split { premium: 1, others: 1, limit: 1 };
    f.store.release_split(&several, most, old).await.expect_err("not the leader");
}

/// A tenant that floods the premium tier gets no more of the workers that both tiers use than its share.
#[tokio::test]
async fn tenants_share_what_both_tiers_use() {
    let f = Fixture::new().await;
    let (flood, plain) = (f.store.ensure_tenant("flood").await.expect("tenant").id, f.tenant);
    f.of_tier(flood, Tier::Premium, 40).await;
    let own = f.of_tier(plain, Tier::Standard, 40).await;
    let mut of_plain = 0;
    for _ in 0..10 {
        of_plain += f.split(&pool(), u32::MAX, u32::MAX, 2).await.iter().filter(|id| own.contains(id)).count();
    }
    assert!((9..=11).contains(&of_plain), "{of_plain} of 20");
    // What the flood has used elsewhere counts: the other tenant catches up.
    let several = PoolId::of_devices(MODEL, 1 << 30, 4);
    assert_eq!(f.split(&several, 8, 0, 8).await.len(), 8);
    let next = f.split(&pool(), u32::MAX, u32::MAX, 6).await;
    assert!(next.iter().all(|id| own.contains(id)), "{next:?}");
}

/// However few jobs a release asks for, and so however few tenants it reads: each class comes in the fair order.
#[tokio::test]
async fn small_releases_give_the_order_of_large_ones() {
    let order = |most: (u32, u32), limit: u32| async move {
        let f = Fixture::new().await;
        let mut numbers = Vec::new();
        for n in 0..6_usize {
            let tenant = f.store.ensure_tenant(&format!("tenant {n}")).await.expect("tenant").id;
            numbers.extend(f.of_tier(tenant, Tier::Standard, 2 + n % 3).await);
            // The tenants in front have none of this class.
            if n > 2 {
                numbers.extend(f.of_tier(tenant, Tier::Premium, 3).await);
            }
        }
        let number = |id: &JobId| numbers.iter().position(|one| one == id).expect("one of ours");
        let mut released = Vec::new();
        loop {
            let some = f.split(&pool(), most.0, most.1, limit).await;
            if some.is_empty() {
                return released;
            }
            released.extend(some.iter().map(number));
        }
    };
    for (most, count) in [((u32::MAX, 0), 9), ((0, u32::MAX), 18), ((u32::MAX, u32::MAX), 27)] {
        let large = order(most, 1_000).await;
        assert_eq!(large.len(), count);
        for limit in [1, 4] {
            assert_eq!(order(most, limit).await, large, "releases of {limit}, {most:?}");
        }
    }
}

/// Replays go where a worker like the first one is, whichever part the division gives to its pool.
#[tokio::test]
async fn replays_are_of_no_part() {
    let f = Fixture::new().await;
    f.model().await;
    let info = worker_info();
    f.store.register_worker(&info).await.expect("register");
    let original = f.completed().await;
    let (id, worker) = (JobId::fresh(), &info.identity());
    let new = NewReplay { id, of: original, worker, key_id: None, idempotency_key: None, traceparent: None };
    f.store.insert_replay(f.scope(), &new).await.expect("insert");

    assert_eq!(f.store.waiting_by_tier(&pool(), 100).await.expect("count"), Waiting::default());
    assert_eq!(f.split(&pool(), u32::MAX, u32::MAX, 10).await, []);
    let release = async |pool: PoolId, epoch: store::Epoch| f.store.release_replays(&pool, 10, epoch).await;
    let several = PoolId::of_devices(MODEL, 1 << 30, 4);
    assert!(release(several, f.epoch).await.expect("release").is_empty(), "no such worker is there");
    release(pool(), store::Epoch(f.epoch.0 - 1)).await.expect_err("not the leader");
    let released = release(pool(), f.epoch).await.expect("release");
    assert_eq!(released.iter().map(|one| one.job_id).collect::<Vec<_>>(), [id]);
    assert!(release(pool(), f.epoch).await.expect("release").is_empty(), "once");
}
