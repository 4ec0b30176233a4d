//! Many workers without models, for `benches/scale/run`: each registers, consumes its pool's queue, claims, renews its lease, reports
//! steps and completes its job, as `worker/src/fleet` does. A job only takes time. Prints one line of JSON.
//!
//! They share connections to RabbitMQ (a channel each) and a pool to Postgres, so that one process can be ten thousand of them. The
//! number of Postgres connections of separate workers behind a pooler is what `crates/store/tests/it/pooler.rs` checks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use broker::{Broker, FleetEvent};
use clap::Parser;
use domain::worker::WorkerInfo;
use domain::{
    CacheMatch, LeaseToken, ModelManifest, PoolId, Progress, Rendered, RunRecord, Savings, Stage, StageSeconds,
    TenantId, VideoRequest, WorkerId,
};
use futures::StreamExt;
use settings::Settings;
use store::jobs::{NewJob, Scope};
use store::leases::{ClaimOutcome, ClaimedJob, ProgressMark};
use store::workers::{RegisterOutcome, WorkerState};
use store::{Lease, Store, StoreOptions};

/// Workers that share a connection to RabbitMQ; it allows 2,047 channels by default.
const CHANNELS: usize = 250;
/// Memory of each worker: enough for every job of the embedded model.
const MEMORY_BYTES: u64 = 4 << 30;
/// Jobs in one INSERT of the feeder.
const BATCH: usize = 500;

/// Simulates workers, and keeps the backlog filled.
#[derive(Debug, Clone, Parser)]
struct Arguments {
    /// Number of workers.
    #[arg(long)]
    workers: usize,
    /// Length of a job, seconds; each differs by up to a fifth.
    #[arg(long)]
    job_s: f64,
    /// Steps of a job, each reported.
    #[arg(long, default_value_t = 25)]
    steps: u32,
    /// Length of the measured time, seconds.
    #[arg(long)]
    seconds: f64,
    /// Jobs that are kept waiting.
    #[arg(long, default_value_t = 20_000)]
    waiting: u64,
    /// Tenants that submit in turns.
    #[arg(long, default_value_t = 100)]
    tenants: usize,
}

#[derive(Debug, Default)]
struct Counts {
    completed: AtomicU64,
    lost: AtomicU64,
    failed_calls: AtomicU64,
    /// Statements of workers.
    calls: AtomicU64,
    /// Workers that have a job now.
    busy: AtomicU64,
    /// Messages whose job was not waiting any more.
    stale: AtomicU64,
    /// Time without a job until a message came, and from there until the claim was answered, milliseconds.
    listening_ms: AtomicU64,
    claiming_ms: AtomicU64,
}

/// What all workers share.
struct Fleet {
    store: Store,
    manifest: ModelManifest,
    pool: PoolId,
    settings: Settings,
    arguments: Arguments,
    counts: Counts,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let settings = Settings::load().context("read the settings")?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(run(settings, arguments))
}

async fn run(settings: Settings, arguments: Arguments) -> anyhow::Result<()> {
    let mut options = StoreOptions::new(settings.database.url.expose());
    options.connections_max = settings.database.pool_max;
    options.acquire_timeout_ms = 60_000;
    options.application_name = "simulated workers".to_owned();
    let store = Store::connect(&options).await.context("connect to Postgres")?;
    let manifest = settings.models.manifests()?.into_iter().next().context("a model folder")?;
    let pool = PoolId::of_worker(&manifest.id, MEMORY_BYTES);
    let fleet = Arc::new(Fleet { store, manifest, pool, settings, arguments, counts: Counts::default() });
    let brokers: Vec<Broker> = (0..fleet.arguments.workers.div_ceil(CHANNELS))
        .map(|_| Broker::connect(&fleet.settings.broker, "simulated workers"))
        .collect();
    let ids: Vec<WorkerId> = (0..fleet.arguments.workers).map(|_| WorkerId::fresh()).collect();
    let registered: Vec<anyhow::Result<()>> =
        futures::stream::iter(ids.iter().enumerate().map(|(number, id)| register(&fleet, number, *id)))
            .buffer_unordered(16)
            .collect()
            .await;
    registered.into_iter().collect::<anyhow::Result<()>>()?;
    tokio::spawn(feed(Arc::clone(&fleet)));
    for (number, id) in ids.into_iter().enumerate() {
        tokio::spawn(work(Arc::clone(&fleet), brokers[number / CHANNELS].clone(), id, number));
    }
    // The first wave of jobs starts at once, so the measured time begins after it.
    tokio::time::sleep(Duration::from_secs_f64(fleet.arguments.job_s)).await;
    say("begin");
    let before = snapshot(&fleet.counts);
    let begun = Instant::now();
    let busy_share = observe_busy(&fleet, Duration::from_secs_f64(fleet.arguments.seconds)).await;
    let (after, seconds) = (snapshot(&fleet.counts), begun.elapsed().as_secs_f64());
    let since = |at: usize| after[at] - before[at];
    #[expect(clippy::cast_precision_loss, reason = "counters of minutes")]
    let line = serde_line(&[
        ("seconds", seconds),
        ("completed", since(0) as f64),
        ("jobs_per_s", since(0) as f64 / seconds),
        ("leases_lost", since(1) as f64),
        ("failed_calls", since(2) as f64),
        ("calls_per_s", since(3) as f64 / seconds),
        ("idle_share", 1.0 - busy_share),
        ("stale_messages", since(4) as f64),
        ("listened_s", since(5) as f64 / 1e3 / since(0).max(1) as f64),
        ("claimed_within_s", since(6) as f64 / 1e3 / since(0).max(1) as f64),
    ]);
    say(&line);
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the result of this program")]
fn say(line: &str) {
    println!("{line}");
}

fn serde_line(numbers: &[(&str, f64)]) -> String {
    let members: Vec<String> = numbers.iter().map(|(name, number)| format!("\"{name}\": {number:.4}")).collect();
    format!("{{{}}}", members.join(", "))
}

/// Share of workers with a job, looked at every second for this time.
async fn observe_busy(fleet: &Fleet, time: Duration) -> f64 {
    let (begun, mut looks, mut busy) = (Instant::now(), 0_u64, 0_u64);
    while begun.elapsed() < time {
        tokio::time::sleep(Duration::from_secs(1)).await;
        looks += 1;
        busy += fleet.counts.busy.load(Ordering::Relaxed);
    }
    #[expect(clippy::cast_precision_loss, reason = "counters of minutes")]
    let share = busy as f64 / (looks.max(1) as f64 * fleet.arguments.workers as f64);
    share
}

fn snapshot(counts: &Counts) -> [u64; 7] {
    let waits = [&counts.stale, &counts.listening_ms, &counts.claiming_ms];
    let [stale, listening, claiming] = waits.map(|counter| counter.load(Ordering::Relaxed));
    let [completed, lost, failed, calls] = [&counts.completed, &counts.lost, &counts.failed_calls, &counts.calls]
        .map(|counter| counter.load(Ordering::Relaxed));
    [completed, lost, failed, calls, stale, listening, claiming]
}

async fn register(fleet: &Fleet, number: usize, id: WorkerId) -> anyhow::Result<()> {
    let info = WorkerInfo {
        id,
        name: format!("simulated {number:05}"),
        pool: fleet.pool.clone(),
        model_id: fleet.manifest.id.clone(),
        model_fingerprint: fleet.manifest.fingerprint.weights.clone(),
        device: "simulated".to_owned(),
        device_class: "simulated".to_owned(),
        build: "simulated".to_owned(),
        threads: 1,
        attention: None,
        memory_bytes: MEMORY_BYTES,
        slots: 1,
        formats: "simulated".to_owned(),
        gpu_hour_usd: 0.0,
        batch_max: 1,
        batch_tokens: 0,
        devices: 1,
    };
    match fleet.store.register_worker(&info).await? {
        RegisterOutcome::Registered => Ok(()),
        other => bail!("not registered: {other:?}"),
    }
}

/// Keeps the backlog at its length.
async fn feed(fleet: Arc<Fleet>) {
    let limits = fleet.settings.request_limits();
    let mut request = VideoRequest::new("a large red circle moves to the right on the snow");
    request.fill_guidance(&fleet.manifest);
    let shape = request.validate(&limits, &fleet.manifest).expect("the request is valid");
    let mut tenants = Vec::new();
    for number in 0..fleet.arguments.tenants {
        if let Ok(tenant) = fleet.store.ensure_tenant(&format!("tenant {number}")).await {
            tenants.push(tenant.id);
        }
    }
    loop {
        let running = fleet.arguments.workers as u64;
        let most = fleet.arguments.waiting + running;
        let depth = fleet.store.backlog_count(Scope::Fleet, most).await.unwrap_or(most);
        let missing = usize::try_from(most.saturating_sub(depth)).unwrap_or_default();
        let new = |number: usize| {
            let tenant: TenantId = tenants[number % tenants.len()];
            NewJob::new(tenant, request.clone(), &fleet.manifest.id, shape)
        };
        let jobs: Vec<NewJob> = (0..missing).map(new).collect();
        for batch in jobs.chunks(BATCH) {
            if fleet.store.insert_batch(batch).await.is_err() {
                fleet.counts.failed_calls.fetch_add(1, Ordering::Relaxed);
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// One worker: waits for a message, claims, runs, and so on. Its heartbeats begin at a moment of its own.
async fn work(fleet: Arc<Fleet>, broker: Broker, id: WorkerId, number: usize) {
    let beat = Duration::from_secs(fleet.settings.worker.heartbeat_s);
    let share = u32::try_from(number % 1_000).unwrap_or_default();
    tokio::time::sleep(beat * share / 1_000).await;
    let mut ready = broker.ready(fleet.pool.clone());
    let mut beats = heartbeats(beat);
    let mut idle_since = Instant::now();
    loop {
        let delivered = tokio::select! {
            delivered = ready.next() => delivered,
            _ = beats.tick() => {
                note(&fleet, fleet.store.heartbeat(id, WorkerState::Ready, None).await.is_ok());
                continue;
            }
        };
        let message = delivered.ready.clone();
        let heard_at = Instant::now();
        add(&fleet.counts.listening_ms, heard_at - idle_since);
        let lease_s = seconds(fleet.settings.worker.lease_s);
        let claim = fleet.store.claim(message.job_id, message.dispatch_no, LeaseToken::fresh(), id, lease_s).await;
        note(&fleet, claim.is_ok());
        add(&fleet.counts.claiming_ms, heard_at.elapsed());
        delivered.ack().await;
        for extra in ready.take_extra() {
            note(&fleet, fleet.store.unrelease(extra.ready.job_id, extra.ready.dispatch_no).await.is_ok());
            extra.ack().await;
        }
        if let Ok(ClaimOutcome::Claimed(claimed)) = claim {
            fleet.counts.busy.fetch_add(1, Ordering::Relaxed);
            render(&fleet, &broker, id, number, *claimed).await;
            fleet.counts.busy.fetch_sub(1, Ordering::Relaxed);
        } else {
            fleet.counts.stale.fetch_add(1, Ordering::Relaxed);
        }
        idle_since = Instant::now();
    }
}

/// Lets a job's time pass, with its renewals and steps, and completes it.
async fn render(fleet: &Fleet, broker: &Broker, id: WorkerId, number: usize, claimed: ClaimedJob) {
    let begun = Instant::now();
    let (lease, steps) = (claimed.lease, fleet.arguments.steps.max(1));
    let lease_s = seconds(fleet.settings.worker.lease_s);
    // From 0.8 to 1.2 times the length, so that jobs do not end together.
    let varied = 0.8 + 0.4 * f64::from(u32::try_from(number * 7_919 % 1_000).unwrap_or_default()) / 1_000.0;
    let step = Duration::from_secs_f64(fleet.arguments.job_s * varied / f64::from(steps));
    let mut beats = heartbeats(Duration::from_secs(fleet.settings.worker.heartbeat_s));
    let mut step_at = Box::pin(tokio::time::sleep(step));
    let row_every = 4 * Duration::from_millis(fleet.settings.worker.progress_ms);
    let (mut done, mut written_at) = (0, begun);
    while done < steps {
        tokio::select! {
            _ = beats.tick() => {
                let (renewed, beat) = tokio::join!(
                    fleet.store.renew(lease, lease_s),
                    fleet.store.heartbeat(id, WorkerState::Busy, Some(lease.job_id))
                );
                note(fleet, renewed.is_ok() && beat.is_ok());
            }
            () = &mut step_at => {
                done += 1;
                step_at.set(tokio::time::sleep(step));
                // As a worker does: the row is updated a quarter as often as events are published.
                if written_at.elapsed() >= row_every {
                    written_at = Instant::now();
                    let mark = ProgressMark { stage: Stage::Denoise, step: done, steps_skipped: 0 };
                    note(fleet, fleet.store.progress(lease, mark).await.is_ok());
                }
                broker.tell(FleetEvent::Progress(progress(&claimed, done, steps)));
            }
        }
    }
    let completed = fleet.store.complete(lease, &rendered(lease), &record(begun.elapsed().as_secs_f64())).await;
    note(fleet, completed.is_ok());
    let counter = if completed.is_ok() { &fleet.counts.completed } else { &fleet.counts.lost };
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Ticks that a slow database delays instead of letting them pile up.
fn heartbeats(beat: Duration) -> tokio::time::Interval {
    let mut beats = tokio::time::interval(beat);
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    beats
}

fn note(fleet: &Fleet, fine: bool) {
    fleet.counts.calls.fetch_add(1, Ordering::Relaxed);
    if !fine {
        fleet.counts.failed_calls.fetch_add(1, Ordering::Relaxed);
    }
}

fn add(counter: &AtomicU64, time: Duration) {
    counter.fetch_add(u64::try_from(time.as_millis()).unwrap_or_default(), Ordering::Relaxed);
}

fn progress(claimed: &ClaimedJob, step: u32, steps: u32) -> Progress {
    let (job_id, tenant_id) = (claimed.job.id, claimed.job.tenant_id);
    Progress { job_id, tenant_id, stage: Stage::Denoise, step, steps, skipped: 0, remaining_s: None }
}

fn rendered(lease: Lease) -> Rendered {
    let prefix = format!("{}/{}", lease.job_id, lease.token);
    Rendered { video_key: format!("{prefix}/video.mp4"), poster_key: format!("{prefix}/poster.jpg"), video_bytes: 1 }
}

fn record(run_s: f64) -> RunRecord {
    RunRecord {
        cache_match: CacheMatch::Miss,
        cache_score: None,
        steps_computed: 25,
        steps_skipped: 0,
        stages: StageSeconds { denoise_s: run_s, ..StageSeconds::default() },
        interpolation: None,
        progressive: None,
        batch: None,
        devices: 1,
        device: "simulated".to_owned(),
        build: "simulated".to_owned(),
        resumed_from: None,
        restarted_because: None,
        adapters: Vec::new(),
        convergence: Vec::new(),
        gpu_seconds: run_s,
        cost_usd: 0.0,
        saved_s: 0.0,
        saved_usd: 0.0,
        savings: Savings::default(),
        reproduction: None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a setting of seconds")]
fn seconds(value: u64) -> f64 {
    value as f64
}
