//! The history as readers see it: nothing is missed and nothing is repeated, in whatever order transactions commit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::{EventCursor, JobEventKind};
use store::events::EventScope;
use store::jobs::{InsertOutcome, Scope};

use crate::support::{Fixture, new_job};

/// An event whose transaction is still open holds back those after it; none appears behind a reader.
#[tokio::test]
async fn a_late_committer_is_not_missed() {
    let f = Fixture::new().await;
    let start = f.store.events_from_now().await.expect("cursor");
    let mut late = f.pool.begin().await.expect("begin");
    let early_event = "INSERT INTO job_events (job_id, tenant_id, kind) VALUES (gen_random_uuid(), $1, 'queued')";
    sqlx::query(early_event).bind(f.tenant.0).execute(&mut *late).await.expect("early number");
    let job = f.queued().await;
    for scope in [EventScope::Tenant(f.tenant), EventScope::Fleet] {
        let seen = f.store.events_after(scope, start, 100).await.expect("events");
        assert!(seen.is_empty(), "read past an open transaction: {seen:?}");
    }
    // The job's own stream does not have to wait.
    let own = f.store.events_after(EventScope::Job(job.id), EventCursor::default(), 10).await.expect("events");
    assert_eq!(own.len(), 1);
    late.commit().await.expect("commit");
    // Autovacuum, which runs in this database too, may hold the events back a little longer.
    let both = || async {
        let seen = f.store.events_after(EventScope::Fleet, start, 100).await.expect("events");
        (seen.len() == 2).then_some(seen)
    };
    let seen = testkit::eventually("both events", Duration::from_secs(60), both).await;
    assert_eq!(seen[1].job_id, job.id);
}

/// While another database writes, the point up to which one may read falls back now and then. A reader that continues where
/// another one is sees everything that the other one has seen.
#[tokio::test]
async fn what_one_reader_has_passed_another_one_sees() {
    let (f, other) = (Fixture::new().await, Fixture::new().await);
    let over = AtomicBool::new(false);
    let write = async || {
        while !over.load(Ordering::Relaxed) {
            let many = "DO $$ BEGIN FOR n IN 1..500 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$";
            sqlx::raw_sql(many).execute(&other.pool).await.expect("transactions");
        }
    };
    let read = async || {
        let mut place = f.store.events_from_now().await.expect("cursor");
        for _ in 0..300 {
            let start = place;
            let event = "INSERT INTO job_events (job_id, tenant_id, kind) VALUES (gen_random_uuid(), $1, 'queued')";
            sqlx::query(event).bind(f.tenant.0).execute(&f.pool).await.expect("an event");
            let first = async || f.store.events_after(EventScope::Fleet, start, 10).await.expect("events").pop();
            place = testkit::eventually("the first reader sees it", Duration::from_secs(60), first).await.cursor;
            for scope in [EventScope::Tenant(f.tenant), EventScope::Fleet] {
                let seen = f.store.events_after_reader(scope, start, place, 10).await.expect("events");
                assert_eq!(seen.last().map(|event| event.cursor), Some(place), "{scope:?}");
            }
        }
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(read(), write(), write(), write());
}

/// A transaction that is open in another database of the server writes no events here, so nothing waits for it.
#[tokio::test]
async fn another_databases_open_transaction_holds_nothing_back() {
    let (f, other) = (Fixture::new().await, Fixture::new().await);
    let mut foreign = other.pool.begin().await.expect("begin");
    sqlx::query("UPDATE event_era SET era = era").execute(&mut *foreign).await.expect("it writes");
    let start = f.store.events_from_now().await.expect("cursor");
    let job = f.queued().await;
    let shown = || async {
        let seen = f.store.events_after(EventScope::Fleet, start, 100).await.expect("events");
        (seen.iter().map(|event| event.job_id).collect::<Vec<_>>() == [job.id]).then_some(())
    };
    testkit::eventually("the event is shown meanwhile", Duration::from_secs(60), shown).await;
    // Nor does it hide from a user without a superuser's rights which database it belongs to.
    let role = format!("reader_{}", std::process::id());
    let create = format!("CREATE ROLE {role}; GRANT SELECT ON job_events, event_era TO {role}; SET ROLE {role}");
    let mut plain = f.pool.acquire().await.expect("connection").detach();
    sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&mut plain).await.expect("a role");
    let (horizon, latest): (i64, i64) = sqlx::query_as("SELECT events_horizon(), max(txid) FROM job_events")
        .fetch_one(&mut plain)
        .await
        .expect("a row");
    assert!(horizon > latest, "{horizon} {latest}");
    let drop_role = format!("RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(drop_role)).execute(&mut plain).await.expect("the role goes");
    foreign.rollback().await.expect("rollback");
}

/// A backup that is restored into another cluster, whose transactions have smaller numbers: streams go on where they were.
#[tokio::test]
async fn streams_go_on_after_a_restore_into_another_cluster() {
    let f = Fixture::new().await;
    f.store.migrate().await.expect("the first start");
    let burn = "DO $$ BEGIN FOR i IN 1..3000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$";
    sqlx::raw_sql(burn).execute(&f.pool).await.expect("transactions");
    let old = f.queued().await;
    let shown = || async {
        let events = f.store.events_after(EventScope::Fleet, EventCursor::default(), 10).await.expect("events");
        events.last().map(|event| event.cursor)
    };
    let last = testkit::eventually("the event is shown", Duration::from_secs(60), shown).await;
    // What was written after the backup is lost, but a client has seen it.
    // A transaction of another test's database that ends meanwhile may count as ours for a moment.
    let after = || async {
        let cursor = f.store.events_from_now().await.expect("cursor");
        (cursor > last).then_some(cursor)
    };
    let lost = testkit::eventually("a position after the event", Duration::from_secs(60), after).await;

    let stack = testkit::PrivateStack::only(&["postgres"]);
    let to = testkit::postgres::empty_database(&stack.services).await;
    let from = testkit::postgres::url_like(&f.pool);
    testkit::postgres::copy(&from, &to).await;
    let restored = store::Store::connect(&store::StoreOptions::new(&to)).await.expect("connect");
    restored.migrate().await.expect("the first start after the restore");
    let from_now = restored.events_from_now().await.expect("cursor");
    assert!(from_now > last && from_now > lost, "new events sort after old ones: {from_now} {last} {lost}");
    for cursor in [last, lost, from_now] {
        let seen = restored.events_after(EventScope::Fleet, cursor, 10).await.expect("events");
        assert!(seen.is_empty(), "an old event appears as new: {seen:?}");
    }
    let InsertOutcome::Created(new) = restored.insert(&new_job(f.tenant, "default")).await.expect("insert") else {
        panic!("not created")
    };
    for scope in [EventScope::Fleet, EventScope::Tenant(f.tenant)] {
        for cursor in [last, lost, from_now] {
            let seen = restored.events_after(scope, cursor, 10).await.expect("events");
            assert_eq!(seen.iter().map(|event| event.job_id).collect::<Vec<_>>(), [new.id], "after {cursor}");
        }
    }
    let all = restored.events_after(EventScope::Fleet, EventCursor::default(), 10).await.expect("events");
    assert_eq!(all.iter().map(|event| event.job_id).collect::<Vec<_>>(), [old.id, new.id]);
    assert!(!restored.follow_history().await.expect("look again"), "one restore begins one era");
}

/// Eight writers, twelve rounds, batches of 1 to 8, two events per job.
const EVENTS: usize = 2 * 12 * 36;

/// Many writers and one reader that follows: at the end it has seen every event of the table exactly once, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_sees_every_event_once() {
    let f = Fixture::new().await;
    let writing = AtomicBool::new(true);
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    let writers = async {
        futures::future::join_all((0..8).map(|writer| {
            let f = &f;
            async move {
                for _ in 0..12 {
                    let batch: Vec<_> = (0..=writer).map(|_| new_job(f.tenant, "default")).collect();
                    for outcome in f.store.insert_batch(&batch).await.expect("insert") {
                        let id = outcome.expect("row").job().expect("a job").id;
                        f.store.cancel(Scope::Fleet, id).await.expect("cancel");
                    }
                }
            }
        }))
        .await;
        writing.store(false, Ordering::SeqCst);
    };
    let reader = async {
        let mut cursor = EventCursor::default();
        let mut seen = Vec::new();
        loop {
            let events = f.store.events_after(EventScope::Tenant(f.tenant), cursor, 50).await.expect("events");
            for event in events {
                assert!(event.cursor > cursor, "{} after {cursor}", event.cursor);
                cursor = event.cursor;
                seen.push(event.cursor.seq);
            }
            // A superfluous event would be seen as well, because the reader continues until nothing is written.
            if seen.len() >= EVENTS && !writing.load(Ordering::SeqCst) {
                return seen;
            }
            assert!(std::time::Instant::now() < deadline, "{} of {EVENTS} events seen", seen.len());
            tokio::task::yield_now().await;
        }
    };
    let ((), mut seen) = tokio::join!(writers, reader);
    seen.sort_unstable();
    let all: Vec<i64> =
        sqlx::query_scalar("SELECT seq FROM job_events ORDER BY seq").fetch_all(&f.pool).await.expect("all");
    assert_eq!(all.len(), EVENTS);
    assert_eq!(seen, all);
}

#[tokio::test]
async fn a_stream_continues_where_it_stopped() {
    let f = Fixture::new().await;
    let lease = f.running().await;
    let scope = EventScope::Job(lease.job_id);
    let first = f.store.events_after(scope, EventCursor::default(), 2).await.expect("events");
    let rest = f.store.events_after(scope, first[1].cursor, 10).await.expect("events");
    let kinds: Vec<_> = first.iter().chain(&rest).map(|event| event.kind).collect();
    let expected = [JobEventKind::Queued, JobEventKind::Planned, JobEventKind::Scheduled, JobEventKind::Running];
    assert_eq!(kinds, expected);
    assert_eq!(rest[1].detail["attempt"], 1);
    let text = rest[0].cursor.to_string();
    assert_eq!(text.parse::<EventCursor>().expect("a cursor"), rest[0].cursor);
    let stranger = f.store.ensure_tenant("stranger").await.expect("tenant").id;
    let theirs = f.store.events_after(EventScope::Tenant(stranger), EventCursor::default(), 10).await.expect("events");
    assert!(theirs.is_empty());
}
