//! API replicas that die under a page's stream, schedulers that die or are paused in the middle of a dispatch.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;
use reqwest::Response;
use serde_json::Value;
use sqlx::Row;
use testkit::{Accounting, Catch, Fleet, Process, Protocol, Proxy, Way, eventually_seen};

use crate::support::{
    PATIENCE, PATIENT, Recovery, database, report, request, submit, until_completed, with_long_leases,
};

const DATABASE: &str = "FLEET__DATABASE__URL";

/// A page's stream that survives its server.
struct Page {
    answer: Option<Response>,
    unread: String,
    last_id: Option<String>,
    /// How often each (job, kind) was received, in the order of arrival.
    told: Vec<(String, String)>,
}

impl Page {
    async fn open(&mut self, fleet: &Fleet, url: &str) {
        let mut call = fleet.client.get(format!("{url}/api/events"));
        if let Some(id) = &self.last_id {
            call = call.header("Last-Event-ID", id);
        }
        self.unread.clear();
        self.answer = call.send().await.ok();
    }

    /// Reads the next part; `false` if the stream has ended or is silent.
    async fn read(&mut self) -> bool {
        let Some(answer) = &mut self.answer else { return false };
        let piece = tokio::time::timeout(Duration::from_secs(1), answer.chunk()).await;
        let Ok(Ok(Some(bytes))) = piece else { return piece.is_err() };
        self.unread.push_str(&String::from_utf8_lossy(&bytes));
        while let Some(end) = self.unread.find("\n\n") {
            let event: String = self.unread.drain(..end + 2).collect();
            self.take(&event);
        }
        true
    }

    fn take(&mut self, event: &str) {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        if let Some(id) = field("id:") {
            self.last_id = Some(id.to_owned());
        }
        if field("event:") == Some("state")
            && let Some(Ok(data)) = field("data:").map(serde_json::from_str::<Value>)
        {
            let word = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
            self.told.push((word("job_id"), word("kind")));
        }
    }
}

/// Goal: a replica dies under a page and a batch of submissions. The page continues at the other one from where it was and
/// receives every event once; every submission is one job.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_moves_to_the_other_replica_without_a_gap() {
    let fleet = Fleet::prepare(with_long_leases()).await;
    let mut first = fleet.api();
    fleet.until_api_ready().await;
    let (_second, other_url) = fleet.another_api("api-2");
    let (_scheduler, _worker) = (fleet.scheduler("scheduler"), fleet.quick_worker("worker", &[]));
    let book = Accounting::default();
    let urls = [fleet.api_url.clone(), other_url.clone()];
    let mut page = Page { answer: None, unread: String::new(), last_id: None, told: Vec::new() };
    page.open(&fleet, &urls[0]).await;
    while page.last_id.is_none() {
        assert!(page.read().await, "the stream states its position");
    }
    let submit = async {
        let mut ids = Vec::new();
        let way = Way { client: &fleet.client, urls: &urls, token: None, patience: PATIENCE };
        for seed in 0..8 {
            let key = format!("seed-{seed}");
            ids.push(book.submit(&way, &key, &request(seed)).await);
        }
        ids
    };
    let watch = async {
        while page.told.len() < 6 {
            assert!(page.read().await, "the stream continues");
        }
        first.kill();
        page.open(&fleet, &other_url).await;
    };
    let (ids, ()) = tokio::join!(submit, watch);
    let all_ended = |page: &Page| ids.iter().all(|id| page.told.contains(&(id.clone(), "completed".to_owned())));
    let deadline = std::time::Instant::now() + PATIENCE;
    while !all_ended(&page) {
        assert!(std::time::Instant::now() < deadline, "{:?}", page.told);
        if !page.read().await {
            page.open(&fleet, &other_url).await;
        }
    }
    let mut told: BTreeMap<(String, String), i64> = BTreeMap::new();
    for event in page.told {
        *told.entry(event).or_default() += 1;
    }
    let mut rows = database(&fleet).await;
    let written = sqlx::query("SELECT job_id::text, kind, count(*) FROM job_events GROUP BY 1, 2");
    let written = written.fetch_all(&mut rows).await.expect("the events");
    let written: BTreeMap<_, _> = written.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect();
    assert_eq!(told, written, "what the page received and what happened");
}

async fn until_leading(scheduler: &Process, times: usize) {
    eventually_seen("it leads", || async {
        let found = scheduler.log().lines().filter(|line| line.contains("INFO leading epoch")).count();
        if found >= times { Ok(()) } else { Err(scheduler.log()) }
    })
    .await;
}

/// Goal: one of two schedulers leads. The leader is paused in the middle of a dispatch and resumes when the other leads:
/// its release is refused. Then the new leader dies after a release that it had not published: the first one publishes it.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_sleeps_or_dies_in_a_dispatch_releases_nothing_twice() {
    // Only a change of leaders publishes again.
    let options = with_long_leases().with("FLEET__SCHEDULER__REANNOUNCE_MIN_S", "600");
    let fleet = Fleet::prepare(options.with("FLEET__SCHEDULER__REANNOUNCE_MAX_S", "600")).await;
    let _api = fleet.api();
    fleet.until_api_ready().await;
    let (first_way, second_way) = (
        Proxy::start(Protocol::Postgres, fleet.variable(DATABASE)),
        Proxy::start(Protocol::Postgres, fleet.variable(DATABASE)),
    );
    let through = |proxy: &Proxy| proxy.through(fleet.variable(DATABASE));
    let sleeper = fleet.scheduler_with("sleeper", &[(DATABASE, &through(&first_way)), PATIENT]);
    until_leading(&sleeper, 1).await;
    let mut other = fleet.scheduler_with("other", &[(DATABASE, &through(&second_way))]);
    let _worker = fleet.quick_worker("worker", &[]);
    let book = Accounting::default();

    first_way.arm("release_jobs", Catch::Hold);
    let first = submit(&fleet, &book, 1).await;
    first_way.until_sprung().await;
    let recovery = Recovery::begins();
    sleeper.signal(Signal::SIGSTOP);
    until_leading(&other, 1).await;
    recovery.over("leading scheduler paused; the other one leads");
    until_completed(&fleet, std::slice::from_ref(&first)).await;
    sleeper.signal(Signal::SIGCONT);
    first_way.release();
    eventually_seen("it learns that another one leads", || async {
        if sleeper.log().contains("no longer leading") { Ok(()) } else { Err(sleeper.log()) }
    })
    .await;

    second_way.arm("release_jobs", Catch::LoseReply);
    let second = submit(&fleet, &book, 2).await;
    second_way.until_sprung().await;
    let recovery = Recovery::begins();
    other.kill();
    until_completed(&fleet, std::slice::from_ref(&second)).await;
    recovery.over("leading scheduler killed after a release it had not announced; the job is done");
    until_leading(&sleeper, 2).await;

    let mut rows = database(&fleet).await;
    let twice = "SELECT count(*) FROM (SELECT FROM job_events WHERE kind = 'scheduled' GROUP BY job_id
                 HAVING count(*) > 1) AS twice";
    let twice: i64 = sqlx::query_scalar(twice).fetch_one(&mut rows).await.expect("a count");
    assert_eq!(twice, 0, "jobs that were released twice");
    let report = report(&fleet, &book).await;
    report.assert_all_completed_once();
    assert_eq!(report.duplicate_executions, 0, "{report}");
}
