//! Goal: jobs with the same adapters run together, so that workers rarely swap them, and nobody waits longer for that than stated.
//! Method: the statements of the scheduler and of the workers on Postgres, with simulated workers and simulated time. A swap takes
//! no time here, so what a job waits longer is due to the order alone.

use std::collections::{BTreeMap, HashMap};

use domain::worker::WorkerInfo;
use domain::{JobId, LeaseToken, Plan, TenantId, WorkerId};
use store::Lease;
use store::affinity::{Affinity, Merged, Seeker};
use store::leases::ClaimOutcome;
use store::planning::PlannedJob;

use crate::support::{Fixture, MODEL, new_job, plan, pool, record, rendered, worker_info};

/// The default of `scheduler.affinity_delay_max_s`.
const DELAY_MAX_S: f64 = 300.0;
/// Length of every job, seconds.
const RUN_S: f64 = 4.0;
const LOOKAHEAD: u32 = 1;
const ALIVE_S: f64 = 36_000.0;

/// A simulated worker.
struct Worker {
    id: WorkerId,
    adapters: String,
    /// The running job and the time at which it ends.
    running: Option<(Lease, f64)>,
}

/// A fleet with simulated time.
struct Fleet {
    f: Fixture,
    delay_max_s: f64,
    now_s: f64,
    workers: Vec<Worker>,
    swaps: u32,
    /// When each job started.
    started: HashMap<JobId, f64>,
}

impl Fleet {
    async fn new(workers: usize, delay_max_s: f64) -> Self {
        let f = Fixture::new().await;
        f.model().await;
        let mut fleet = Self { f, delay_max_s, now_s: 0.0, workers: Vec::new(), swaps: 0, started: HashMap::new() };
        for _ in 0..workers {
            let info = WorkerInfo { slots: 1, ..worker_info() };
            fleet.f.store.register_worker(&info).await.expect("register");
            fleet.workers.push(Worker { id: info.id, adapters: String::new(), running: None });
        }
        fleet
    }

    async fn tenant(&self, name: &str) -> TenantId {
        self.f.store.ensure_tenant(name).await.expect("tenant").id
    }

    /// Submits a job for each tenant and set of adapters, in this order.
    async fn submit(&self, wanted: &[(TenantId, String)]) -> Vec<JobId> {
        let mut ids = Vec::new();
        let mut plans = Vec::new();
        for (tenant, adapters) in wanted {
            let job_id = self.f.insert(new_job(*tenant, MODEL)).await.id;
            let plan = Plan { estimate_s: RUN_S, ..plan() };
            let adapters = adapters.clone();
            plans.push(PlannedJob {
                job_id,
                plan,
                order_delay_s: 0.0,
                deadline_lead_s: 0.0,
                share_s: RUN_S,
                adapters,
                batch_key: None,
            });
            ids.push(job_id);
        }
        let saved = self.f.store.save_plans(&plans, self.f.epoch).await.expect("plan");
        assert_eq!(saved.len(), ids.len());
        ids
    }

    /// As the scheduler does it.
    async fn release(&self) {
        let store = &self.f.store;
        let load = store.pools(ALIVE_S).await.expect("pools").into_iter().find(|load| load.pool == pool());
        let load = load.expect("the pool has workers");
        let matching = self.delay_max_s > 0.0 && load.adapter_sets > 0;
        let more = if matching { load.adapter_sets - 1 } else { 0 };
        let mut room = load.room(LOOKAHEAD + more);
        while room > 0 {
            let released = if matching {
                let merged = store.merged(&load.pool, ALIVE_S).await.expect("merged");
                let affinity = Affinity { merged, round_s: self.delay_max_s / 2.0 * f64::from(load.slots) };
                store.release_matching(&load.pool, room, &affinity, self.f.epoch).await.expect("release")
            } else {
                store.release(&load.pool, room, self.f.epoch).await.expect("release")
            };
            if released.is_empty() {
                return;
            }
            room -= u32::try_from(released.len()).expect("few");
        }
    }

    /// As a worker does it: it takes a job when it has none.
    async fn take(&mut self, at: usize) -> Option<JobId> {
        let store = &self.f.store;
        let worker = &mut self.workers[at];
        // The message that the worker received: of the job that was released first.
        let named = store.unclaimed(&pool(), worker.id, 1).await.expect("look").into_iter().next()?;
        let found = if self.delay_max_s > 0.0 {
            let (pool, adapters, hint) = (&pool(), worker.adapters.as_str(), Some(named.job_id));
            let patience_s = self.delay_max_s / 2.0;
            store.preferred(Seeker { worker_id: worker.id, pool, adapters, hint, patience_s }).await.expect("look")
        } else {
            Some(named)
        }?;
        let token = LeaseToken::fresh();
        let claimed = store.claim(found.job_id, found.dispatch_no, token, worker.id, 3_600.0).await.expect("claim");
        assert!(matches!(claimed, ClaimOutcome::Claimed(_)), "nobody else claims here");
        let adapters: String = sqlx::query_scalar("SELECT adapters FROM jobs WHERE id = $1")
            .bind(found.job_id.0)
            .fetch_one(&self.f.pool)
            .await
            .expect("the job");
        if adapters != worker.adapters {
            self.swaps += 1;
            store.report_adapters(worker.id, &adapters, &[]).await.expect("report");
            worker.adapters = adapters;
        }
        worker.running = Some((Lease { job_id: found.job_id, token }, self.now_s + RUN_S));
        self.started.insert(found.job_id, self.now_s);
        Some(found.job_id)
    }

    /// Starts whatever can start now, then lets time pass until a job ends. `false` when nothing runs.
    async fn step(&mut self) -> bool {
        self.release().await;
        for at in 0..self.workers.len() {
            if self.workers[at].running.is_none() && self.take(at).await.is_some() {
                self.release().await;
            }
        }
        let ends = self.workers.iter().filter_map(|worker| Some(worker.running.as_ref()?.1));
        let Some(next) = ends.min_by(f64::total_cmp) else { return false };
        sqlx::query(
            "UPDATE jobs SET scheduled_at = scheduled_at - make_interval(secs => $1) WHERE status = 'scheduled'",
        )
        .bind(next - self.now_s)
        .execute(&self.f.pool)
        .await
        .expect("time passes");
        self.now_s = next;
        for worker in &mut self.workers {
            if let Some((lease, ends)) = worker.running
                && ends <= next
            {
                self.f.store.complete(lease, &rendered(lease), &record()).await.expect("complete");
                worker.running = None;
            }
        }
        true
    }
}

/// Numbers without a pattern, the same in every run.
fn mixed(count: usize, kinds: u64) -> Vec<u64> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % kinds
    };
    (0..count).map(|_| next()).collect()
}

/// Swaps, and for each job its tenant and when it started.
async fn run_mixed_queue(delay_max_s: f64) -> (u32, Vec<(usize, f64)>) {
    let mut fleet = Fleet::new(2, delay_max_s).await;
    let mut tenants = Vec::new();
    for n in 0..5 {
        tenants.push(fleet.tenant(&format!("tenant {n}")).await);
    }
    let adapters = mixed(200, 8);
    let wanted: Vec<(TenantId, String)> =
        adapters.iter().enumerate().map(|(at, n)| (tenants[at % 5], format!("{n:064x}@1"))).collect();
    let ids = fleet.submit(&wanted).await;
    while fleet.step().await {}
    let started = ids.iter().enumerate().map(|(at, id)| (at % 5, fleet.started[id])).collect();
    (fleet.swaps, started)
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the measurement that docs/models.md states")]
async fn a_mixed_queue_needs_a_fifth_of_the_swaps_and_nobody_waits_longer_than_stated() {
    let (fair_swaps, fair) = run_mixed_queue(0.0).await;
    let (swaps, started) = run_mixed_queue(DELAY_MAX_S).await;
    let mut longest: BTreeMap<usize, f64> = BTreeMap::new();
    for ((tenant, at), (_, fair_at)) in started.iter().zip(&fair) {
        let delay = longest.entry(*tenant).or_default();
        *delay = delay.max(at - fair_at);
    }
    println!(
        "swaps: {swaps} of 200 jobs, {fair_swaps} in the fair order; longest delay of a tenant's job: {longest:?} s"
    );
    assert!(fair_swaps > 150, "{fair_swaps}: the queue is not mixed");
    assert!(swaps * 5 <= fair_swaps, "{swaps} swaps, {fair_swaps} in the fair order");
    assert!(longest.values().all(|delay| *delay <= DELAY_MAX_S), "{longest:?}");
    // No worker was idle for the sake of affinity.
    let end = |of: &[(usize, f64)]| of.iter().map(|(_, at)| *at).fold(0.0, f64::max);
    assert!((end(&started) - end(&fair)).abs() <= RUN_S, "{} and {}", end(&started), end(&fair));
}

/// A worker always has another job for what it has merged, from the same and from another tenant.
#[tokio::test]
#[expect(clippy::print_stdout, reason = "how far from the bound it is")]
async fn an_endless_stream_of_matching_jobs_starves_nobody() {
    let mut fleet = Fleet::new(1, DELAY_MAX_S).await;
    let (busy, other) = (fleet.tenant("busy").await, fleet.tenant("other").await);
    let matching = |tenant, count| vec![(tenant, "a@1".to_owned()); count];
    fleet.submit(&matching(busy, 20)).await;
    fleet.step().await;
    let mut lone = fleet.submit(&[(busy, "b@1".to_owned())]).await;
    lone.extend(fleet.submit(&[(other, "c@1".to_owned())]).await);
    let from_s = fleet.now_s;
    while !lone.iter().all(|id| fleet.started.contains_key(id)) {
        fleet.submit(&matching(busy, 1)).await;
        fleet.submit(&matching(other, 1)).await;
        assert!(fleet.step().await, "there is always work");
        assert!(fleet.now_s < 10.0 * DELAY_MAX_S, "starved: {:?}", fleet.started.len());
    }
    // In the fair order the one of the idle tenant is among the next two, the other one behind 20 jobs that take turns with it.
    let waited = |id| fleet.started[id] - from_s;
    println!("waited: {} s behind 20 jobs, {} s as a newcomer", waited(&lone[0]), waited(&lone[1]));
    assert!(waited(&lone[0]) <= 40.0 * RUN_S + DELAY_MAX_S, "{}", waited(&lone[0]));
    // Behind the running job, the other lone one, and the run that ends after the delay does.
    assert!(waited(&lone[1]) <= 3.0 * RUN_S + DELAY_MAX_S, "{}", waited(&lone[1]));
}

#[tokio::test]
async fn jobs_that_all_match_keep_the_fair_order() {
    let order = async |matching: bool| {
        let mut fleet = Fleet::new(1, if matching { DELAY_MAX_S } else { 0.0 }).await;
        let (one, two) = (fleet.tenant("one").await, fleet.tenant("two").await);
        fleet.f.store.set_tenant_weight("two", 3.0).await.expect("weight");
        let wanted: Vec<_> = (0..16).map(|n| (if n % 2 == 0 { one } else { two }, "a@1".to_owned())).collect();
        let ids = fleet.submit(&wanted).await;
        while fleet.step().await {}
        ids.iter().map(|id| fleet.started[id]).collect::<Vec<f64>>()
    };
    assert_eq!(order(true).await, order(false).await);
}

#[tokio::test]
async fn a_worker_takes_what_it_has_merged_then_what_no_other_has_then_what_the_message_named() {
    let fleet = Fleet::new(2, DELAY_MAX_S).await;
    let ids = fleet.submit(&["a@1", "b@1", "c@1", "c@1"].map(|set| (fleet.f.tenant, set.to_owned()))).await;
    let store = &fleet.f.store;
    assert_eq!(store.release(&pool(), 4, fleet.f.epoch).await.expect("release").len(), 4);
    let [one, two] = [&fleet.workers[0], &fleet.workers[1]];
    store.report_adapters(two.id, "b@1", &["b".to_owned()]).await.expect("report");
    let prefers = async |adapters: &str, hint: usize, patience_s: f64| {
        let hint = Some(ids[hint]);
        let seeker = Seeker { worker_id: one.id, pool: &pool(), adapters, hint, patience_s };
        store.preferred(seeker).await.expect("look").expect("jobs wait").job_id
    };
    assert_eq!(prefers("a@1", 1, 60.0).await, ids[0], "it is merged");
    assert_eq!(prefers("c@1", 3, 60.0).await, ids[3], "of two that match, the one of the message");
    assert_ne!(prefers("d@1", 1, 60.0).await, ids[1], "another worker has b");
    assert_eq!(prefers("d@1", 3, 60.0).await, ids[3]);
    let earlier = "UPDATE jobs SET scheduled_at = scheduled_at - interval '1 minute' WHERE id = $1";
    sqlx::query(earlier).bind(ids[1].0).execute(&fleet.f.pool).await.expect("time passes");
    assert_eq!(prefers("a@1", 0, 30.0).await, ids[1], "it has waited long enough");
    // What is not waiting is nobody's choice.
    fleet.f.store.cancel(fleet.f.scope(), ids[1]).await.expect("cancel");
    assert_eq!(prefers("a@1", 1, 30.0).await, ids[0]);

    let shown = store.workers(None, 10).await.expect("workers");
    let two = shown.iter().find(|worker| worker.info.id == two.id).expect("online");
    assert_eq!((two.adapters.as_str(), two.adapters_cached.as_slice()), ("b@1", ["b".to_owned()].as_slice()));
    let mut merged = store.merged(&pool(), ALIVE_S).await.expect("merged");
    merged.sort_by(|left, right| left.adapters.cmp(&right.adapters));
    let merged: Vec<(&str, i32, bool)> =
        merged.iter().map(|Merged { adapters, wanted, held }| (adapters.as_str(), *wanted, *held)).collect();
    assert_eq!(merged, [("", 1, true), ("a@1", -1, false), ("b@1", 1, true), ("c@1", -2, false)]);
}

/// Leadership and memory guard this release as they guard the plain one.
#[tokio::test]
async fn only_the_leader_releases_and_only_what_fits() {
    let fleet = Fleet::new(1, DELAY_MAX_S).await;
    let big = fleet.submit(&[(fleet.f.tenant, "a@1".to_owned())]).await[0];
    sqlx::query("UPDATE jobs SET memory_bytes = 40::bigint << 30 WHERE id = $1")
        .bind(big.0)
        .execute(&fleet.f.pool)
        .await
        .expect("grow");
    let small = fleet.submit(&[(fleet.f.tenant, "b@1".to_owned())]).await[0];
    let merged = vec![Merged { adapters: "a@1".to_owned(), wanted: 1, held: true }];
    let affinity = Affinity { merged, round_s: 100.0 };
    let store = &fleet.f.store;
    let released = store.release_matching(&pool(), 5, &affinity, fleet.f.epoch).await.expect("release");
    assert_eq!(released.iter().map(|one| one.job_id).collect::<Vec<_>>(), [small]);
    store.resign(fleet.f.epoch).await.expect("resign");
    let refused = store.release_matching(&pool(), 5, &affinity, fleet.f.epoch).await;
    assert!(matches!(refused, Err(store::StoreError::NotLeader { .. })), "{refused:?}");
}
