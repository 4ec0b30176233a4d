//! Goal: the transitions' counters equal a recount of rows and events.

use chrono::{Duration, Timelike};
use domain::{CacheMatch, Failure, FailureAction, RunRecord};
use store::jobs::Scope;
use store::stats::{Bucket, Counters};

use crate::support::{Fixture, MODEL, POLICY, new_job, plan, pool, record, rendered};

async fn recount(f: &Fixture, scope: Scope) -> Counters {
    let tenant = match scope {
        Scope::Tenant(tenant) => Some(tenant.0),
        Scope::Fleet => None,
    };
    let events = |condition: &'static str| async move {
        let sql =
            format!("SELECT count(*) FROM job_events WHERE ($1::uuid IS NULL OR tenant_id = $1) AND ({condition})");
        let count: i64 =
            sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(tenant).fetch_one(&f.pool).await.expect("events");
        count
    };
    let done = |expression: &'static str| async move {
        let sql = format!(
            "SELECT COALESCE(sum({expression}), 0)::float8 FROM jobs
             WHERE status = 'completed' AND ($1::uuid IS NULL OR tenant_id = $1)"
        );
        let sum: f64 =
            sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(tenant).fetch_one(&f.pool).await.expect("jobs");
        sum
    };
    #[expect(clippy::cast_possible_truncation, reason = "whole numbers of a small test")]
    let whole = |value: f64| value.round() as i64;
    Counters {
        submitted: events("kind = 'queued' AND detail = '{}'").await,
        planned: events("kind = 'planned'").await,
        completed: events("kind = 'completed'").await,
        failed: events("kind = 'failed'").await,
        cancelled: events("kind = 'cancelled'").await,
        retried: events("kind = 'queued' AND detail ? 'retry'").await,
        requeued: events("kind = 'retrying'").await,
        leases_lost: events("kind IN ('retrying', 'failed') AND detail ->> 'code' = 'worker_lost'").await,
        handed_back: events("kind = 'handed_back' AND NOT (detail ->> 'preempted')::bool").await,
        preempted: events("kind = 'handed_back' AND (detail ->> 'preempted')::bool").await,
        deadlines_met: whole(done("(finished_at <= deadline_at)::int").await),
        deadlines_missed: whole(done("(finished_at > deadline_at)::int").await),
        drafted: events("kind = 'drafted'").await,
        continued: events("kind = 'queued' AND detail ? 'continued'").await,
        // No job of this test is a draft.
        draft_gpu_seconds: 0.0,
        cache_identical: whole(done("(record ->> 'cache_match' = 'identical')::int").await),
        cache_similar: whole(done("(record ->> 'cache_match' = 'similar')::int").await),
        cache_misses: whole(done("(record ->> 'cache_match' = 'miss')::int").await),
        steps_planned: whole(done("final_steps").await),
        steps_computed: whole(done("(record ->> 'steps_computed')::int").await),
        steps_skipped: whole(done("(record ->> 'steps_skipped')::int").await),
        wait_s: done("extract(epoch FROM started_at - created_at)").await,
        run_s: done(
            "(record #>> '{stages,encode_s}')::float8 + (record #>> '{stages,denoise_s}')::float8
            + (record #>> '{stages,decode_s}')::float8 + (record #>> '{stages,deliver_s}')::float8",
        )
        .await,
        estimate_s: done("estimate_s").await,
        video_s: done("frames / fps").await,
        gpu_seconds: done("gpu_seconds").await,
        cost_usd: done("(record ->> 'cost_usd')::float8").await,
        saved_s: done("(record ->> 'saved_s')::float8").await,
        saved_usd: done("(record ->> 'saved_usd')::float8").await,
    }
}

/// Compares counters; sums of floating-point numbers are equal up to rounding.
fn assert_same(counted: Counters, recounted: Counters) {
    let rounded = |mut counters: Counters| {
        for sum in [
            &mut counters.wait_s,
            &mut counters.run_s,
            &mut counters.estimate_s,
            &mut counters.video_s,
            &mut counters.gpu_seconds,
            &mut counters.cost_usd,
            &mut counters.saved_s,
            &mut counters.saved_usd,
        ] {
            *sum = (*sum * 1e4).round() / 1e4;
        }
        counters
    };
    assert_eq!(rounded(counted), rounded(recounted));
}

/// Sends one job along each path that a job can take.
async fn live_through_everything(f: &Fixture) {
    for (turn, cache_match) in
        [CacheMatch::Identical, CacheMatch::Similar, CacheMatch::Miss, CacheMatch::Off].into_iter().enumerate()
    {
        let lease = f.running().await;
        let run = RunRecord { cache_match, gpu_seconds: 3.0 + 0.5 * turn as f64, ..record() };
        f.store.complete(lease, &rendered(lease), &run).await.expect("complete");
    }
    let failure = Failure { code: "test".into(), reason: "the test made it fail".into() };
    let lease = f.running().await;
    f.store.fail(lease, &failure, FailureAction::Fail, POLICY, 1.0).await.expect("fail");
    f.store.retry(f.scope(), lease.job_id).await.expect("retry");
    let again = f.store.release(&pool(), 1, f.epoch).await.expect("release");
    let lease = f.claim(lease.job_id, again[0].dispatch_no, 60.0).await.lease;
    f.store.hand_back(lease, 1.0).await.expect("hand back");
    let again = f.store.release(&pool(), 1, f.epoch).await.expect("release");
    let lease = f.claim(lease.job_id, again[0].dispatch_no, 60.0).await.lease;
    f.store.fail(lease, &failure, FailureAction::Retry, POLICY, 1.0).await.expect("fail");
    let again = f.store.release(&pool(), 1, f.epoch).await.expect("release");
    let lease = f.claim(lease.job_id, again[0].dispatch_no, 0.0).await.lease;
    assert_eq!(f.store.expire_leases(0.0, POLICY, 10, f.epoch).await.expect("sweep").len(), 1);
    f.store.cancel(f.scope(), lease.job_id).await.expect("cancel");
    let lease = f.running().await;
    f.store.cancel(f.scope(), lease.job_id).await.expect("cancel");
    f.store.stopped(lease, 1.0).await.expect("stop");
    let waiting = f.queued().await;
    f.store.soft_delete(f.scope(), waiting.id).await.expect("delete");
}

#[tokio::test]
async fn counters_equal_a_recount() {
    let mut f = Fixture::new().await;
    live_through_everything(&f).await;
    f.tenant = f.store.ensure_tenant("second").await.expect("tenant").id;
    live_through_everything(&f).await;
    live_through_everything(&f).await;
    for scope in [Scope::Fleet, f.scope()] {
        let counted = f.store.stats(scope).await.expect("stats");
        assert_same(counted, recount(&f, scope).await);
        assert!(counted.submitted > 0 && counted.completed > 0 && counted.leases_lost > 0 && counted.retried > 0);
    }
    let one = f.store.stats(Scope::Tenant(domain::TenantId::DEFAULT)).await.expect("stats");
    assert_eq!((one.submitted, one.completed, one.cache_hits()), (7, 4, 2));
    assert_eq!(one.cache_hit_rate().map(f64::round), Some(67.0));
    assert_eq!(one.average_steps(), Some(25.0));
}

#[tokio::test]
async fn hours_and_groups_add_up_to_all_time() {
    let f = Fixture::new().await;
    live_through_everything(&f).await;
    let all = f.store.stats(f.scope()).await.expect("stats");
    let (now, _) = f.store.server_times().await.expect("times");
    let (from, to) = (now - Duration::hours(3), now + Duration::hours(1));
    for bucket in [Bucket::Hour, Bucket::Day] {
        let points = f.store.stats_series(f.scope(), from, to, bucket).await.expect("series");
        assert!(points.iter().all(|point| point.at.minute() == 0));
        assert_eq!(points.iter().map(|point| point.counters.submitted).sum::<i64>(), all.submitted);
        assert_eq!(points.iter().map(|point| point.counters.completed).sum::<i64>(), all.completed);
    }
    for since in [None, Some(from)] {
        let groups = f.store.stats_by_group(f.scope(), since).await.expect("groups");
        assert_eq!(groups.iter().map(|group| group.counters.planned).sum::<i64>(), all.planned);
        let unplanned: i64 = groups.iter().filter(|one| one.tier.is_none()).map(|one| one.counters.submitted).sum();
        assert_eq!(unplanned, all.submitted, "submissions have no tier yet");
    }
    let stranger = f.store.ensure_tenant("stranger").await.expect("tenant").id;
    assert_eq!(f.store.stats(Scope::Tenant(stranger)).await.expect("stats"), Counters::default());
}

#[tokio::test]
async fn concurrent_writers_lose_no_count() {
    let f = Fixture::new().await;
    let batches: Vec<Vec<_>> = (0..12).map(|_| (0..10).map(|_| new_job(f.tenant, MODEL)).collect()).collect();
    let inserted = futures::future::join_all(batches.iter().map(|batch| f.store.insert_batch(batch))).await;
    assert!(inserted.iter().all(Result::is_ok));
    let ids: Vec<_> = batches.iter().flatten().map(|job| job.id).collect();
    let cancels = futures::future::join_all(ids.iter().map(|id| f.store.cancel(Scope::Fleet, *id))).await;
    assert!(cancels.iter().all(Result::is_ok));
    let counted = f.store.stats(Scope::Fleet).await.expect("stats");
    assert_eq!((counted.submitted, counted.cancelled), (120, 120));
}

#[tokio::test]
async fn recent_runs_are_newest_first_and_completed() {
    let f = Fixture::new().await;
    assert!(f.store.recent_runs(MODEL, 10).await.expect("runs").is_empty());
    for _ in 0..3 {
        f.completed().await;
    }
    f.running().await;
    let runs = f.store.recent_runs(MODEL, 2).await.expect("runs");
    assert_eq!(runs.len(), 2);
    assert!(runs[0].finished_at >= runs[1].finished_at);
    assert_eq!((&runs[0].plan, &runs[0].record), (&plan(), &record()));
    assert_eq!(runs[0].request.prompt, "a red ball rolls down a hill");
}
