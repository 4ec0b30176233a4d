//! Jobs that are rendered together: who may accompany whom, what that costs a tenant, and that nothing waits for it.

use domain::worker::WorkerInfo;
use domain::{BatchKey, JobId, LeaseToken, Plan, TenantId};
use store::companions::Seats;
use store::dispatch::{PoolLoad, Released};
use store::jobs::Scope;
use store::leases::ClaimOutcome;
use store::planning::PlannedJob;
use store::workers::WorkerState;

use crate::support::{Fixture, MODEL, new_job, plan, pool, worker_info};

const ALIVE_S: f64 = 60.0;

fn key(text: &str) -> BatchKey {
    BatchKey::from_stored(text.to_owned())
}

impl Fixture {
    async fn named(&self, name: &str) -> TenantId {
        self.store.ensure_tenant(name).await.expect("tenant").id
    }

    /// Planned jobs of a tenant, all with this key.
    async fn keyed_jobs(&self, tenant: TenantId, count: usize, batch_key: Option<&str>, plan: &Plan) -> Vec<JobId> {
        let mut ids = Vec::new();
        let mut plans = Vec::new();
        for _ in 0..count {
            let job_id = self.insert(new_job(tenant, MODEL)).await.id;
            ids.push(job_id);
            plans.push(PlannedJob {
                job_id,
                plan: plan.clone(),
                order_delay_s: 0.0,
                deadline_lead_s: 0.0,
                share_s: plan.estimate_s,
                adapters: String::new(),
                batch_key: batch_key.map(key),
            });
        }
        assert_eq!(self.store.save_plans(&plans, self.epoch).await.expect("plan").len(), count);
        ids
    }

    /// A worker that renders up to four jobs together.
    async fn joint_worker(&self) -> WorkerInfo {
        self.model().await;
        let info = WorkerInfo { batch_max: 4, batch_tokens: 4_096, ..worker_info() };
        self.store.register_worker(&info).await.expect("register");
        info
    }

    async fn release_one(&self) -> Released {
        let released = self.store.release(&pool(), 1, self.epoch).await.expect("release");
        released.into_iter().next().expect("one waits")
    }

    /// Releases a job and up to `free` companions.
    async fn release_with(&self, free: u32) -> (Released, u64) {
        let lead = self.release_one().await;
        let leads = self.store.leads(std::slice::from_ref(&lead)).await.expect("leads");
        let seats: Vec<_> = leads.into_iter().map(|one| Seats { lead: one.job_id, key: one.key, free }).collect();
        let moved = self.store.release_companions(&pool(), &seats, self.epoch).await.expect("companions");
        (lead, moved)
    }

    async fn companions_of(&self, lead: JobId, batch_key: &str, info: &WorkerInfo) -> Vec<Released> {
        self.store.companions(&pool(), info.id, lead, &key(batch_key), 8).await.expect("companions")
    }

    async fn claim_by(&self, job: &Released, info: &WorkerInfo) -> LeaseToken {
        let token = LeaseToken::fresh();
        let claimed = self.store.claim(job.job_id, job.dispatch_no, token, info.id, 3_600.0).await.expect("claim");
        assert!(matches!(claimed, ClaimOutcome::Claimed(_)), "{claimed:?}");
        token
    }

    async fn load(&self) -> PoolLoad {
        let loads = self.store.pools(ALIVE_S).await.expect("pools");
        loads.into_iter().find(|load| load.pool == pool()).expect("the pool")
    }
}

#[tokio::test]
async fn companions_go_with_their_lead_and_share_its_slot() {
    let f = Fixture::new().await;
    let info = f.joint_worker().await;
    let jobs = f.keyed_jobs(f.tenant, 6, Some("a"), &plan()).await;
    f.keyed_jobs(f.tenant, 1, Some("b"), &plan()).await;
    f.keyed_jobs(f.tenant, 1, None, &plan()).await;
    let (lead, moved) = f.release_with(3).await;
    assert_eq!((lead.job_id, moved), (jobs[0], 3));
    // Companions take no room, so what the pool is given does not shrink.
    assert_eq!((f.load().await.scheduled, f.load().await.batch_max), (1, 4));
    let token = f.claim_by(&lead, &info).await;
    let claimed =
        f.store.find_by_lease(store::Lease { job_id: lead.job_id, token }).await.expect("read").expect("held");
    assert_eq!(claimed.batch_key, Some(key("a")));
    let found = f.companions_of(lead.job_id, "a", &info).await;
    assert_eq!(found.iter().map(|one| one.job_id).collect::<Vec<_>>(), jobs[1..4]);
    for one in &found {
        f.claim_by(one, &info).await;
    }
    let load = f.load().await;
    assert_eq!((load.running, load.scheduled, load.free()), (1, 0, 0), "four jobs in one slot");
    assert!(f.event_kinds(jobs[1]).await.contains(&"scheduled".to_owned()));
}

/// A tenant whose jobs are taken along pays for them: beside one whose jobs are rendered alone it gets half of the work, not four fifths.
#[tokio::test]
async fn a_tenant_with_many_equal_jobs_gets_its_share_and_no_more() {
    let f = Fixture::new().await;
    let (equal, single) = (f.named("equal").await, f.named("single").await);
    let first = f.keyed_jobs(equal, 60, Some("a"), &plan()).await;
    f.keyed_jobs(single, 40, None, &plan()).await;
    let (mut of_equal, mut of_single) = (0_i64, 0_i64);
    for round in 1..=25 {
        let (lead, moved) = f.release_with(3).await;
        let moved = i64::try_from(moved).expect("a few");
        if first.contains(&lead.job_id) {
            of_equal += 1 + moved;
        } else {
            of_single += 1 + moved;
        }
        assert!((of_equal - of_single).abs() <= 4, "after {round} releases: {of_equal} against {of_single}");
    }
    assert!(of_equal >= 18, "the gain is used: {of_equal}");
}

#[tokio::test]
async fn the_fairest_of_the_waiting_jobs_accompany() {
    let f = Fixture::new().await;
    let (heavy, light) = (f.named("heavy").await, f.named("light").await);
    let many = f.keyed_jobs(heavy, 8, Some("a"), &plan()).await;
    assert_eq!(f.release_one().await.job_id, many[0]);
    let few = f.keyed_jobs(light, 2, Some("a"), &plan()).await;
    // The newcomer's turn; its second job goes along, too, although six older ones of the other tenant wait.
    let (lead, moved) = f.release_with(2).await;
    assert_eq!((lead.job_id, moved), (few[0], 2));
    let info = f.joint_worker().await;
    let found = f.companions_of(lead.job_id, "a", &info).await;
    assert!(found.iter().any(|one| one.job_id == few[1]), "{found:?}");
}

#[tokio::test]
async fn only_jobs_that_could_start_now_and_share_accompany() {
    let f = Fixture::new().await;
    let (paused, own) = (f.named("paused").await, f.tenant);
    let lead = f.keyed_jobs(own, 1, Some("a"), &plan()).await[0];
    f.keyed_jobs(paused, 1, Some("a"), &plan()).await;
    sqlx::query("UPDATE tenants SET paused_at = now() WHERE id = $1")
        .bind(paused.0)
        .execute(&f.pool)
        .await
        .expect("pause");
    f.keyed_jobs(own, 1, Some("a"), &Plan { memory_bytes: 80 << 30, ..plan() }).await;
    let backed_off = f.keyed_jobs(own, 1, Some("a"), &plan()).await[0];
    let resumed = f.keyed_jobs(own, 1, Some("a"), &plan()).await[0];
    let of_worker = f.keyed_jobs(own, 1, Some("a"), &plan()).await[0];
    for (job_id, change) in [
        (backed_off, "not_before = now() + interval '1 hour'"),
        (resumed, "checkpoint_key = 'k', checkpoint_step = 3"),
        (of_worker, "requires = 'another worker'"),
    ] {
        let text = format!("UPDATE jobs SET {change} WHERE id = $1");
        sqlx::query(sqlx::AssertSqlSafe(text)).bind(job_id.0).execute(&f.pool).await.expect("change");
    }
    let (released, moved) = f.release_with(7).await;
    assert_eq!((released.job_id, moved), (lead, 0));
    assert!(f.store.release_companions(&pool(), &[], f.epoch).await.expect("none") == 0);
    let seats = [Seats { lead, key: key("a"), free: 1 }];
    f.store.release_companions(&pool(), &seats, store::Epoch(f.epoch.0 - 1)).await.expect_err("not the leader");
}

#[tokio::test]
async fn jobs_of_a_paused_tenant_hide_no_companions() {
    let f = Fixture::new().await;
    let paused = f.named("paused").await;
    f.keyed_jobs(paused, 5, Some("a"), &plan()).await;
    f.store.pause_queue(paused, true).await.expect("pause");
    let own = f.keyed_jobs(f.tenant, 2, Some("a"), &plan()).await;
    let (lead, moved) = f.release_with(1).await;
    assert_eq!((lead.job_id, moved), (own[0], 1));
}

/// Companions are announced by themselves as soon as their lead does not wait any more, whatever became of it.
#[tokio::test]
async fn a_lead_that_ends_frees_its_companions() {
    for is_claimed in [false, true] {
        let f = Fixture::new().await;
        let info = f.joint_worker().await;
        let jobs = f.keyed_jobs(f.tenant, 3, Some("a"), &plan()).await;
        let (lead, moved) = f.release_with(2).await;
        assert_eq!(moved, 2);
        let due = async || {
            let due = f.store.reannounce_due(0.0, 60.0, 100, f.epoch).await.expect("due");
            due.into_iter().map(|one| one.job.job_id).collect::<Vec<_>>()
        };
        assert_eq!(due().await, [jobs[0]], "they wait with it");
        if is_claimed {
            // Its worker dies before it has claimed them.
            f.claim_by(&lead, &info).await;
        } else {
            f.store.cancel(Scope::Tenant(f.tenant), jobs[0]).await.expect("cancel");
        }
        let mut freed = due().await;
        freed.sort();
        assert_eq!(freed, jobs[1..], "claimed: {is_claimed}");
        assert_eq!(f.load().await.scheduled, 2, "from now on they count");
        let other = f.joint_worker().await;
        let unclaimed = f.store.unclaimed(&pool(), other.id, 10).await.expect("unclaimed");
        assert_eq!(unclaimed.len(), 2);
    }
}

/// What is released while another worker is idle goes to that worker, also if it could join a run.
#[tokio::test]
async fn an_idle_worker_gets_work_before_a_busy_one_takes_company() {
    let f = Fixture::new().await;
    let (busy, idle) = (f.joint_worker().await, f.joint_worker().await);
    let jobs = f.keyed_jobs(f.tenant, 2, Some("a"), &plan()).await;
    let released = f.store.release(&pool(), 2, f.epoch).await.expect("release");
    assert_eq!(f.load().await.room(0), 0, "a job for each of the two");
    f.claim_by(&released[0], &busy).await;
    f.store.heartbeat(busy.id, WorkerState::Busy, Some(jobs[0])).await.expect("beat");
    assert_eq!(f.companions_of(jobs[0], "a", &busy).await, []);
    f.store.heartbeat(idle.id, WorkerState::Busy, None).await.expect("beat");
    let found = f.companions_of(jobs[0], "a", &busy).await;
    assert_eq!(found.iter().map(|one| one.job_id).collect::<Vec<_>>(), [jobs[1]]);
}
