//! Releases: order, fairness, fit, leadership, announcements.

use std::collections::HashMap;

use domain::worker::WorkerInfo;
use domain::{JobId, JobStatus, Plan, PoolId, Stage, TenantId};
use futures::future::join_all;
use store::jobs::Scope;
use store::leases::ProgressMark;
use store::planning::PlannedJob;
use store::workers::WorkerState;
use store::{Lease, StoreError};
use uuid::Uuid;

use crate::support::{Fixture, LEAD_S, MODEL, new_job, plan, pool, worker_info};

impl Fixture {
    async fn tenant(&self, name: &str, weight: f64) -> TenantId {
        let tenant = self.store.ensure_tenant(name).await.expect("tenant");
        assert!(self.store.set_tenant_weight(name, weight).await.expect("weight"));
        tenant.id
    }

    /// `count` planned jobs of one tenant, in order of submission.
    async fn backlog(&self, tenant: TenantId, count: usize, plan: &Plan) -> Vec<JobId> {
        let ids = self.unplanned_backlog(tenant, count).await;
        self.plan_all(&ids, plan.clone()).await;
        ids
    }

    async fn unplanned_backlog(&self, tenant: TenantId, count: usize) -> Vec<JobId> {
        let jobs: Vec<_> = (0..count).map(|_| new_job(tenant, MODEL)).collect();
        let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
        for outcome in self.store.insert_batch(&jobs).await.expect("insert") {
            outcome.expect("row");
        }
        ids
    }

    async fn release_ids(&self, limit: u32) -> Vec<JobId> {
        let released = self.store.release(&pool(), limit, self.epoch).await.expect("release");
        released.into_iter().map(|one| one.job_id).collect()
    }

    async fn worker(&self, memory_bytes: u64, slots: u32) -> WorkerInfo {
        let info = WorkerInfo { pool: PoolId::of_worker(MODEL, memory_bytes), memory_bytes, slots, ..worker_info() };
        self.model().await;
        self.store.register_worker(&info).await.expect("register");
        info
    }
}

#[tokio::test]
async fn a_tenant_with_a_long_backlog_does_not_hold_up_another() {
    let f = Fixture::new().await;
    let (busy, late) = (f.tenant("busy", 1.0).await, f.tenant("late", 1.0).await);
    let first = f.backlog(busy, 40, &plan()).await;
    assert_eq!(f.release_ids(10).await, first[..10]);
    let second = f.backlog(late, 10, &plan()).await;
    // From now on they take turns; the newcomer gets no credit for the time before.
    let released = f.release_ids(12).await;
    let of_late = released.iter().filter(|id| second.contains(id)).count();
    assert!((6..=7).contains(&of_late), "{of_late} of 12");
    let in_order: Vec<_> = released.iter().filter(|id| second.contains(id)).copied().collect();
    assert_eq!(in_order, second[..of_late], "a tenant's own jobs keep their order");
}

#[tokio::test]
async fn one_release_at_a_time_is_as_fair_as_many() {
    let f = Fixture::new().await;
    let (busy, late) = (f.tenant("busy", 1.0).await, f.tenant("late", 1.0).await);
    f.backlog(busy, 20, &plan()).await;
    let second = f.backlog(late, 20, &plan()).await;
    let mut of_late = 0;
    for _ in 0..10 {
        let released = f.release_ids(1).await;
        of_late += usize::from(second.contains(&released[0]));
    }
    assert_eq!(of_late, 5);
}

#[tokio::test]
async fn weight_and_cost_decide_the_share() {
    let f = Fixture::new().await;
    let (heavy, light, costly) =
        (f.tenant("heavy", 3.0).await, f.tenant("light", 1.0).await, f.tenant("costly", 1.0).await);
    let mut owner: HashMap<JobId, &str> = HashMap::new();
    owner.extend(f.backlog(heavy, 60, &plan()).await.into_iter().map(|id| (id, "heavy")));
    owner.extend(f.backlog(light, 60, &plan()).await.into_iter().map(|id| (id, "light")));
    let long = Plan { estimate_s: plan().estimate_s * 5.0, ..plan() };
    owner.extend(f.backlog(costly, 60, &long).await.into_iter().map(|id| (id, "costly")));
    let mut released: HashMap<&str, i32> = HashMap::new();
    for _ in 0..42 {
        *released.entry(owner[&f.release_ids(1).await[0]]).or_default() += 1;
    }
    // Shares of GPU seconds of 3 : 1 : 1 mean jobs of 15 : 5 : 1, which is 30 : 10 : 2 in 42 releases.
    for (name, expected) in [("heavy", 30), ("light", 10), ("costly", 2)] {
        assert!((released[name] - expected).abs() <= 1, "{name}: {released:?}");
    }
}

/// A tenant whose equal jobs were planned while the fleet was slow, hence with long estimates, does not get a smaller
/// share.
#[tokio::test]
async fn shares_depend_on_work_and_not_on_the_current_pace() {
    let f = Fixture::new().await;
    let (before, starved) = (f.tenant("before", 1.0).await, f.tenant("starved", 1.0).await);
    let mut owned = Vec::new();
    for (tenant, estimate_s) in [(before, 10.0), (starved, 50.0)] {
        owned = f.unplanned_backlog(tenant, 20).await;
        f.plan_sharing(&owned, Plan { estimate_s, ..plan() }, 10.0).await;
    }
    let mut of_starved = 0;
    for _ in 0..10 {
        of_starved += usize::from(owned.contains(&f.release_ids(1).await[0]));
    }
    assert_eq!(of_starved, 5);
    // A job of an earlier release has no share_s: it counts by its estimate.
    let forget = "UPDATE jobs SET share_s = NULL WHERE status = 'queued'";
    sqlx::query(forget).execute(&f.pool).await.expect("as it was");
    let mut of_starved = 0;
    for _ in 0..6 {
        of_starved += usize::from(owned.contains(&f.release_ids(1).await[0]));
    }
    assert_eq!(of_starved, 1);
}

#[tokio::test]
async fn cheap_tiers_overtake_by_their_delay_and_deadlines_pull_forward() {
    let f = Fixture::new().await;
    let slow = f.queued().await.id;
    let quick = f.queued().await.id;
    let mut urgent = new_job(f.tenant, MODEL);
    urgent.request.deadline_s = Some(60);
    let urgent = f.insert(urgent).await.id;
    let planned = |job_id, order_delay_s| PlannedJob {
        job_id,
        plan: plan(),
        order_delay_s,
        deadline_lead_s: LEAD_S,
        share_s: 10.0,
        adapters: String::new(),
        batch_key: None,
    };
    let plans = [planned(slow, 600.0), planned(quick, 0.0), planned(urgent, 600.0)];
    f.store.save_plans(&plans, f.epoch).await.expect("plan");
    assert_eq!(f.store.queue_position(f.scope(), slow, 100).await.expect("position"), Some(2));
    assert_eq!(f.store.queue_position(f.scope(), urgent, 100).await.expect("position"), Some(0));
    assert_eq!(f.release_ids(3).await, [urgent, quick, slow]);
}

#[tokio::test]
async fn a_job_goes_only_where_it_fits() {
    let f = Fixture::new().await;
    let big = f.queued().await.id;
    f.plan_all(&[big], Plan { memory_bytes: 40 << 30, ..plan() }).await;
    let small = f.planned().await;
    assert_eq!(f.release_ids(10).await, [small]);
    let roomy = PoolId::of_worker(MODEL, 80 << 30);
    let other = PoolId::of_worker("other", 80 << 30);
    assert!(f.store.release(&other, 10, f.epoch).await.expect("release").is_empty());
    assert_eq!(f.store.release(&roomy, 10, f.epoch).await.expect("release")[0].job_id, big);
}

/// Tenants that come at the same time begin at the same virtual time: where a sum of their costs is rounded up, nothing may stall.
#[tokio::test]
async fn tenants_that_begin_together_are_released_whatever_their_costs() {
    let f = Fixture::new().await;
    let before = f.tenant("before", 1.0).await;
    let jobs = f.unplanned_backlog(before, 2).await;
    f.plan_sharing(&jobs, plan(), 8.4).await;
    assert_eq!(f.release_ids(2).await, jobs);
    // The clock stands at 8.4 now, and 8.4 - 25.2 + 25.2 is more than that.
    for n in 0..3 {
        let tenant = f.tenant(&format!("late {n}"), 1.0).await;
        let job = f.unplanned_backlog(tenant, 1).await;
        f.plan_sharing(&job, plan(), 25.2).await;
    }
    assert_eq!(f.release_ids(2).await.len(), 2);
    assert_eq!(f.release_ids(2).await.len(), 1);
}

/// A release reads only as many tenants as it releases jobs, and those without a job that can start are none of them.
#[tokio::test]
async fn tenants_whose_jobs_cannot_start_hide_nobody() {
    let f = Fixture::new().await;
    let large = Plan { memory_bytes: pool().memory_bytes() + 1, ..plan() };
    for n in 0..4 {
        let tenant = f.tenant(&format!("large {n}"), 1.0).await;
        f.backlog(tenant, 2, &large).await;
    }
    let paused = f.tenant("paused", 1.0).await;
    f.backlog(paused, 2, &plan()).await;
    assert!(f.store.pause_queue(paused, true).await.is_ok());
    let last = f.tenant("last", 1.0).await;
    let fits = f.backlog(last, 3, &plan()).await;
    for id in fits {
        assert_eq!(f.release_ids(1).await, [id]);
    }
    assert!(f.release_ids(1).await.is_empty());
}

#[tokio::test]
async fn only_the_leader_dispatches() {
    let f = Fixture::new().await;
    let job_id = f.planned().await;
    let rival = Uuid::new_v4();
    assert_eq!(f.store.try_lead(rival, 60.0).await.expect("try"), None);
    f.store.resign(f.epoch).await.expect("resign");
    let next = f.store.try_lead(rival, 60.0).await.expect("try").expect("lead");
    assert_eq!(f.store.try_lead(rival, 60.0).await.expect("try"), Some(next), "a lost response costs nothing");
    assert!(next > f.epoch);
    assert!(!f.store.keep_leading(f.epoch, 60.0).await.expect("keep"));
    let not_leader = |outcome| matches!(outcome, Err(StoreError::NotLeader { .. }));
    assert!(not_leader(f.store.release(&pool(), 1, f.epoch).await.map(|_| ())));
    assert!(not_leader(f.store.reannounce_due(0.0, 0.0, 1, f.epoch).await.map(|_| ())));
    assert!(not_leader(f.store.forget_announcements(f.epoch).await.map(|_| ())));
    assert!(not_leader(f.store.unrelease_dead_pools(1.0, 1, f.epoch).await.map(|_| ())));
    assert!(not_leader(f.store.expire_leases(0.0, crate::support::POLICY, 1, f.epoch).await.map(|_| ())));
    let planned = PlannedJob {
        job_id: f.queued().await.id,
        plan: plan(),
        order_delay_s: 0.0,
        deadline_lead_s: 3_600.0,
        share_s: 10.0,
        adapters: String::new(),
        batch_key: None,
    };
    assert!(not_leader(f.store.save_plans(&[planned], f.epoch).await.map(|_| ())));
    assert_eq!(f.get(job_id).await.status, JobStatus::Queued);
    assert_eq!(f.store.release(&pool(), 1, next).await.expect("release").len(), 1);
}

#[tokio::test]
async fn of_several_candidates_one_leads() {
    let f = Fixture::new().await;
    f.store.resign(f.epoch).await.expect("resign");
    let tries = join_all((0..10).map(|_| f.store.try_lead(Uuid::new_v4(), 60.0))).await;
    assert_eq!(tries.into_iter().filter(|one| matches!(one, Ok(Some(_)))).count(), 1);
}

/// Releases and cancels at once: no job is returned twice under one number, and no cancelled job is released.
#[tokio::test]
async fn releases_and_cancels_at_once_agree() {
    let f = Fixture::new().await;
    let ids = f.backlog(f.tenant, 60, &plan()).await;
    let pool = pool();
    let releases = join_all((0..6).map(|_| f.store.release(&pool, 10, f.epoch)));
    let cancels = join_all(ids.iter().step_by(2).map(|id| f.store.cancel(Scope::Fleet, *id)));
    let (released, cancelled) = tokio::join!(releases, cancels);
    for outcome in cancelled {
        outcome.expect("cancel");
    }
    let mut seen = Vec::new();
    for one in released {
        match one {
            Ok(released) => seen.extend(released.into_iter().map(|one| (one.job_id, one.dispatch_no))),
            Err(error) => panic!("{error:?}"),
        }
    }
    let total = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), total, "released twice");
    for (at, id) in ids.iter().enumerate() {
        let status = f.get(*id).await.status;
        if at % 2 == 0 {
            assert_eq!(status, JobStatus::Cancelled);
        } else {
            assert_eq!(status == JobStatus::Scheduled, seen.iter().any(|(seen, _)| seen == id));
        }
    }
}

#[tokio::test]
async fn pools_count_slots_and_jobs_of_live_workers() {
    let f = Fixture::new().await;
    let one = f.worker(1 << 30, 1).await;
    let two = f.worker(1 << 30, 2).await;
    f.worker(80 << 30, 1).await;
    f.backlog(f.tenant, 5, &plan()).await;
    let released = f.store.release(&pool(), 3, f.epoch).await.expect("release");
    let token = domain::LeaseToken::fresh();
    f.store.claim(released[0].job_id, released[0].dispatch_no, token, two.id, 60.0).await.expect("claim");
    let loads = f.store.pools(60.0).await.expect("pools");
    let load = loads.iter().find(|load| load.pool == pool()).expect("the pool");
    assert_eq!((load.workers, load.slots, load.running, load.scheduled), (2, 3, 1, 2));
    assert_eq!((load.room(0), load.room(1)), (0, 1));
    assert_eq!(loads.len(), 2);
    // A job that is being delivered is still running, but its slot is free for another one.
    let lease = Lease { job_id: released[0].job_id, token };
    let mark = ProgressMark { stage: Stage::Deliver, step: 20, steps_skipped: 0 };
    f.store.progress(lease, mark).await.expect("progress");
    let loads = f.store.pools(60.0).await.expect("pools");
    let load = loads.iter().find(|load| load.pool == pool()).expect("the pool");
    assert_eq!((load.running, load.scheduled, load.room(0)), (0, 2, 1));
    // A draining worker offers no slots, and neither does one that is gone. Their jobs occupy no live slot.
    assert!(f.store.heartbeat(two.id, WorkerState::Draining, None).await.expect("beat"));
    f.store.worker_gone(one.id, None).await.expect("gone");
    assert!(!f.store.heartbeat(one.id, WorkerState::Ready, None).await.expect("beat"));
    let loads = f.store.pools(60.0).await.expect("pools");
    let load = loads.iter().find(|load| load.pool == pool()).expect("the pool");
    assert_eq!((load.workers, load.room(3)), (0, 0));
    // Jobs released to them go back to the queue and can be released to another pool.
    let back = f.store.unrelease_dead_pools(60.0, 10, f.epoch).await.expect("unrelease");
    assert_eq!(back.len(), 2);
    let roomy = PoolId::of_worker(MODEL, 80 << 30);
    assert_eq!(f.store.release(&roomy, 10, f.epoch).await.expect("release").len(), 4);
}

#[tokio::test]
async fn announcements_back_off_and_a_new_leader_repeats_them() {
    let f = Fixture::new().await;
    let (job_id, dispatch_no) = f.scheduled().await;
    assert!(f.store.reannounce_due(3_600.0, 7_200.0, 10, f.epoch).await.expect("due").is_empty());
    assert_eq!(f.store.forget_announcements(f.epoch).await.expect("forget"), 1);
    let due = f.store.reannounce_due(3_600.0, 7_200.0, 10, f.epoch).await.expect("due");
    assert_eq!((due[0].job.job_id, due[0].job.dispatch_no, due.len()), (job_id, dispatch_no, 1));
    assert_eq!(due[0].announcements, 1, "the new leader's first");
    assert!(f.store.reannounce_due(3_600.0, 7_200.0, 10, f.epoch).await.expect("due").is_empty());
    // Half an hour later is too early; two hours later is not, whatever the number of announcements.
    for (ago_s, announcements, count) in [(1_800, 1, 0), (3_601, 1, 1), (3_601, 2, 0), (7_201, 40, 1)] {
        let earlier =
            "UPDATE jobs SET announcements = $2, announced_at = clock_timestamp() - make_interval(secs => $1)";
        sqlx::query(earlier).bind(f64::from(ago_s)).bind(announcements).execute(&f.pool).await.expect("time passes");
        let due = f.store.reannounce_due(3_600.0, 7_200.0, 10, f.epoch).await.expect("due");
        assert_eq!(due.len(), count, "{ago_s} s after announcement {announcements}");
    }
}

#[tokio::test]
async fn a_plan_is_saved_once_and_not_on_a_cancelled_job() {
    let f = Fixture::new().await;
    let (one, two) = (f.queued().await.id, f.queued().await.id);
    let unplanned = async || f.store.unplanned(&[MODEL.to_owned()], None, 10).await.expect("unplanned").jobs;
    let waiting: Vec<JobId> = unplanned().await.iter().map(|job| job.id).collect();
    assert_eq!(waiting, [one, two]);
    f.store.cancel(Scope::Fleet, two).await.expect("cancel");
    let planned = |job_id| PlannedJob {
        job_id,
        plan: plan(),
        order_delay_s: 0.0,
        deadline_lead_s: 3_600.0,
        share_s: 10.0,
        adapters: String::new(),
        batch_key: None,
    };
    assert_eq!(f.store.save_plans(&[planned(one), planned(two)], f.epoch).await.expect("save"), [one]);
    assert!(f.store.save_plans(&[planned(one)], f.epoch).await.expect("save").is_empty());
    assert_eq!(f.get(one).await.plan, Some(plan()));
    assert!(unplanned().await.is_empty());
}

#[tokio::test]
async fn many_small_releases_give_the_same_order_as_one_job_at_a_time() {
    // Tenants of different weight and backlog, with more jobs than the candidates that are read of each.
    let by = |limit: u32| async move {
        let f = Fixture::new().await;
        let mut owner = HashMap::new();
        for n in 0..12_u32 {
            let tenant = f.tenant(&format!("tenant {n}"), f64::from(1 + n % 3)).await;
            for id in f.backlog(tenant, 3 + 5 * n as usize, &plan()).await {
                owner.insert(id, n);
            }
        }
        let mut order = Vec::new();
        loop {
            let released = f.release_ids(limit).await;
            if released.is_empty() {
                return order;
            }
            order.extend(released.iter().map(|id| owner[id]));
        }
    };
    let one_by_one = by(1).await;
    assert_eq!(one_by_one.len(), (0..12).map(|n| 3 + 5 * n).sum::<usize>());
    for limit in [7, 50, 1_000] {
        let released = by(limit).await;
        // Jobs that start at the same virtual time may swap, so the shares are compared at every tenth place.
        for at in (0..=one_by_one.len()).step_by(10) {
            for n in 0..12 {
                let count = |order: &[u32]| order[..at].iter().filter(|owner| **owner == n).count();
                let (a, b) = (count(&one_by_one), count(&released));
                assert!(a.abs_diff(b) <= 1, "tenant {n} has {b} of the first {at} with releases of {limit}, not {a}");
            }
        }
    }
}
