//! Goal: the order that the simulator of deadlines works with is the order that the fleet releases jobs in.
//! Method: random backlogs of tenants with different weights, in the simulator's queue and in Postgres; both release everything.

use domain::{JobId, Plan};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use store::planning::PlannedJob;

#[expect(dead_code, reason = "the simulator uses what this test does not")]
#[path = "../../../optimizer/examples/deadlines/order.rs"]
mod order;

use crate::support::{Fixture, MODEL, new_job, plan, pool};
use order::FairQueue;

/// Backlogs to compare.
const CASES: usize = 12;

/// Tenant, milliseconds of its place, and seconds of each job.
type Backlog = Vec<(usize, i64, u32)>;

fn any_backlog() -> impl Strategy<Value = (Vec<u32>, Backlog)> {
    let weights = proptest::collection::vec(1..4_u32, 1..6);
    let jobs = proptest::collection::vec((0..5_usize, 0..100_000_i64, 1..60_u32), 1..80);
    (weights, jobs)
}

/// The order of the simulator, as numbers of the jobs.
fn simulated(weights: &[u32], jobs: &Backlog) -> Vec<u64> {
    let mut queue = FairQueue::new(weights.iter().map(|weight| f64::from(*weight)));
    for (number, (tenant, order_ms, share_s)) in (0..).zip(jobs) {
        queue.push(tenant % weights.len(), (*order_ms, number), f64::from(*share_s));
    }
    std::iter::from_fn(|| queue.pop()).map(|(_, (_, number))| number).collect()
}

/// The order of the fleet.
async fn released(weights: &[u32], jobs: &Backlog) -> Vec<u64> {
    let f = Fixture::new().await;
    let mut tenants = Vec::new();
    for (number, weight) in weights.iter().enumerate() {
        let name = format!("tenant {number}");
        tenants.push(f.store.ensure_tenant(&name).await.expect("tenant").id);
        assert!(f.store.set_tenant_weight(&name, f64::from(*weight)).await.expect("weight"));
    }
    let mut ids: Vec<JobId> = Vec::new();
    for (tenant, order_ms, share_s) in jobs {
        let id = f.insert(new_job(tenants[tenant % tenants.len()], MODEL)).await.id;
        let share_s = f64::from(*share_s);
        let plan = Plan { estimate_s: share_s, ..plan() };
        let planned = PlannedJob {
            job_id: id,
            plan,
            order_delay_s: 0.0,
            deadline_lead_s: 0.0,
            share_s,
            adapters: String::new(),
            batch_key: None,
        };
        assert_eq!(f.store.save_plans(&[planned], f.epoch).await.expect("plan"), [id]);
        let place = "UPDATE jobs SET order_at = timestamptz '2026-01-01' + $2 * interval '1 millisecond' WHERE id = $1";
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        sqlx::query(place).bind(id.0).bind(*order_ms as f64).execute(&f.pool).await.expect("place");
        ids.push(id);
    }
    let mut order: Vec<u64> = Vec::new();
    loop {
        // Also fewer jobs than tenants, of which only the first are then read.
        let limit = 1 + u32::try_from(order.len() % 7).expect("small");
        let some = f.store.release(&pool(), limit, f.epoch).await.expect("release");
        if some.is_empty() {
            return order;
        }
        order.extend(some.iter().map(|one| ids.iter().position(|id| *id == one.job_id).expect("one of ours") as u64));
    }
}

#[tokio::test]
async fn the_simulator_releases_in_the_fleets_order() {
    let mut runner =
        TestRunner::new_with_rng(ProptestConfig::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[5; 32]));
    for _ in 0..CASES {
        let (weights, jobs) = any_backlog().new_tree(&mut runner).expect("a backlog").current();
        assert_eq!(simulated(&weights, &jobs), released(&weights, &jobs).await, "{weights:?} {jobs:?}");
    }
}
