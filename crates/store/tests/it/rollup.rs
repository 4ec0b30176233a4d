//! Goal: the fleet's numbers are the same however far its hours have been added up, and are never counted twice.
//! Method: counters in past hours, read before, between and after the steps of the roll-up, also by two schedulers at once.

use std::collections::BTreeSet;

use chrono::Duration;
use store::jobs::Scope;
use store::stats::{Bucket, Counters};

use crate::support::Fixture;

/// Five past hours with a gap, two tenants, two kinds, and what the sum of all time then is.
const PAST: &str = "
INSERT INTO stats_hourly (tenant_id, bucket, model_id, tier, complexity, shard, submitted, completed, gpu_seconds)
SELECT lpad(to_hex(tenant), 32, '0')::uuid, bucket, 'default', tier, 'simple', tenant, 10, 3, 1.5
FROM generate_series(1, 2) AS tenant, (VALUES ('standard'), ('premium')) AS kinds (tier),
    (SELECT date_trunc('hour', now(), 'UTC') - h * interval '1 hour' FROM unnest(ARRAY[2, 3, 4, 60, 61]) AS h) AS hours (bucket);
INSERT INTO stats_hourly (tenant_id, bucket, model_id, tier, complexity, shard, submitted, completed, gpu_seconds)
SELECT tenant_id, '-infinity', model_id, tier, complexity, shard, sum(submitted), sum(completed), sum(gpu_seconds)
FROM stats_hourly GROUP BY tenant_id, model_id, tier, complexity, shard";

/// Everything that is read of the fleet's statistics.
async fn read(f: &Fixture) -> (Counters, Vec<i64>, Vec<(i64, i64)>, Vec<(i64, i64)>) {
    let (now, _) = f.store.server_times().await.expect("times");
    let (from, to) = (now - Duration::hours(100), now + Duration::hours(1));
    let groups = |since| async move { f.store.stats_by_group(Scope::Fleet, since).await.expect("groups") };
    let all = groups(None).await.iter().map(|group| group.counters.submitted).collect();
    let recent = groups(Some(now - Duration::hours(3)))
        .await
        .iter()
        .map(|one| (one.counters.submitted, one.counters.completed))
        .collect();
    let series = f.store.stats_series(Scope::Fleet, from, to, Bucket::Hour).await.expect("series");
    let points = series.iter().map(|point| (point.at.timestamp(), point.counters.submitted)).collect();
    (f.store.stats(Scope::Fleet).await.expect("stats"), all, recent, points)
}

#[tokio::test]
async fn added_up_hours_change_no_number() {
    let f = Fixture::new().await;
    sqlx::raw_sql(PAST).execute(&f.pool).await.expect("fill");
    let before = read(&f).await;
    assert_eq!((before.0.submitted, before.0.completed, before.3.len()), (200, 60, 5));
    let mut steps = 0;
    while f.store.roll_up_stats(24).await.expect("roll up").is_some() {
        steps += 1;
        assert_eq!(read(&f).await, before, "after {steps} steps");
    }
    assert_eq!(steps, 3, "61 hours");
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM stats_fleet WHERE bucket > '-infinity'")
        .fetch_one(&f.pool)
        .await
        .expect("count");
    assert_eq!(rows, 10, "a row for each hour and kind, whatever the number of tenants");
    // What happens now is counted at once.
    f.queued().await;
    assert_eq!(read(&f).await.0.submitted, 201);
}

#[tokio::test]
async fn two_schedulers_add_no_hour_twice() {
    let f = Fixture::new().await;
    sqlx::raw_sql(PAST).execute(&f.pool).await.expect("fill");
    let before = read(&f).await;
    let steps = futures::future::join_all((0..8).map(|_| f.store.roll_up_stats(24))).await;
    assert!(steps.into_iter().all(|step| step.is_ok()));
    assert_eq!(read(&f).await, before);
}

#[tokio::test]
async fn nothing_is_added_up_before_the_first_event() {
    let f = Fixture::new().await;
    assert_eq!(f.store.roll_up_stats(24).await.expect("roll up"), None);
    assert_eq!(f.store.stats(Scope::Fleet).await.expect("stats"), Counters::default());
}

/// A counter that is added to one table only would vanish from the fleet's numbers after an hour.
#[tokio::test]
async fn both_tables_have_the_same_counters() {
    let f = Fixture::new().await;
    let columns = |table: &'static str| {
        let pool = f.pool.clone();
        async move {
            sqlx::query_scalar("SELECT column_name::text FROM information_schema.columns WHERE table_name = $1")
                .bind(table)
                .fetch_all(&pool)
                .await
                .expect("columns")
                .into_iter()
                .filter(|name: &String| !["tenant_id", "shard"].contains(&name.as_str()))
                .collect::<BTreeSet<String>>()
        }
    };
    let fleet = columns("stats_fleet").await;
    assert_eq!(fleet, columns("stats_hourly").await);
    let rollup = include_str!("../../src/rollup.rs");
    for column in fleet.iter().filter(|name| !["bucket", "model_id", "tier", "complexity"].contains(&name.as_str())) {
        assert!(
            rollup.contains(&format!("{column} = s.{column} + EXCLUDED.{column}")),
            "rollup.rs leaves out {column}"
        );
    }
}
