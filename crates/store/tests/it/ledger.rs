//! The cost ledger: every run once, under every ending and under repeated calls; sums, savings, budgets and time online.

use domain::{
    Budget, BudgetPeriod, BudgetUnit, Failure, FailureAction, JobId, KeyId, RunRecord, Savings, TenantId, WorkerId,
};
use store::Lease;
use store::jobs::{NewJob, Scope};
use store::ledger::{GroupBy, NewBudget, UsageFilter, UsageRow, WorkerUsage};
use store::workers::WorkerState;

use crate::support::{Fixture, POLICY, new_job, pool, record, rendered, worker_info};

/// 3.6 dollars an hour, as [`worker_info`] has it: a thousand seconds cost a dollar.
const USD_PER_S: f64 = 0.001;

impl Fixture {
    async fn paid_worker(&self) -> WorkerId {
        self.model().await;
        let info = worker_info();
        self.store.register_worker(&info).await.expect("register");
        info.id
    }

    /// Releases the job and has the worker claim it.
    async fn claimed_by(&self, job_id: JobId, worker: WorkerId) -> Lease {
        let released = self.store.release(&pool(), 100, self.epoch).await.expect("release");
        let this = released.iter().find(|released| released.job_id == job_id).expect("released");
        let token = domain::LeaseToken::fresh();
        self.store.claim(job_id, this.dispatch_no, token, worker, 3_600.0).await.expect("claim");
        Lease { job_id, token }
    }

    async fn usage(&self, scope: Scope, by: GroupBy) -> Vec<UsageRow> {
        let (now, _) = self.store.server_times().await.expect("times");
        // Also if midnight passes during the test.
        let (from, to) = (now.date_naive() - chrono::Days::new(1), now.date_naive() + chrono::Days::new(1));
        self.store.usage(UsageFilter { scope, from, to, limit: 100 }, by).await.expect("usage")
    }

    async fn worker_usage(&self, by_worker: bool) -> Vec<WorkerUsage> {
        self.worker_usage_by(GroupBy::default(), by_worker).await
    }

    async fn worker_usage_by(&self, by: GroupBy, by_worker: bool) -> Vec<WorkerUsage> {
        let (now, _) = self.store.server_times().await.expect("times");
        let (from, to) = (now.date_naive() - chrono::Days::new(400), now.date_naive() + chrono::Days::new(1));
        let filter = UsageFilter { scope: Scope::Fleet, from, to, limit: 100 };
        self.store.worker_usage(filter, by, by_worker).await.expect("usage")
    }

    async fn budget_events(&self) -> Vec<String> {
        let kinds = sqlx::query_scalar("SELECT kind FROM job_events WHERE kind LIKE 'budget%' ORDER BY seq");
        kinds.fetch_all(&self.pool).await.expect("events")
    }
}

fn failure() -> Failure {
    Failure { code: "test".into(), reason: "the test made it fail".into() }
}

fn run(gpu_seconds: f64) -> RunRecord {
    let savings = Savings { steps_s: 3.0, step_cache_s: 2.0, embeddings_s: -1.0 };
    RunRecord { gpu_seconds, cost_usd: gpu_seconds * USD_PER_S, savings, ..record() }
}

fn assert_close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
}

/// One job through a lost worker, a failure, a hand-back and its completion: 1.5, 2, 4 and 8 GPU seconds.
async fn trouble(f: &Fixture, worker: WorkerId) -> JobId {
    let job_id = f.planned().await;
    let lease = f.claimed_by(job_id, worker).await;
    let at_step = "UPDATE jobs SET lease_expires_at = clock_timestamp() - interval '1 s', step = 7,
        claimed_at = clock_timestamp() - interval '10 s', progressed_at = clock_timestamp() - interval '8.5 s' WHERE id = $1";
    sqlx::query(at_step).bind(lease.job_id.0).execute(&f.pool).await.expect("age");
    assert_eq!(f.store.expire_leases(0.0, POLICY, 10, f.epoch).await.expect("sweep").len(), 1);
    let lease = f.claimed_by(job_id, worker).await;
    f.store.fail(lease, &failure(), FailureAction::Retry, POLICY, 2.0).await.expect("fail");
    let lease = f.claimed_by(job_id, worker).await;
    f.store.hand_back(lease, 4.0).await.expect("hand back");
    let lease = f.claimed_by(job_id, worker).await;
    let before = f.get(job_id).await.gpu_seconds;
    let done = run(before + 8.0);
    // The reply was lost, so the worker calls again.
    for _ in 0..3 {
        f.store.complete(lease, &rendered(lease), &done).await.expect("complete");
    }
    job_id
}

/// A worker that rendered several jobs together and was lost has worked for one slot's time, not for that of each job.
#[tokio::test]
async fn jobs_of_a_lost_batch_share_its_time() {
    let f = Fixture::new().await;
    let worker = f.paid_worker().await;
    let mut jobs = Vec::new();
    for _ in 0..4 {
        let job_id = f.planned().await;
        f.claimed_by(job_id, worker).await;
        jobs.push(job_id);
    }
    let long_ago = "UPDATE jobs SET stage = 'denoise', lease_expires_at = clock_timestamp() - interval '1 s',
        claimed_at = clock_timestamp() - interval '100 s', progressed_at = clock_timestamp() - interval '20 s' WHERE status = 'running'";
    sqlx::query(long_ago).execute(&f.pool).await.expect("age");
    assert_eq!(f.store.expire_leases(0.0, POLICY, 10, f.epoch).await.expect("sweep").len(), 4);
    for job_id in jobs {
        let gpu_seconds = f.get(job_id).await.gpu_seconds;
        assert!((gpu_seconds - 20.0).abs() < 0.1, "{gpu_seconds}");
    }
}

#[tokio::test]
async fn every_run_is_listed_once_and_repeated_work_is_marked() {
    let f = Fixture::new().await;
    let worker = f.paid_worker().await;
    let job_id = trouble(&f, worker).await;
    let runs = f.store.job_runs(f.scope(), job_id).await.expect("runs");
    let seen: Vec<_> = runs.iter().map(|run| (run.outcome.as_str(), run.lost, run.repeated, run.lost_steps)).collect();
    assert_eq!(
        seen,
        [
            ("retrying", true, false, 7),
            ("retrying", false, true, 0),
            ("handed_back", false, true, 0),
            ("completed", false, true, 0),
        ]
    );
    for (run, expected) in runs.iter().zip([1.5, 2.0, 4.0, 8.0]) {
        assert!((run.gpu_seconds - expected).abs() < 0.05, "{run:?}");
        assert_close(run.cost_usd, run.gpu_seconds * USD_PER_S);
    }
    let total = runs.iter().map(|run| run.gpu_seconds).sum();
    assert_close(f.get(job_id).await.gpu_seconds, total);
    let stranger = f.store.ensure_tenant("stranger").await.expect("tenant").id;
    assert!(f.store.job_runs(Scope::Tenant(stranger), job_id).await.expect("runs").is_empty());

    let usage = &f.usage(f.scope(), GroupBy::default()).await[0];
    assert_eq!((usage.runs, usage.videos, usage.repeated_runs, usage.lost_steps), (4, 1, 3, 7));
    assert_close(usage.gpu_seconds, total);
    assert_close(usage.cost_usd, total * USD_PER_S);
    assert_close(usage.repeated_gpu_seconds, total - runs[0].gpu_seconds);
    let saved = usage.saved;
    assert_eq!((saved.steps_s, saved.step_cache_s, saved.embeddings_s, saved.drafts_s), (3.0, 2.0, -1.0, 0.0));
    assert_close(saved.steps_usd, 3.0 * USD_PER_S);
}

/// The sums equal a recount from the runs, and the runs equal what the jobs and their events say.
async fn assert_balanced(f: &Fixture) {
    let wrong: Vec<String> = sqlx::query_scalar(
        "SELECT jobs.id::text || ': ' || jobs.gpu_seconds || ' s, ' || r.gpu_seconds || ' s in runs; '
             || e.claims || ' claims, ' || r.runs || ' runs'
         FROM jobs
         JOIN (SELECT job_id, count(*) FILTER (WHERE kind = 'running') AS claims FROM job_events GROUP BY job_id) AS e
             ON e.job_id = jobs.id
         LEFT JOIN (SELECT job_id, count(*) AS runs, sum(gpu_seconds) AS gpu_seconds FROM job_runs GROUP BY job_id) AS r
             ON r.job_id = jobs.id
         WHERE jobs.status <> 'running' AND (COALESCE(r.runs, 0) <> e.claims
             OR abs(COALESCE(r.gpu_seconds, 0) - jobs.gpu_seconds) > 1e-6)",
    )
    .fetch_all(&f.pool)
    .await
    .expect("recount");
    assert!(wrong.is_empty(), "{wrong:?}");
    let off: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM (
             SELECT tenant_id, model_id, tier, sum(runs) AS runs, sum(gpu_seconds) AS s, sum(cost_usd) AS usd,
                 sum(repeated_gpu_seconds) AS again, sum(saved_drafts_s) AS drafts
             FROM usage_daily WHERE day > '-infinity' GROUP BY 1, 2, 3
         ) AS kept FULL JOIN (
             SELECT tenant_id, model_id, tier, count(*) AS runs, sum(gpu_seconds) AS s, sum(cost_usd) AS usd,
                 COALESCE(sum(gpu_seconds) FILTER (WHERE repeated), 0) AS again, sum(saved_drafts_s) AS drafts
             FROM job_runs GROUP BY 1, 2, 3
         ) AS counted USING (tenant_id, model_id, tier)
         WHERE (kept.runs = counted.runs AND abs(kept.s - counted.s) < 1e-6 AND abs(kept.usd - counted.usd) < 1e-6
             AND abs(kept.again - counted.again) < 1e-6 AND abs(kept.drafts - counted.drafts) < 1e-6) IS NOT TRUE",
    )
    .fetch_one(&f.pool)
    .await
    .expect("recount");
    assert_eq!(off, 0, "groups whose sums differ from their runs");
}

#[tokio::test]
async fn sums_equal_a_recount_and_add_up_by_any_group() {
    let mut f = Fixture::new().await;
    let worker = f.paid_worker().await;
    trouble(&f, worker).await;
    f.drafted().await;
    f.tenant = f.store.ensure_tenant("second").await.expect("tenant").id;
    trouble(&f, worker).await;
    f.completed().await;
    assert_balanced(&f).await;
    let all = f.usage(Scope::Fleet, GroupBy::default()).await[0].clone();
    for by in [
        GroupBy { day: true, ..GroupBy::default() },
        GroupBy { tenant: true, ..GroupBy::default() },
        GroupBy { month: true, tenant: true, key: true, model: true, tier: true, ..GroupBy::default() },
    ] {
        let rows = f.usage(Scope::Fleet, by).await;
        assert_eq!(rows.iter().map(|row| row.runs).sum::<i64>(), all.runs, "{by:?}");
        assert_close(rows.iter().map(|row| row.gpu_seconds).sum(), all.gpu_seconds);
        assert!(rows.iter().all(|row| row.tenant.is_some() == by.tenant && row.tier.is_some() == by.tier));
    }
    let own = f.usage(f.scope(), GroupBy { tenant: true, ..GroupBy::default() }).await;
    assert_eq!(own.iter().map(|row| (row.tenant.as_deref(), row.runs)).collect::<Vec<_>>(), [(Some("second"), 5)]);
    let totals = f.store.ledger_totals().await.expect("totals");
    assert_close(totals.first_gpu_seconds + totals.repeated_gpu_seconds, all.gpu_seconds);
    assert_close(totals.busy_s, all.gpu_seconds);
}

#[tokio::test]
async fn the_key_of_a_submission_is_part_of_the_ledger() {
    let f = Fixture::new().await;
    let key_id = KeyId::fresh();
    let job = f.insert(NewJob { key_id: Some(key_id), ..new_job(f.tenant, crate::support::MODEL) }).await;
    f.plan_all(&[job.id], crate::support::plan()).await;
    let lease = f.claimed_by(job.id, WorkerId::fresh()).await;
    f.store.complete(lease, &rendered(lease), &run(5.0)).await.expect("complete");
    let rows = f.usage(f.scope(), GroupBy { key: true, ..GroupBy::default() }).await;
    assert_eq!(rows.iter().map(|row| row.key_id).collect::<Vec<_>>(), [Some(key_id.0)]);
}

#[tokio::test]
async fn a_draft_that_ends_saves_its_remaining_steps_until_it_is_retried() {
    let f = Fixture::new().await;
    let draft = f.drafted().await;
    let saved = async || f.usage(f.scope(), GroupBy::default()).await[0].saved.drafts_s;
    assert_close(saved().await, 0.0);
    f.store.cancel(f.scope(), draft).await.expect("cancel");
    // 4 of 25 steps took 2.5 s.
    assert_close(saved().await, 2.5 * (25.0 / 4.0 - 1.0));
    assert_balanced(&f).await;
    f.store.retry(f.scope(), draft).await.expect("retry");
    assert_close(saved().await, 0.0);
    assert_balanced(&f).await;
    let kept = f.drafted().await;
    f.store.continue_draft(f.scope(), kept, &crate::support::same_plan()).await.expect("continue");
    assert_close(saved().await, 0.0);
}

#[tokio::test]
async fn a_budget_warns_and_stops_once_per_period() {
    let f = Fixture::new().await;
    let worker = f.paid_worker().await;
    let budget = Budget {
        period: BudgetPeriod::Month,
        unit: BudgetUnit::GpuSeconds,
        amount: 10.0,
        warn_share: 0.5,
        stops: true,
    };
    let set =
        f.store.put_budget(&NewBudget { tenant: "default".into(), budget }).await.expect("set").expect("a tenant");
    assert_eq!((set.used, set.budget), (0.0, budget));
    assert!(f.store.put_budget(&NewBudget { tenant: "nobody".into(), budget }).await.expect("set").is_none());
    sqlx::query(
        "INSERT INTO webhook_endpoints (id, tenant_id, url, events) VALUES (gen_random_uuid(), $1, 'http://a', $2)",
    )
    .bind(f.tenant.0)
    .bind(vec!["budget_warning", "budget_spent"])
    .execute(&f.pool)
    .await
    .expect("endpoint");
    let spend = async |gpu_seconds| {
        let job_id = f.planned().await;
        let lease = f.claimed_by(job_id, worker).await;
        f.store.complete(lease, &rendered(lease), &run(gpu_seconds)).await.expect("complete");
    };
    spend(4.0).await;
    assert!(f.budget_events().await.is_empty());
    assert_eq!(f.store.spent_budget(f.tenant).await.expect("budget"), None);
    spend(2.0).await;
    spend(1.0).await;
    assert_eq!(f.budget_events().await, ["budget_warning"]);
    spend(5.0).await;
    spend(1.0).await;
    assert_eq!(f.budget_events().await, ["budget_warning", "budget_spent"]);
    let spent = f.store.spent_budget(f.tenant).await.expect("budget").expect("it is used up");
    assert_close(spent.used, 13.0);
    assert!(spent.renews_at > f.store.server_times().await.expect("times").0);
    let sent: i64 =
        sqlx::query_scalar("SELECT count(*) FROM webhook_deliveries").fetch_one(&f.pool).await.expect("outbox");
    assert_eq!(sent, 2);
    // A larger one begins afresh; one that does not stop refuses nothing.
    let larger = Budget { amount: 14.0, stops: false, ..budget };
    f.store.put_budget(&NewBudget { tenant: "default".into(), budget: larger }).await.expect("set");
    assert_eq!(f.store.spent_budget(f.tenant).await.expect("budget"), None);
    spend(1.0).await;
    assert_eq!(f.budget_events().await.len(), 3);
    assert_eq!(f.store.spent_budget(f.tenant).await.expect("budget"), None);
    let listed = f.store.budgets(Scope::Tenant(TenantId::fresh())).await.expect("budgets");
    assert!(listed.is_empty());
    assert!(f.store.delete_budget(set.id).await.expect("delete"));
}

/// Runs that end at the same moment cross the line together, and exactly one of them says so.
#[tokio::test]
async fn concurrent_runs_see_each_other_in_a_budget() {
    let f = Fixture::new().await;
    let worker = f.paid_worker().await;
    let budget =
        Budget { period: BudgetPeriod::Day, unit: BudgetUnit::Usd, amount: 0.0095, warn_share: 1.0, stops: true };
    f.store.put_budget(&NewBudget { tenant: "default".into(), budget }).await.expect("set");
    let mut leases = Vec::new();
    for _ in 0..10 {
        let job_id = f.planned().await;
        leases.push(f.claimed_by(job_id, worker).await);
    }
    let complete = |lease: Lease| {
        let store = f.store.clone();
        async move { store.complete(lease, &rendered(lease), &run(1.0)).await }
    };
    let done = futures::future::join_all(leases.into_iter().map(complete)).await;
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    assert_eq!(f.budget_events().await, ["budget_spent"], "a dollar for a thousand seconds: ten of them cost 0.01");
    assert_balanced(&f).await;
}

#[tokio::test]
async fn time_online_is_accounted_once_and_split_at_midnight() {
    let f = Fixture::new().await;
    let worker = f.paid_worker().await;
    let aged = "UPDATE workers SET registered_at = '2026-03-01 23:59:00+00', last_seen_at = '2026-03-02 00:02:00+00' WHERE id = $1";
    sqlx::query(aged).bind(worker.0).execute(&f.pool).await.expect("age");
    for _ in 0..3 {
        // The first call also gives it up, and a later one forgets it.
        f.store.give_up_silent_workers(60.0, 60.0).await.expect("sweep");
    }
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM workers").fetch_one(&f.pool).await.expect("workers");
    assert_eq!(left, 0, "it was forgotten once the ledger had all of its time");
    let days: Vec<(String, f64)> = sqlx::query_as(
        "SELECT day::text, sum(online_s) FROM worker_daily WHERE day > '-infinity' GROUP BY day ORDER BY day",
    )
    .fetch_all(&f.pool)
    .await
    .expect("days");
    assert_eq!(days, [("2026-03-01".to_owned(), 60.0), ("2026-03-02".to_owned(), 120.0)]);
    assert_close(f.store.ledger_totals().await.expect("totals").online_s, 180.0);
    let usage = f.worker_usage(true).await;
    assert_eq!(usage.len(), 1);
    assert_close(usage[0].online_usd, 180.0 * USD_PER_S);
    let by_day = GroupBy { day: true, model: true, ..GroupBy::default() };
    let by_month = GroupBy { month: true, ..GroupBy::default() };
    for (by, expected) in
        [(by_day, vec![("2026-03-01", 60.0), ("2026-03-02", 120.0)]), (by_month, vec![("2026-03", 180.0)])]
    {
        let usage = f.worker_usage_by(by, true).await;
        let found: Vec<_> = usage.iter().map(|one| (one.period.as_deref().unwrap_or(""), one.online_s)).collect();
        assert_eq!(found, expected);
        assert!(usage.iter().all(|one| one.worker.is_some() && one.model.is_some() == by.model), "{usage:?}");
    }
    let fleet = f.worker_usage(false).await;
    assert_eq!(fleet.len(), 1);
    assert_close(fleet[0].online_usd, 180.0 * USD_PER_S);
}

#[tokio::test]
async fn the_sums_of_all_workers_are_those_of_each() {
    let f = Fixture::new().await;
    for seconds in [25.0, 40.0, 5.0] {
        // Two runs of a worker: the first adds its row, the second changes it.
        let worker = f.paid_worker().await;
        for part in [0.25, 0.75] {
            let job_id = f.planned().await;
            let lease = f.claimed_by(job_id, worker).await;
            f.store.complete(lease, &rendered(lease), &run(seconds * part)).await.expect("complete");
        }
    }
    let (fleet, each) = (f.worker_usage(false).await, f.worker_usage(true).await);
    assert_eq!(fleet.len(), 1, "{fleet:?}");
    assert_eq!((fleet[0].runs, fleet[0].videos, &fleet[0].worker), (6, 6, &None));
    assert_close(fleet[0].busy_s, 70.0);
    assert_close(fleet[0].busy_usd, each.iter().map(|usage| usage.busy_usd).sum());
    let days = "SELECT (SELECT sum(runs) FROM worker_daily WHERE isfinite(day)) = (SELECT sum(runs) FROM fleet_daily)";
    assert!(sqlx::query_scalar::<_, bool>(days).fetch_one(&f.pool).await.expect("sums"));
}

#[tokio::test]
async fn a_live_worker_is_idle_for_the_time_without_runs() {
    let f = Fixture::new().await;
    let worker = f.paid_worker().await;
    let job_id = f.planned().await;
    let lease = f.claimed_by(job_id, worker).await;
    f.store.complete(lease, &rendered(lease), &run(25.0)).await.expect("complete");
    sqlx::query("UPDATE workers SET registered_at = registered_at - interval '100 s'")
        .execute(&f.pool)
        .await
        .expect("age");
    f.store.heartbeat(worker, WorkerState::Ready, None).await.expect("beat");
    f.store.give_up_silent_workers(60.0, 60.0).await.expect("sweep");
    let usage = f.worker_usage(true).await;
    assert_eq!(usage.len(), 1);
    assert!((usage[0].online_s - 100.0).abs() < 10.0 && usage[0].busy_s == 25.0, "{usage:?}");
}
