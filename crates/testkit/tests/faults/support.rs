//! What the fault tests share: settings that detect a dead process within seconds, and helpers that read rows and videos.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use testkit::{Accounting, Fleet, FleetOptions, Report, Way, eventually_seen};

/// Long, because it only matters when something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Short leases, sweeps and timeouts. The cache is off, so that every run reaches the `encode` gate.
pub(crate) fn impatient() -> FleetOptions {
    let variables = [
        ("ENABLE_CACHE", "false"),
        ("FLEET__WORKER__LEASE_S", "5"),
        ("FLEET__WORKER__HEARTBEAT_S", "1"),
        ("FLEET__WORKER__CHECKPOINT_EVERY_S", "1"),
        ("FLEET__WORKER__POLL_MS", "200"),
        ("FLEET__SCHEDULER__POLL_MS", "200"),
        ("FLEET__SCHEDULER__SWEEP_MS", "300"),
        ("FLEET__SCHEDULER__BACKOFF_MIN_S", "1"),
        ("FLEET__SCHEDULER__BACKOFF_MAX_S", "2"),
        ("FLEET__SCHEDULER__LEADER_TTL_S", "3"),
        ("FLEET__SCHEDULER__REANNOUNCE_MIN_S", "1"),
        ("FLEET__SCHEDULER__REANNOUNCE_MAX_S", "2"),
        ("FLEET__SCHEDULER__WORKER_GONE_S", "6"),
        // Faults that the test causes do not count as the job's.
        ("FLEET__SCHEDULER__ATTEMPTS_MAX", "20"),
        ("FLEET__SCHEDULER__ATTEMPTS_TOTAL_MAX", "40"),
        ("FLEET__SCHEDULER__CHECKPOINT_RESUMES_MAX", "40"),
        ("FLEET__DATABASE__STATEMENT_TIMEOUT_MS", "3000"),
        ("FLEET__BROKER__HEARTBEAT_S", "2"),
        ("FLEET__BROKER__PUBLISH_TIMEOUT_MS", "1000"),
        ("FLEET__BROKER__RPC_TIMEOUT_MS", "2000"),
        ("FLEET__BROKER__RECONNECT_MAX_MS", "500"),
    ];
    variables.into_iter().fold(FleetOptions::default(), |options, (name, value)| options.with(name, value))
}

/// The same with leases that outlast the test, where none may be lost.
pub(crate) fn with_long_leases() -> FleetOptions {
    impatient().with("FLEET__WORKER__LEASE_S", "60")
}

/// The same with an orphan sweep every few seconds.
pub(crate) fn tidy(options: FleetOptions) -> FleetOptions {
    options.with("FLEET__SCHEDULER__ORPHAN_GRACE_S", "2").with("FLEET__SCHEDULER__ORPHAN_SWEEP_S", "1")
}

/// For processes whose statement the proxy holds: they must not time out before the test releases it.
pub(crate) const PATIENT: (&str, &str) = ("FLEET__DATABASE__STATEMENT_TIMEOUT_MS", "120000");

/// For workers that must not take another job while they deliver.
pub(crate) const ONE_AT_A_TIME: (&str, &str) = ("FLEET__WORKER__DELIVERIES_MAX", "0");

/// Six steps, no step cache, every field set: the same bytes each time.
pub(crate) fn request(seed: i64) -> Value {
    json!({
        "prompt": "a blue square rotates on the sand", "seed": seed, "infer_steps": 6, "step_cache": "off",
        "video_length": 33,
    })
}

/// Submits with accounting.
pub(crate) async fn submit(fleet: &Fleet, book: &Accounting, seed: i64) -> String {
    submit_as(fleet, book, &format!("seed-{seed}"), seed).await
}

/// Submits with accounting, under a key that the caller chooses.
pub(crate) async fn submit_as(fleet: &Fleet, book: &Accounting, key: &str, seed: i64) -> String {
    let urls = [fleet.api_url.clone()];
    let way = Way { client: &fleet.client, urls: &urls, token: None, patience: PATIENCE };
    book.submit(&way, key, &request(seed)).await
}

/// Waits until all these jobs are completed.
pub(crate) async fn until_completed(fleet: &Fleet, ids: &[String]) {
    for id in ids {
        let job = fleet.until_status(id, &["completed", "failed", "cancelled"]).await;
        assert_eq!(job["status"], "completed", "{job}");
    }
}

/// The videos of undisturbed runs, by seed. All recorded jobs must have ended.
pub(crate) async fn undisturbed(fleet: &Fleet, book: &Accounting, seeds: &[i64]) -> BTreeMap<i64, Vec<u8>> {
    let mut ids = Vec::new();
    for seed in seeds {
        ids.push(submit_as(fleet, book, &format!("undisturbed-{seed}"), *seed).await);
    }
    until_completed(fleet, &ids).await;
    let mut videos = BTreeMap::new();
    for (seed, id) in seeds.iter().zip(&ids) {
        videos.insert(*seed, fleet.video(id).await);
    }
    videos
}

/// The fleet's database, without a proxy.
pub(crate) async fn database(fleet: &Fleet) -> PgConnection {
    PgConnection::connect(fleet.variable("FLEET__DATABASE__URL")).await.expect("the database answers")
}

/// Waits until a counting query returns at least `wanted`.
pub(crate) async fn until_count(fleet: &Fleet, what: &str, query: &'static str, wanted: i64) {
    eventually_seen(what, || async {
        let mut database = PgConnection::connect(fleet.variable("FLEET__DATABASE__URL")).await;
        let database = database.as_mut().map_err(|error| error.to_string())?;
        let count: i64 = sqlx::query_scalar(query).fetch_one(database).await.map_err(|error| error.to_string())?;
        if count >= wanted { Ok(()) } else { Err(format!("{count} of {wanted}")) }
    })
    .await;
}

/// Running jobs that would not restart at step 0.
pub(crate) const CHECKPOINTED: &str = "SELECT count(*) FROM jobs WHERE status = 'running' AND checkpoint_step > 0";

/// Waits until a worker has registered.
pub(crate) async fn until_workers(fleet: &Fleet, wanted: i64) {
    let query = "SELECT count(*) FROM workers WHERE state <> 'gone'";
    until_count(fleet, "the workers have registered", query, wanted).await;
}

/// Compares the records with the rows and the folder's objects.
pub(crate) async fn report(fleet: &Fleet, book: &Accounting) -> Report {
    let report = book.report(fleet.variable("FLEET__DATABASE__URL"), &fleet.objects()).await;
    tell(&report.to_string());
    report
}

/// Waits until the folder holds no object that no row points to: the orphan sweep must be frequent (see [`tidy`]).
pub(crate) async fn until_nothing_left(fleet: &Fleet, book: &Accounting) {
    eventually_seen("the orphan sweep has cleaned up", || async {
        let left = book.report(fleet.variable("FLEET__DATABASE__URL"), &fleet.objects()).await.left_over;
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}

/// Seconds from a fault until recovery; `docs/reliability.md` quotes these lines.
pub(crate) struct Recovery(Instant);

impl Recovery {
    pub(crate) fn begins() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn over(&self, what: &str) {
        tell(&format!("recovery: {what}: {:.1} s", self.0.elapsed().as_secs_f64()));
    }
}

/// Shown with a failure, and by `--no-capture`.
#[expect(clippy::print_stdout, reason = "the test runner keeps it until it is requested")]
pub(crate) fn tell(line: &str) {
    println!("{line}");
}
