//! The state that all parts of a scheduler share.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::Context;
use artifacts::Artifacts;
use broker::Broker;
use domain::ModelManifest;
use optimizer::Planner;
use settings::Settings;
use store::{Store, StoreError, StoreOptions};
use telemetry::{SchedulerMetrics, Traces};
use tracing::warn;

use crate::announce::Announcer;
use crate::texts::Texts;
use crate::timing::seconds;

/// Most connections of [`Scheduler::vital`].
const VITAL_CONNECTIONS: u32 = 2;

/// Settings and connections of a scheduler.
pub(crate) struct Scheduler {
    pub(crate) settings: Settings,
    pub(crate) store: Store,
    /// The same database through separate connections, for what must not wait behind long statements: leadership and
    /// [`crate::sight`].
    pub(crate) vital: Store,
    pub(crate) broker: Broker,
    pub(crate) announcer: Announcer,
    pub(crate) artifacts: Artifacts,
    /// Manifests of this process's own model folders, which it registers at start.
    pub(crate) own_models: Vec<ModelManifest>,
    pub(crate) metrics: Arc<SchedulerMetrics>,
    /// Spans of traced jobs.
    pub(crate) traces: Traces,
    /// What the text encoders read of prompts.
    pub(crate) texts: Arc<Texts>,
    models: RwLock<Arc<Models>>,
    planner: RwLock<Arc<Planner>>,
}

/// Manifests by model id.
pub(crate) type Models = BTreeMap<String, ModelManifest>;

impl Scheduler {
    /// Reads the model folders and prepares the connections, without connecting yet.
    ///
    /// # Errors
    /// A model folder, the address of a service, the object store or the trace collector is invalid.
    pub(crate) fn assemble(settings: Settings, metrics: Arc<SchedulerMetrics>) -> anyhow::Result<Self> {
        let own_models = settings.models.manifests()?;
        let models: Models = own_models.iter().map(|manifest| (manifest.id.clone(), manifest.clone())).collect();
        let options = StoreOptions {
            connections_max: settings.database.pool_max,
            connections_min: settings.database.pool_min,
            acquire_timeout_ms: settings.database.acquire_timeout_ms,
            idle_timeout_s: settings.database.idle_timeout_s,
            statement_timeout_ms: settings.database.statement_timeout_ms,
            application_name: "scheduler".to_owned(),
            ..StoreOptions::new(settings.database.url.expose())
        };
        let vital = StoreOptions { connections_max: VITAL_CONNECTIONS, ..options.clone() };
        let broker = Broker::connect(&settings.broker, "scheduler");
        Ok(Self {
            vital: Store::connect_lazy(&vital).context("read the database settings")?,
            store: Store::connect_lazy(&options).context("read the database settings")?,
            announcer: Announcer::new(broker.clone(), Arc::clone(&metrics)),
            broker,
            artifacts: Artifacts::open(&settings.artifacts).context("open the object store")?,
            texts: Arc::default(),
            models: RwLock::new(Arc::new(models)),
            own_models,
            metrics,
            traces: Traces::start(&settings.telemetry, "scheduler")?,
            planner: RwLock::new(Arc::new(settings.planner())),
            settings,
        })
    }

    /// The models that jobs are planned for.
    pub(crate) fn models(&self) -> Arc<Models> {
        Arc::clone(&self.models.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over the models that are registered in the database, which may be more than this process has folders of. A
    /// model whose manifest this release cannot read is left out: its jobs wait, and all others are planned.
    ///
    /// # Errors
    /// The database's; the models then stay as they were.
    pub(crate) async fn refresh_models(&self) -> Result<(), StoreError> {
        let mut models = Models::new();
        for registered in self.store.models().await? {
            match registered.manifest {
                Ok(manifest) => drop(models.insert(registered.id, manifest)),
                Err(error) => {
                    warn!(
                        model = registered.id, %error,
                        "jobs of this model wait: the manifest cannot be read; run the same release everywhere"
                    );
                }
            }
        }
        *self.models.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(models);
        Ok(())
    }

    /// The current planner.
    pub(crate) fn planner(&self) -> Arc<Planner> {
        Arc::clone(&self.planner.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the planner under one lock: learning and releasing change different parts of it at the same time.
    pub(crate) fn change_planner(&self, change: impl FnOnce(&mut Planner)) {
        change(Arc::make_mut(&mut *self.planner.write().unwrap_or_else(PoisonError::into_inner)));
    }

    /// Time without a heartbeat after which a worker is considered gone, in seconds.
    pub(crate) fn worker_gone_s(&self) -> f64 {
        seconds(self.settings.scheduler.worker_gone_s)
    }
}
