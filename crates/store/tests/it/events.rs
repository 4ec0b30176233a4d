//! The history as readers see it: nothing is missed and nothing is repeated, in whatever order transactions commit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::{EventCursor, JobEventKind};
use store::events::EventScope;
use store::jobs::Scope;

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
    // Transactions of other tests on the same server may hold the events back a little longer.
    let both = || async {
        let seen = f.store.events_after(EventScope::Fleet, start, 100).await.expect("events");
        (seen.len() == 2).then_some(seen)
    };
    let seen = testkit::eventually("both events", Duration::from_secs(60), both).await;
    assert_eq!(seen[1].job_id, job.id);
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
