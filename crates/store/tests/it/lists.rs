//! Lists and counts: order, filters, pages, bounds, other tenants.

use domain::{JobId, JobStatus, Tier};
use store::jobs::{JobFilter, Scope};

use crate::support::{Fixture, MODEL, keyed, new_job, worker_info};

impl Fixture {
    async fn pages(&self, scope: Scope, filter: &JobFilter, limit: u32, scan_max: u32) -> Vec<JobId> {
        let (mut ids, mut before) = (Vec::new(), None);
        for _ in 0..200 {
            let page = self.store.list(scope, filter, before, limit, scan_max).await.expect("list");
            assert!(page.jobs.len() <= limit as usize);
            ids.extend(page.jobs.iter().map(|job| job.id));
            before = page.next;
            if before.is_none() {
                return ids;
            }
        }
        panic!("the pages have no end");
    }
}

#[tokio::test]
async fn pages_hold_every_job_once_newest_first() {
    let f = Fixture::new().await;
    let mut ids = Vec::new();
    for n in 0..11 {
        ids.push(match n % 3 {
            0 => f.completed().await,
            1 => f.queued().await.id,
            _ => f.running().await.job_id,
        });
    }
    ids.reverse();
    for scope in [f.scope(), Scope::Fleet] {
        for limit in [1, 4, 11, 50] {
            assert_eq!(f.pages(scope, &JobFilter::default(), limit, 3).await, ids, "limit {limit}");
        }
        let running = JobFilter { statuses: vec![JobStatus::Running, JobStatus::Running], ..JobFilter::default() };
        assert_eq!(f.pages(scope, &running, 2, 3).await.len(), 3);
    }
}

#[tokio::test]
async fn filters_scan_a_bounded_number_of_jobs() {
    let f = Fixture::new().await;
    for n in 0..20 {
        f.insert(keyed(f.tenant, &format!("{n}"), if n == 3 { "A Fox with 100%" } else { "a cat" })).await;
    }
    let fox = JobFilter { prompt_contains: Some("fox with 100%".into()), ..JobFilter::default() };
    for scope in [f.scope(), Scope::Fleet] {
        let first = f.store.list(scope, &fox, None, 2, 10).await.expect("list");
        assert!(first.jobs.is_empty() && first.next.is_some(), "the newest ten contain no match, and there are more");
        assert_eq!(f.pages(scope, &fox, 2, 10).await.len(), 1);
    }
    let wildcard = JobFilter { prompt_contains: Some("%cat%".into()), ..JobFilter::default() };
    assert!(f.pages(f.scope(), &wildcard, 5, 100).await.is_empty(), "wildcards are not interpreted");
    f.planned().await;
    let tier = JobFilter { tier: Some(Tier::Standard), model_id: Some(MODEL.into()), ..JobFilter::default() };
    assert_eq!(f.pages(f.scope(), &tier, 5, 100).await.len(), 1);
}

#[tokio::test]
async fn deleted_jobs_are_listed_apart_and_tenants_see_their_own() {
    let f = Fixture::new().await;
    let (kept, gone) = (f.queued().await.id, f.queued().await.id);
    f.store.soft_delete(f.scope(), gone).await.expect("delete");
    let stranger = f.store.ensure_tenant("stranger").await.expect("tenant").id;
    let theirs = f.insert(new_job(stranger, MODEL)).await.id;
    assert_eq!(f.pages(f.scope(), &JobFilter::default(), 5, 10).await, [kept]);
    let deleted = JobFilter { deleted: true, ..JobFilter::default() };
    assert_eq!(f.pages(f.scope(), &deleted, 5, 10).await, [gone]);
    assert_eq!(f.pages(Scope::Tenant(stranger), &JobFilter::default(), 5, 10).await, [theirs]);
    assert_eq!(f.store.get(Scope::Tenant(stranger), kept).await.expect("get"), None);
    assert_eq!(f.store.get_many(Scope::Tenant(stranger), &[theirs, kept]).await.expect("get").len(), 1);
}

#[tokio::test]
async fn the_backlog_is_counted_up_to_its_limit() {
    let f = Fixture::new().await;
    f.queued().await;
    f.planned().await;
    f.completed().await;
    f.running().await;
    for scope in [f.scope(), Scope::Fleet] {
        assert_eq!(f.store.backlog_count(scope, 100).await.expect("count"), 3);
        assert_eq!(f.store.backlog_count(scope, 2).await.expect("count"), 2);
    }
    let depth = f.store.backlog_depth().await.expect("depth");
    assert_eq!(depth.iter().map(|one| one.jobs).sum::<u64>(), 3);
    assert!(depth.iter().all(|one| one.oldest_s >= 0.0));
}

#[tokio::test]
async fn the_position_counts_own_jobs_exactly_and_others_by_their_share() {
    let f = Fixture::new().await;
    let stranger = f.store.ensure_tenant("stranger").await.expect("tenant").id;
    for _ in 0..10 {
        let theirs = f.insert(new_job(stranger, MODEL)).await.id;
        f.plan_all(&[theirs], crate::support::plan()).await;
    }
    let (first, second) = (f.planned().await, f.planned().await);
    // Before my first job go at most one of theirs; before my second at most two of theirs, and my first.
    assert_eq!(f.store.queue_position(f.scope(), first, 100).await.expect("position"), Some(1));
    assert_eq!(f.store.queue_position(f.scope(), second, 100).await.expect("position"), Some(3));
    assert_eq!(f.store.queue_position(f.scope(), second, 2).await.expect("position"), Some(2));
    let unplanned = f.queued().await.id;
    assert_eq!(f.store.queue_position(f.scope(), unplanned, 100).await.expect("position"), None);
    assert_eq!(f.store.queue_position(Scope::Tenant(stranger), first, 100).await.expect("position"), None);
}

#[tokio::test]
async fn pages_go_from_the_oldest_too() {
    let f = Fixture::new().await;
    let mut ids = Vec::new();
    for n in 0..7 {
        ids.push(if n % 2 == 0 { f.completed().await } else { f.queued().await.id });
    }
    for gone in [ids.remove(5), ids.remove(0)] {
        f.store.soft_delete(Scope::Fleet, gone).await.expect("delete");
    }
    for scope in [f.scope(), Scope::Fleet] {
        for (limit, scan_max) in [(1, 1), (2, 100), (50, 100)] {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = f.store.list_oldest_first(scope, after, limit, scan_max).await.expect("list");
                assert!(page.jobs.len() <= limit as usize);
                found.extend(page.jobs.iter().map(|job| job.id));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found, ids, "{scope:?} limit {limit}");
        }
    }
}

#[tokio::test]
async fn workers_are_listed_in_pages_by_name_with_their_jobs() {
    let f = Fixture::new().await;
    f.model().await;
    let mut workers = Vec::new();
    for name in ["b", "a", "c", "b", "gone"] {
        let info = domain::worker::WorkerInfo { id: domain::WorkerId::fresh(), name: name.into(), ..worker_info() };
        f.store.register_worker(&info).await.expect("register");
        workers.push(info);
    }
    f.store.worker_gone(workers[4].id, None).await.expect("gone");
    let (job_id, dispatch_no) = f.scheduled().await;
    let token = domain::LeaseToken::fresh();
    f.store.claim(job_id, dispatch_no, token, workers[2].id, 60.0).await.expect("claim");
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = f.store.workers(after.as_ref(), 2).await.expect("workers");
        let Some(last) = page.last() else { break };
        after = Some(store::worker_list::WorkerPosition { name: last.info.name.clone(), id: last.info.id });
        seen.extend(page);
    }
    let names: Vec<_> = seen.iter().map(|worker| worker.info.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "b", "c"]);
    assert_eq!(seen[3].job_ids, [job_id]);
    assert!(seen[..3].iter().all(|worker| worker.job_ids.is_empty()));
    let counts = f.store.count_workers(Scope::Fleet).await.expect("counts");
    assert_eq!((counts.workers, counts.running), (4, 1));
    let stranger = f.store.ensure_tenant("stranger").await.expect("tenant").id;
    assert_eq!(f.store.count_workers(Scope::Tenant(stranger)).await.expect("counts").running, 0);
}

#[tokio::test]
async fn progress_of_running_jobs_is_read_while_it_is_recent() {
    let f = Fixture::new().await;
    let lease = f.running().await;
    let mark = store::leases::ProgressMark { stage: domain::Stage::Denoise, step: 7, steps_skipped: 2 };
    f.store.progress(lease, mark).await.expect("progress");
    let seen = f.store.recent_progress(60.0, 10).await.expect("progress");
    assert_eq!((seen.len(), seen[0].job_id, seen[0].step, seen[0].skipped), (1, lease.job_id, 7, 2));
    sqlx::query("UPDATE jobs SET progressed_at = now() - interval '1 hour'").execute(&f.pool).await.expect("age");
    assert!(f.store.recent_progress(60.0, 10).await.expect("progress").is_empty());
}
