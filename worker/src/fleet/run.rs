//! Starts the parts of the worker, and stops them in order.
//!
//! The first stop signal: take nothing new, hand each job back from its last step boundary, leave. The second: leave now.
//! A model that does not stop in time is left behind with the process; its lease ends by itself.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use artifacts::Artifacts;
use broker::{Broker, FleetEvent};
use cache::EmbeddingCache;
use domain::lifecycle::AttemptLimits;
use domain::worker::WorkerInfo;
use domain::{ModelManifest, PoolId, WorkerId};
use optimizer::CostModel;
use optimizer::cost::on_devices;
use settings::{DatabaseSettings, DtypeChoice, EncoderResidence, Settings, WeightStorage, WorkerSettings};
use store::leases::RetryPolicy;
use store::{Store, StoreOptions};
use telemetry::{Health, Stop, Traces, WorkerMetrics};
use tracing::{Instrument as _, info, warn};

use super::deliveries::Deliveries;
use super::heart::{Heart, Rhythm};
use super::loras::{self, Merged};
use super::slot::Slot;
use super::take::{Source, Taken};
use super::{BatchRule, Fleet, RunLimit, device, job, register, selftest, tokenizers};
use crate::engine::{Dtype, EngineThread, HunyuanRenderer, LoadOptions, Renderer, Residency, Storage, check_manifest};
use crate::mp4::Encoder;
use crate::ranks::Devices;

/// Most connections of the main part; the heartbeat has one of its own. A larger `database.pool_max` is meant for API and scheduler.
const CONNECTIONS: u32 = 4;
/// The worker stops this share of a lease before the lease expires in the database.
const MARGIN_SHARE: u32 = 5;
/// A database or a trace collector that does not respond must not delay a worker that is stopping.
const SIGN_OFF_MAX: Duration = Duration::from_secs(1);
/// A wait for another device ends well before the worker counts as hanging.
const RANK_WAITS: u32 = 2;
/// How often memory and load of the device are noted.
const OBSERVE_EVERY: Duration = Duration::from_secs(5);

/// `worker run`: joins the fleet and works until it is stopped.
///
/// # Errors
/// Settings, model or device that cannot be used.
pub fn run() -> anyhow::Result<()> {
    run_with(HunyuanRenderer::load)
}

/// The same with another renderer, which `load` makes on the model's thread.
///
/// # Errors
/// As [`run`].
pub fn run_with<R, F>(load: F) -> anyhow::Result<()>
where
    R: Renderer,
    F: FnOnce(&LoadOptions) -> anyhow::Result<R> + Send + 'static,
{
    let settings = Settings::load().context("read the settings")?;
    telemetry::init_logging(&settings.log);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let worked = runtime.block_on(work(settings, load));
    // Threads that still block (a hanging model, an ffmpeg) must not keep the process alive.
    runtime.shutdown_background();
    worked
}

async fn work<R, F>(settings: Settings, load: F) -> anyhow::Result<()>
where
    R: Renderer,
    F: FnOnce(&LoadOptions) -> anyhow::Result<R> + Send + 'static,
{
    let begun = Instant::now();
    let stop = Stop::on_signals();
    let health = Health::new();
    let metrics = Arc::new(WorkerMetrics::default());
    let worker = &settings.worker;
    let rendered = Arc::clone(&metrics);
    let render = move || rendered.render();
    telemetry::serve_admin(worker.metrics_bind, worker.metrics_port, health.clone(), render, stop.hard().clone())
        .await?;

    let (model, work) = (health.part("model"), health.part("work"));
    let manifest = settings::read_manifest(&worker.model_dir)?;
    let engine = start_engine(&settings, &manifest, load).await?;
    model.ok();
    let fleet = Arc::new(assemble(&settings, manifest, engine, metrics, &stop)?);
    let info = worker_info(&settings, &fleet);
    if !selftest::until_deliverable(&fleet, &work, stop.soft()).await {
        return Ok(());
    }
    tokio::spawn(tokenizers::publish(Arc::clone(&fleet), worker.model_dir.clone()));
    register::register(&fleet.store, &fleet.broker.user(), &info, stop.soft()).await?;
    loras::report(&fleet, String::new(), true).await;
    let ready_s = begun.elapsed().as_secs_f64();
    fleet.metrics.ready_seconds.set(ready_s);
    info!(ready_s, "ready");
    start_heart(&fleet, &settings, &stop)?;
    tokio::spawn(hear_cancels(Arc::clone(&fleet)));
    tokio::spawn(stay_registered(Arc::clone(&fleet), info, stop.clone()));
    tokio::spawn(observe(Arc::clone(&fleet)));

    let consumer = fleet.broker.ready(fleet.pool.clone());
    let source = Source::new(Arc::clone(&fleet), consumer, Duration::from_millis(worker.poll_ms), work);
    let drained = tokio::spawn(drain(Arc::clone(&fleet), stop.clone(), Duration::from_secs(worker.drain_s)));
    tokio::select! {
        () = serve(Arc::clone(&fleet), source) => info!("nothing left to do"),
        () = stop.hard().cancelled() => warn!("leaving at once; the lease will run out"),
        _ = drained => warn!("the job could not be handed back in time; its lease will run out"),
    }
    let reason = fleet.leaving.get().map(String::as_str);
    match tokio::time::timeout(SIGN_OFF_MAX, fleet.store.worker_gone(fleet.worker_id, reason)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(%error, "could not sign off"),
        Err(_) => warn!("the database did not confirm the sign-off in time"),
    }
    fleet.broker.tell(FleetEvent::WorkerChanged { worker_id: fleet.worker_id });
    fleet.traces.finish(if stop.hard().is_cancelled() { Duration::ZERO } else { SIGN_OFF_MAX }).await;
    Ok(())
}

async fn serve(fleet: Arc<Fleet>, mut source: Source) {
    let mut deliveries = Deliveries::new(fleet.deliveries_max);
    while let Some(taken) = Box::pin(source.next(&fleet.nothing_new)).await {
        fleet.metrics.slots(1, 1);
        Box::pin(render(&fleet, &source, taken, &deliveries)).await;
        fleet.metrics.slots(0, 1);
        if !fleet.engine.is_alive() {
            fleet.leave("the model's thread has ended or hangs");
        }
        if fleet.leaving.get().is_some() {
            break;
        }
    }
    if let Some(reason) = fleet.leaving.get() {
        // The supervisor starts a new process, which loads the model again.
        warn!(reason, "leaving");
    }
    // They need no model. A drain has interrupted them, so that they hand their jobs back.
    deliveries.finished().await;
}

/// Renders a job, and those that can share its forward passes. It waits for none of them: they join when they have been claimed.
async fn render(fleet: &Arc<Fleet>, source: &Source, taken: Taken, deliveries: &Deliveries) {
    let run = |taken: Taken| {
        let log_span = taken.job.trace.log_span();
        Box::pin(job::run(fleet, taken.job, taken.sent_at, deliveries).instrument(log_span))
    };
    let lead = taken.job.clone();
    let others = async {
        let companions = source.companions(&lead).await;
        futures::future::join_all(companions.into_iter().map(run)).await
    };
    tokio::join!(run(taken), others);
}

/// Resolves when a drain has lasted too long.
async fn drain(fleet: Arc<Fleet>, stop: Stop, limit: Duration) {
    stop.soft().cancelled().await;
    fleet.heart.drain();
    tokio::time::sleep(limit).await;
}

/// A message is only a hint; the row says whether the job is to stop.
async fn hear_cancels(fleet: Arc<Fleet>) {
    let mut cancels = fleet.broker.cancels();
    loop {
        if let FleetEvent::CancelRequested { job_id, .. } = cancels.next().await {
            fleet.heart.look_at(job_id);
        }
    }
}

/// A worker that the fleet considers lost (it was silent for too long) registers again as soon as it can.
async fn stay_registered(fleet: Arc<Fleet>, info: WorkerInfo, stop: Stop) {
    let mut known = fleet.heart.known();
    while known.wait_for(|known| !known).await.is_ok() {
        warn!("the fleet considers this worker gone; registering again");
        if let Err(error) = register::register(&fleet.store, &fleet.broker.user(), &info, stop.soft()).await {
            warn!(error = format!("{error:#}"), "cannot stay in the fleet");
            stop.ask();
            return;
        }
        // The fleet may have forgotten what this worker reported.
        loras::report(&fleet, fleet.merged(), true).await;
        if known.wait_for(|known| *known).await.is_err() {
            return;
        }
    }
}

async fn observe(fleet: Arc<Fleet>) {
    loop {
        let (metrics, info) = (&fleet.metrics, fleet.engine.info());
        device::observe(metrics, &info.device, info.memory_bytes);
        metrics.count_busy();
        metrics.unreadable(fleet.broker.unreadable());
        metrics.unreadable_rows(store::unreadable_rows());
        metrics.dependency("rabbitmq", fleet.broker.is_connected());
        metrics.dependency("postgres", fleet.store.ping().await.is_ok());
        metrics.dependency("redis", !fleet.cache.is_enabled() || fleet.cache.ping().await);
        metrics.cache_errors(fleet.cache.errors());
        tokio::time::sleep(OBSERVE_EVERY).await;
    }
}

async fn start_engine<R, F>(all: &Settings, manifest: &ModelManifest, load: F) -> anyhow::Result<EngineThread>
where
    R: Renderer,
    F: FnOnce(&LoadOptions) -> anyhow::Result<R> + Send + 'static,
{
    let settings = &all.worker;
    let devices = devices(settings)?;
    let device = devices.0[0];
    let options = LoadOptions {
        model_dir: settings.model_dir.clone(),
        device,
        rank_limit: rhythm(all, manifest).stall / RANK_WAITS,
        attention: settings.attention.forced().map(str::parse).transpose().map_err(anyhow::Error::msg)?,
        attention_library: named(&settings.attention_library),
        dtype: dtype(settings.transformer_dtype)?,
        storage: match settings.transformer_storage {
            WeightStorage::Model => Storage::Model,
            WeightStorage::Fp8 => Storage::Fp8,
        },
        encoder_dtype: dtype(settings.encoder_dtype)?,
        decoder_dtype: dtype(settings.decoder_dtype)?,
        largest: largest(manifest),
        threads: devices.threads((settings.threads > 0).then_some(settings.threads as usize)),
        devices: devices.0,
        text_encoders: match settings.encoders {
            EncoderResidence::Resident => Residency::Resident,
            EncoderResidence::OnDemand => Residency::OnDemand,
            EncoderResidence::FirstUse => Residency::FirstUse,
        },
        deterministic: settings.deterministic,
        hashes_dir: named(&settings.hashes_dir).or_else(|| Some(settings.model_dir.clone())),
        memory_bytes: device::memory_bytes(settings, device, manifest),
        interpolator_dir: all.interpolation.enabled.then(|| all.interpolation.weights_dir.clone()),
    };
    info!(model = manifest.id, folder = %settings.model_dir.display(), %device, "loading the model");
    let engine = EngineThread::start(move || load(&options)).await?;
    check_manifest(engine.info(), manifest, false)?;
    Ok(engine)
}

/// The devices by `worker.devices`, or the one by `worker.device`.
fn devices(settings: &WorkerSettings) -> anyhow::Result<Devices> {
    let (name, text) = match settings.devices.as_str() {
        "" => ("worker.device", &settings.device),
        _ => ("worker.devices", &settings.devices),
    };
    text.parse().map_err(|reason| anyhow::anyhow!("{name}: {reason}"))
}

/// A path that may be left empty.
fn named(path: &Path) -> Option<PathBuf> {
    (!path.as_os_str().is_empty()).then(|| path.to_owned())
}

fn dtype(choice: DtypeChoice) -> anyhow::Result<Option<Dtype>> {
    choice.chosen().map(str::parse).transpose().map_err(anyhow::Error::msg)
}

/// Width, height and frames of the largest video that the model folder offers.
fn largest(manifest: &ModelManifest) -> Option<[i64; 3]> {
    let sizes = manifest.sizes.iter().flat_map(|size| &size.aspects);
    let largest = sizes.max_by_key(|size| u64::from(size.width) * u64::from(size.height))?;
    Some([i64::from(largest.width), i64::from(largest.height), i64::from(manifest.length.rendered_at_max)])
}

fn assemble(
    settings: &Settings,
    manifest: ModelManifest,
    engine: EngineThread,
    metrics: Arc<WorkerMetrics>,
    stop: &Stop,
) -> anyhow::Result<Fleet> {
    let worker = &settings.worker;
    let info = engine.info();
    metrics.attention_flops.set(info.attention_flops);
    if let Some(backend) = &info.attention {
        metrics.attention(backend);
    }
    metrics.slots(0, 1);
    let scratch =
        if worker.scratch_dir.as_os_str().is_empty() { std::env::temp_dir() } else { worker.scratch_dir.clone() };
    std::fs::create_dir_all(&scratch).with_context(|| format!("worker.scratch_dir: make {}", scratch.display()))?;
    let pool = PoolId::of_devices(&manifest.id, info.memory_bytes, info.devices);
    Ok(Fleet {
        worker_id: WorkerId::fresh(),
        store: Store::connect_lazy(&store_options(&settings.database, CONNECTIONS))
            .context("read the database settings")?,
        broker: Broker::connect(&settings.broker, "worker"),
        cache: EmbeddingCache::open(&settings.redis, &settings.cache).context("read the redis settings")?,
        artifacts: Artifacts::open(&settings.artifacts).context("open the object store")?,
        heart: Heart::new(rhythm(settings, &manifest)),
        mp4: Encoder {
            ffmpeg: worker.ffmpeg.clone(),
            crf: worker.video_crf,
            stall: Duration::from_secs(worker.ffmpeg_stall_s),
        },
        cost: CostModel::from_prior(&on_devices(&manifest.cost_prior, info.devices)),
        // An hour of this worker is one of each of its devices.
        gpu_hour_usd: settings.cost.gpu_hour_usd * f64::from(info.devices),
        lease: Duration::from_secs(worker.lease_s),
        checkpoint_every: Duration::from_secs(worker.checkpoint_every_s),
        progress_every: Duration::from_millis(worker.progress_ms),
        preview_every: Duration::from_millis(worker.preview_ms),
        retries: retries(settings),
        run_limit: RunLimit { factor: worker.run_limit_factor, min: Duration::from_secs(worker.run_limit_min_s) },
        resumes_max: settings.scheduler.checkpoint_resumes_max,
        deliveries_max: worker.deliveries_max,
        batch: BatchRule::of(worker, &info.device, info.devices),
        slot: Slot::default(),
        merged: Merged::default(),
        patience: patience(settings.scheduler.affinity_delay_max_s),
        lora_cache_bytes: worker.lora_cache_bytes,
        pool,
        manifest,
        engine,
        scratch,
        leaving: OnceLock::new(),
        encoder: OnceLock::new(),
        nothing_new: stop.soft().child_token(),
        metrics,
        traces: Traces::start(&settings.telemetry, "worker")?,
    })
}

/// Half of the delay; the scheduler uses the other half.
fn patience(delay_max_s: u64) -> Option<Duration> {
    (delay_max_s > 0).then(|| Duration::from_secs(delay_max_s) / 2)
}

fn rhythm(settings: &Settings, manifest: &ModelManifest) -> Rhythm {
    let worker = &settings.worker;
    let lease = Duration::from_secs(worker.lease_s);
    // The model checks between blocks, so a whole step is already many times the expected pause between two checks.
    let stall_s = (manifest.cost_prior.step_s * worker.stall_factor)
        .max(f64::from(u32::try_from(worker.stall_min_s).unwrap_or(u32::MAX)));
    Rhythm {
        lease,
        interval: Duration::from_secs(worker.heartbeat_s),
        margin: lease / MARGIN_SHARE,
        stall: Duration::try_from_secs_f64(stall_s).unwrap_or(Duration::MAX),
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds")]
fn retries(settings: &Settings) -> RetryPolicy {
    let scheduler = &settings.scheduler;
    RetryPolicy {
        limits: AttemptLimits {
            attempts_max: scheduler.attempts_max,
            attempts_total_max: scheduler.attempts_total_max,
        },
        backoff_s: scheduler.backoff_min_s as f64,
        backoff_max_s: scheduler.backoff_max_s as f64,
    }
}

fn store_options(database: &DatabaseSettings, connections_max: u32) -> StoreOptions {
    StoreOptions {
        connections_max: connections_max.min(database.pool_max),
        // None is kept open while it is idle: ten thousand workers would hold as many connections that nobody uses.
        connections_min: 0,
        acquire_timeout_ms: database.acquire_timeout_ms,
        idle_timeout_s: database.idle_timeout_s,
        statement_timeout_ms: database.statement_timeout_ms,
        application_name: "worker".to_owned(),
        ..StoreOptions::new(database.url.expose())
    }
}

fn worker_info(settings: &Settings, fleet: &Fleet) -> WorkerInfo {
    let info = fleet.engine.info();
    let name = match settings.worker.name.as_str() {
        "" => format!("{}-{}", host_name(), std::process::id()),
        name => name.to_owned(),
    };
    WorkerInfo {
        id: fleet.worker_id,
        name,
        pool: fleet.pool.clone(),
        model_id: fleet.manifest.id.clone(),
        model_fingerprint: info.model_fingerprint.clone(),
        device: info.device.clone(),
        device_class: info.device_class.clone(),
        build: info.build.clone(),
        threads: info.threads,
        attention: info.attention.clone(),
        memory_bytes: info.memory_bytes,
        slots: 1,
        formats: info.formats.clone(),
        gpu_hour_usd: fleet.gpu_hour_usd,
        batch_max: fleet.batch.max,
        batch_tokens: fleet.batch.tokens,
        devices: info.devices,
    }
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "worker".to_owned(), |name| name.trim().to_owned())
}

fn start_heart(fleet: &Arc<Fleet>, settings: &Settings, stop: &Stop) -> anyhow::Result<()> {
    let options = store_options(&settings.database, 1);
    let connect = move || async move { Store::connect_lazy(&options).context("read the database settings") };
    fleet.heart.spawn(fleet.worker_id, stop.hard().clone(), connect)
}
