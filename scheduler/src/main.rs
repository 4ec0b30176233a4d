//! The scheduler: plans jobs, releases them fairest first, finds what got lost.
//!
//! Any number of schedulers may run; one leads, by a row with an epoch that every statement of its work compares. It
//! keeps nothing in memory that it could not do without: after a restart the rows say what is to be done.
//!
//! # Reading order
//! [`lead`] becoming and staying the leader; [`round`] what is done when the doorbell rings; [`plan`], [`dispatch`] its
//! two halves; [`sweep`] what is done whether it rings or not; [`levels`] what it tells Prometheus; [`janitor`] what can wait; [`brain`] what was learnt.

mod brain;
mod dispatch;
mod janitor;
mod lead;
mod levels;
mod plan;
mod round;
mod sight;
mod sweep;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context, bail};
use artifacts::Artifacts;
use brain::Brain;
use broker::Broker;
use clap::Parser;
use domain::ModelManifest;
use optimizer::{Profiles, Switches};
use settings::Settings;
use store::{Store, StoreOptions};
use telemetry::{Health, SchedulerMetrics, Stop};

/// Connections of a scheduler: planning, releasing, sweeps, metrics and the janitor use one at a time each.
const CONNECTIONS: u32 = 7;
/// Connections of [`Scheduler::vital`].
const VITAL_CONNECTIONS: u32 = 2;

/// The fleet's scheduler.
#[derive(Debug, Parser)]
#[command(name = "scheduler", version, about = "Plans jobs, releases them to workers and finds what got lost")]
struct Arguments {}

/// Everything that the scheduler's parts need.
pub(crate) struct Scheduler {
    pub(crate) settings: Settings,
    pub(crate) store: Store,
    /// The same database on connections of its own, for what must not wait behind long statements: leadership and
    /// [`sight`].
    pub(crate) vital: Store,
    pub(crate) broker: Broker,
    pub(crate) artifacts: Artifacts,
    pub(crate) models: BTreeMap<String, ModelManifest>,
    pub(crate) profiles: Profiles,
    pub(crate) switches: Switches,
    pub(crate) metrics: Arc<SchedulerMetrics>,
    brain: RwLock<Arc<Brain>>,
}

impl Scheduler {
    /// What was learnt so far.
    pub(crate) fn brain(&self) -> Arc<Brain> {
        Arc::clone(&self.brain.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn learn(&self, brain: Brain) {
        *self.brain.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(brain);
    }

    /// Silence after which a worker counts as gone, seconds.
    pub(crate) fn worker_gone_s(&self) -> f64 {
        seconds(self.settings.scheduler.worker_gone_s)
    }
}

/// Whole seconds as the store takes them.
#[expect(clippy::cast_precision_loss, reason = "seconds of settings")]
pub(crate) fn seconds(value: u64) -> f64 {
    value as f64
}

fn main() -> anyhow::Result<()> {
    Arguments::parse();
    let settings = Settings::load().context("read the settings")?;
    telemetry::init_logging(&settings.log);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let served = runtime.block_on(serve(settings));
    runtime.shutdown_background();
    served
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let stop = Stop::on_signals();
    let health = Health::new();
    let metrics = Arc::new(SchedulerMetrics::default());
    let rendered = Arc::clone(&metrics);
    let render = move || rendered.render();
    let (bind, port) = (settings.scheduler.metrics_bind, settings.scheduler.metrics_port);
    telemetry::serve_admin(bind, port, health.clone(), render, stop.hard().clone()).await?;
    let database = health.part("database");

    let scheduler = Arc::new(assemble(settings, metrics)?);
    let migrate = scheduler.settings.database.migrate_on_start;
    let prepared = scheduler.store.prepare(migrate, scheduler.models.values(), stop.soft().cancelled());
    if !prepared.await.context("prepare the database")? {
        bail!("stopped while waiting for the database");
    }
    database.ok();
    let leading = lead::run(Arc::clone(&scheduler), database, stop.clone());
    tokio::select! {
        () = leading => {}
        () = stop.hard().cancelled() => {}
    }
    tracing::info!("stopped");
    Ok(())
}

fn assemble(settings: Settings, metrics: Arc<SchedulerMetrics>) -> anyhow::Result<Scheduler> {
    let models = settings.models.manifests()?.into_iter().map(|manifest| (manifest.id.clone(), manifest)).collect();
    let options = StoreOptions {
        connections_max: CONNECTIONS,
        acquire_timeout_ms: settings.database.acquire_timeout_ms,
        idle_timeout_s: settings.database.idle_timeout_s,
        statement_timeout_ms: settings.database.statement_timeout_ms,
        application_name: "scheduler".to_owned(),
        ..StoreOptions::new(settings.database.url.expose())
    };
    let vital = StoreOptions { connections_max: VITAL_CONNECTIONS, ..options.clone() };
    Ok(Scheduler {
        vital: Store::connect_lazy(&vital).context("read the database settings")?,
        store: Store::connect_lazy(&options).context("read the database settings")?,
        broker: Broker::connect(&settings.broker, "scheduler"),
        artifacts: Artifacts::open(&settings.artifacts).context("open the object store")?,
        models,
        profiles: settings.profiles(),
        switches: settings.switches(),
        metrics,
        brain: RwLock::default(),
        settings,
    })
}
