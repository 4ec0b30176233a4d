//! Everything is killed at random while several tenants submit, and at moments that chance would miss; afterwards all jobs must be
//! accounted for. `scripts/verify.d/storm` runs the same with three thousand jobs for minutes.
//!
//! [`stage`] holds what is killed, [`aimed`] the table of faults that hit a certain moment.

mod aimed;
mod stage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use testkit::{Accounting, Fleet, FleetOptions, PrivateStack, Way, eventually, eventually_seen};
use tokio::task::JoinSet;

use self::aimed::{AIMED, Archer};
use self::stage::Stage;

use crate::ledger::assert_ledger_balances;
use crate::support::{database, impatient, request, tell, tidy};

/// Size of the run: from variables, otherwise the short form.
struct Size {
    jobs: i64,
    seconds: u64,
    seed: u64,
}

impl Size {
    fn from_environment() -> Self {
        let number = |name: &str, default: u64| {
            std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}?")))
        };
        Self {
            jobs: i64::try_from(number("FLEET_STORM_JOBS", 60)).expect("not that many"),
            seconds: number("FLEET_STORM_SECONDS", 20),
            seed: number("FLEET_STORM_SEED", 1),
        }
    }

    /// Time limits allow for a slow machine.
    fn patience(&self) -> Duration {
        Duration::from_secs(240 + self.seconds + 3 * u64::try_from(self.jobs).unwrap_or_default())
    }
}

/// A small generator (xorshift): the same faults in the same order for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// The tenants: name and percentage of the jobs. The small one submits last and must not wait for the large one.
const TENANTS: [(&str, i64); 3] = [("large", 60), ("middle", 25), ("small", 15)];

/// By how many of the longest jobs one tenant may be ahead of another: a round releases several jobs at once.
const UNFAIR_MAX: f64 = 8.0;

/// States that no worker changes: the job has ended, or is a draft that waits.
const CALM: [&str; 4] = ["drafted", "completed", "failed", "cancelled"];

/// Faults of all kinds in turn, until the time is over and each aimed fault has happened.
async fn rage(stage: &mut Stage, archer: &mut Archer, size: &Size) {
    let mut dice = Dice(size.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let end = Instant::now() + Duration::from_secs(size.seconds);
    let mut strikes = 0_u32;
    while Instant::now() < end || !archer.is_done() {
        strikes += 1;
        match strikes % 4 {
            0 => stage.hit_a_service(),
            2 => archer.shoot(stage, size).await,
            3 if !archer.is_done() => archer.shoot(stage, size).await,
            _ => stage.hit_a_process(&mut dice).await,
        }
        tokio::time::sleep(Duration::from_millis(dice.below(1_200))).await;
    }
}

/// Goal: lost 0, duplicated artifacts 0, every job completed, no row, object or message remaining, the small tenant did not wait for
/// the large one's backlog, and the cost ledger equals a recount.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_loses_nothing_and_leaves_nothing_behind() {
    let size = Size::from_environment();
    let stack = PrivateStack::start();
    let options = FleetOptions { services: Some(stack.services.clone()), ..tidy(impatient()) }
        .with("ENABLE_CACHE", "true")
        .with("FLEET__WORKER__BATCH_MAX", "4")
        .with("FLEET__SERVER__KEYS", "on");
    let fleet = Arc::new(Fleet::prepare(options).await);
    let book = Arc::new(Accounting::default());
    let mut stage = Stage::set(Arc::clone(&fleet), Arc::clone(&book), stack);
    fleet.until_api_ready().await;
    let mut archer = Archer::new(&stage);
    let clients = submit_all(&fleet, &book, &size);
    rage(&mut stage, &mut archer, &size).await;
    let calm = Instant::now();
    clients.join_all().await;
    until_all_ended(&fleet, &size).await;
    let settled_s = calm.elapsed().as_secs();
    let report = until_nothing_left(&fleet, &book, &size).await;
    let (faults, seed) = (std::mem::take(&mut stage.faults), size.seed);
    tell(&format!("storm, seed {seed}: {report}"));
    for (fault, times) in &faults {
        tell(&format!("  {times:>4} x {fault}"));
    }
    tell(&format!("all jobs ended {settled_s} s after the last fault"));
    report.assert_all_completed_once();
    assert_eq!(report.accepted, u64::try_from(size.jobs).expect("a count") + archer.submitted);
    let missing: Vec<_> = AIMED.iter().map(|aimed| aimed.name).filter(|name| !faults.contains_key(*name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    until_no_message_waits(&fleet).await;
    assert_order_is_fair(&fleet).await;
    assert_ledger_balances(&fleet).await;
}

/// Both replicas of the API.
fn addresses(fleet: &Fleet) -> [String; 2] {
    [fleet.api_url.clone(), format!("http://127.0.0.1:{}", fleet.second_port())]
}

/// Three clients, one per tenant; the small one submits when the others' jobs are already queued.
fn submit_all(fleet: &Arc<Fleet>, book: &Arc<Accounting>, size: &Size) -> JoinSet<()> {
    let urls = addresses(fleet);
    let mut clients = JoinSet::new();
    let (mut first, patience) = (0, size.patience());
    for (at, (tenant, share)) in TENANTS.iter().enumerate() {
        let last = if at + 1 == TENANTS.len() { size.jobs } else { first + size.jobs * share / 100 };
        let token = fleet.issue_key(tenant);
        let (client, urls, book) = (fleet.client.clone(), urls.clone(), Arc::clone(book));
        let (tenant, seeds, before) = (*tenant, first..last, usize::try_from(first / 2).unwrap_or_default());
        first = last;
        clients.spawn(async move {
            let waiting = || async { (book.accepted().len() >= before).then_some(()) };
            eventually("the other tenants have submitted", patience, waiting).await;
            let way = Way { client: &client, urls: &urls, token: Some(&token), patience };
            for seed in seeds {
                let key = format!("{tenant}-{seed}");
                book.submit(&way, &key, &stormy(seed)).await;
            }
        });
    }
    clients
}

/// Every fourth job is a draft, which a client continues when it sees it.
fn stormy(seed: i64) -> serde_json::Value {
    let mut request = request(seed);
    if seed % 4 == 0 {
        request["mode"] = serde_json::json!("draft");
    }
    request
}

/// Continues the drafts of all tenants, as their owners would. A call that fails is made again.
async fn continue_drafts(fleet: &Fleet) {
    let drafts =
        "SELECT jobs.id::text, tenants.name FROM jobs JOIN tenants ON tenants.id = tenant_id WHERE status = 'drafted'";
    let drafts: Vec<(String, String)> =
        sqlx::query_as(drafts).fetch_all(&mut database(fleet).await).await.unwrap_or_default();
    let mut tokens = BTreeMap::new();
    for (job, tenant) in drafts {
        let token = tokens.entry(tenant.clone()).or_insert_with(|| fleet.issue_key(&tenant));
        let url = format!("{}/api/jobs/{job}/continue", fleet.api_url);
        drop(fleet.client.post(url).bearer_auth(token).send().await);
    }
}

async fn until_all_ended(fleet: &Fleet, size: &Size) {
    eventually("all jobs have ended", size.patience(), || async {
        continue_drafts(fleet).await;
        let mut database = database(fleet).await;
        let open = "SELECT count(*) FROM jobs WHERE status NOT IN ('completed', 'failed', 'cancelled')";
        let open: i64 = sqlx::query_scalar(open).fetch_one(&mut database).await.ok()?;
        (open == 0).then_some(())
    })
    .await;
}

/// The orphan sweep removes what crashes left in the object store.
async fn until_nothing_left(fleet: &Fleet, book: &Accounting, size: &Size) -> testkit::Report {
    eventually("the orphan sweep has cleaned up", size.patience(), || async {
        let report = book.report(fleet.variable("FLEET__DATABASE__URL"), &fleet.objects()).await;
        report.left_over.is_empty().then_some(report)
    })
    .await
}

/// A message that is still queued is a hint without a job: a free worker takes it, finds nothing to claim, and acks it.
async fn until_no_message_waits(fleet: &Fleet) {
    eventually_seen("every message was taken and acked", || async {
        let queues = fleet.vhost.queue_levels().await;
        let known = ["dead-letter", "submitted"].iter().all(|name| queues.iter().any(|queue| queue.name == *name));
        let empty = queues.iter().all(|queue| queue.messages == Some(0));
        if known && empty { Ok(()) } else { Err(format!("{queues:?}")) }
    })
    .await;
}

/// Start-time fair queueing: while a job of the small tenant waited, the large one was released about as much as the small
/// one, and not its whole backlog. What was planned while the machine was starved counts as what was planned before.
async fn assert_order_is_fair(fleet: &Fleet) {
    let mut database = database(fleet).await;
    let overtaken: f64 = sqlx::query_scalar(
        "WITH told AS (
             SELECT tenants.name, GREATEST(min(jobs.share_s), 1) AS cost,
                 min(seq) FILTER (WHERE kind = 'queued') AS submitted,
                 min(seq) FILTER (WHERE kind = 'scheduled') AS released
             FROM job_events JOIN jobs ON jobs.id = job_id JOIN tenants ON tenants.id = jobs.tenant_id
             WHERE tenants.name <> 'aimed'
             GROUP BY job_id, tenants.name
         )
         SELECT COALESCE(max(
             (SELECT COALESCE(sum(CASE name WHEN 'large' THEN cost WHEN 'small' THEN -cost END), 0) FROM told
                 WHERE released > own.submitted AND released < own.released)
             / (SELECT max(cost) FROM told)), 0)::float8
         FROM told AS own WHERE name = 'small'",
    )
    .fetch_one(&mut database)
    .await
    .expect("the releases");
    assert!(
        overtaken <= UNFAIR_MAX,
        "the large tenant got {overtaken:.1} more jobs released while the small one waited"
    );
}
