//! The state that handlers share: one struct of cheaply cloned handles, built once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use artifacts::Artifacts;
use broker::Broker;
use cache::EmbeddingCache;
use domain::{Job, Plan, RequestLimits, Tier};
use optimizer::Planner;
use optimizer::deadline::{QueueLoad, wait_s};
use settings::Settings;
use store::Store;
use store::dispatch::PoolLoad;
use telemetry::{ApiMetrics, Stop, Traces};
use tokio::sync::Semaphore;

use crate::announce::Announcer;
use crate::auth::{KeyRing, KnownHosts};
use crate::dto::job::JobView;
use crate::ingest::{Ingest, LaneOptions};
use crate::limits::{Backlog, Budgets, Quotas, RateLimiter};
use crate::live::{OpenAccess, StreamPlaces, Tail, TailOptions};
use crate::models::Models;
use crate::openai::Refusals;
use crate::prompt_tokens::PromptReaders;

/// Most events that a stream reads at once.
pub(crate) const EVENTS_PAGE: u32 = 500;
/// Number of items that a stream may lag behind the tail before it reads the database itself.
const TAIL_BUFFER: usize = 4_096;

/// The state of every handler.
pub type AppState = Arc<App>;

/// Everything that handlers use.
pub struct App {
    /// All settings.
    pub settings: Settings,
    /// Limits of request fields.
    pub request_limits: RequestLimits,
    /// Whether callers must authenticate.
    pub keys_required: bool,
    /// Hosts that requests may name while keys are off.
    pub hosts: KnownHosts,
    /// Postgres.
    pub store: Store,
    /// RabbitMQ.
    pub broker: Broker,
    /// Redis, for `cache_available` and statistics.
    pub cache: EmbeddingCache,
    /// The object store.
    pub artifacts: Artifacts,
    /// Writes submissions in micro-batches.
    pub ingest: Ingest,
    /// Sends hints to the rest of the fleet.
    pub announcer: Announcer,
    /// Submission rate of each key.
    pub rate: RateLimiter,
    /// Limit of waiting jobs.
    pub backlog: Backlog,
    /// Quotas of keys.
    pub quotas: Quotas,
    /// What tenants may spend.
    pub budgets: Budgets,
    /// Refused submissions of `/v1` whose retries may come.
    pub(crate) refusals: Refusals,
    /// API keys.
    pub keys: KeyRing,
    /// Events and progress for event streams.
    pub tail: Tail,
    /// Places of event streams.
    pub(crate) streams: StreamPlaces,
    /// One permit for each picture that may be decoded at the same time.
    pub decodes: Arc<Semaphore>,
    /// Keys and sessions of open event streams.
    pub access: OpenAccess,
    /// Models by id.
    pub models: Models,
    /// Their tokenizers.
    pub prompt_readers: PromptReaders,
    /// Counters and histograms.
    pub metrics: Arc<ApiMetrics>,
    /// Spans of requests and submissions.
    pub(crate) traces: Traces,
    /// First (soft) and second (hard) stop signal.
    pub stop: Stop,
    /// Set once the start is complete.
    pub started: AtomicBool,
    planner: RwLock<Arc<Planner>>,
    pools: RwLock<Arc<Vec<PoolLoad>>>,
}

/// The parts from which [`App`] is built.
pub struct Parts {
    /// All settings.
    pub settings: Settings,
    /// Postgres.
    pub store: Store,
    /// RabbitMQ.
    pub broker: Broker,
    /// Redis.
    pub cache: EmbeddingCache,
    /// The object store.
    pub artifacts: Artifacts,
    /// Models from this machine's model folders.
    pub models: Models,
    /// Tokenizers from these folders.
    pub prompt_readers: PromptReaders,
    /// Counters and histograms.
    pub metrics: Arc<ApiMetrics>,
    /// Spans.
    pub traces: Traces,
    /// Stop signals.
    pub stop: Stop,
}

impl App {
    /// Builds the state and starts the background tasks: ingest, announcements and the event tail.
    #[must_use]
    pub fn start(parts: Parts, planner: Planner) -> AppState {
        let Parts { settings, store, broker, cache, artifacts, models, prompt_readers, metrics, traces, stop } = parts;
        let (server, limits) = (&settings.server, &settings.limits);
        let tail_options =
            TailOptions { poll: Duration::from_millis(server.sse_poll_ms), page: EVENTS_PAGE, buffer: TAIL_BUFFER };
        let tail = Tail::start(store.clone(), broker.health(), tail_options, stop.soft().clone());
        tail.hear(&broker, store.clone(), stop.soft().clone());
        let announcer = Announcer::start(broker.clone(), tail.clone(), limits.ingest_queue_max);
        let lanes = LaneOptions {
            rows_max: limits.ingest_rows_max,
            lanes: limits.ingest_lanes,
            queue_max: limits.ingest_queue_max,
        };
        Arc::new(Self {
            request_limits: settings.request_limits(),
            keys_required: server.keys_required(),
            hosts: KnownHosts::new(server.bind, &server.hosts),
            ingest: Ingest::start(store.clone(), announcer.clone(), Arc::clone(&metrics), lanes),
            announcer,
            rate: RateLimiter::new(limits.submissions_per_minute, limits.submissions_burst),
            backlog: Backlog::new(store.clone(), limits.backlog_max, limits.tenant_max(server.keys_required())),
            quotas: Quotas::new(store.clone(), settings.cost.gpu_hour_usd),
            budgets: Budgets::new(store.clone()),
            refusals: Refusals::default(),
            keys: KeyRing::new(store.clone(), Duration::from_secs(server.key_cache_s)),
            tail,
            access: OpenAccess::start(
                store.clone(),
                Duration::from_secs(server.key_cache_s.max(1)),
                stop.soft().clone(),
            ),
            decodes: Arc::new(Semaphore::new(limits.image_decodes_max)),
            streams: StreamPlaces::new(server.sse_streams_max, server.keys_required()),
            models,
            prompt_readers,
            metrics,
            traces,
            stop,
            started: AtomicBool::new(false),
            planner: RwLock::new(Arc::new(planner)),
            pools: RwLock::default(),
            store,
            broker,
            cache,
            artifacts,
            settings,
        })
    }

    /// The current planner.
    #[must_use]
    pub fn planner(&self) -> Arc<Planner> {
        Arc::clone(&self.planner.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the planner, after new runs have changed its estimates.
    pub(crate) fn set_planner(&self, planner: Planner) {
        *self.planner.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(planner);
    }

    /// The worker pools as last read from the database.
    #[must_use]
    pub fn pools(&self) -> Arc<Vec<PoolLoad>> {
        Arc::clone(&self.pools.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Stores the worker pools.
    pub(crate) fn set_pools(&self, pools: Vec<PoolLoad>) {
        *self.pools.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pools);
    }

    /// Whether the start is complete and no stop was requested.
    #[must_use]
    pub(crate) fn is_ready(&self) -> bool {
        self.started.load(Ordering::Acquire) && !self.stop.soft().is_cancelled()
    }

    /// A job as JSON, with a forecast while it has no plan.
    #[must_use]
    pub fn view(&self, job: Job, queue_wait_s: Option<f64>) -> JobView {
        let forecast = if job.plan.is_some() { None } else { self.forecast(&job) };
        self.view_forecast(job, forecast.as_ref(), queue_wait_s)
    }

    /// The same with a forecast that the caller knows.
    #[must_use]
    pub(crate) fn view_forecast(&self, job: Job, forecast: Option<&Plan>, queue_wait_s: Option<f64>) -> JobView {
        let manifest = self.models.find(job.request.model.as_deref()).ok();
        let prompt_tokens = manifest.and_then(|manifest| self.prompt_readers.view(&manifest, &job.request));
        JobView { prompt_tokens, ..JobView::new(job, forecast, queue_wait_s) }
    }

    /// Many jobs as JSON, in their order. Counting the tokens of many long prompts takes a while, so it has a thread of its own.
    pub(crate) async fn views(self: &Arc<Self>, jobs: Vec<Job>) -> Vec<JobView> {
        let app = Arc::clone(self);
        let made = tokio::task::spawn_blocking(move || jobs.into_iter().map(|job| app.view(job, None)).collect());
        made.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// The plan that a stored job would get now; `None` if its model is unknown.
    #[must_use]
    pub(crate) fn forecast(&self, job: &Job) -> Option<Plan> {
        let manifest = self.models.find(job.request.model.as_deref()).ok()?;
        Some(self.planner().plan_stored(&job.request, &manifest, &job.shape))
    }

    /// Estimated seconds until a worker starts a waiting job: the jobs before it and the remainder of the running ones, each assumed
    /// to be as long as this job, divided by the slots that can run it. `None` without a plan, a position or a suitable worker.
    #[must_use]
    pub(crate) fn queue_wait_s(&self, job: &Job) -> Option<f64> {
        let (plan, ahead) = (job.plan.as_ref()?, job.queue_position?);
        let model_id = job.request.model.as_deref()?;
        let (slots, running) = self.slots_for(model_id, plan.memory_bytes, plan.tier);
        wait_s(&QueueLoad { slots, running, ahead: ahead.unsigned_abs(), mean_s: plan.estimate_s })
    }

    /// Slots of the live workers that can run a job of this model and size, and how many of them are in use. Workers with more devices
    /// than others of the model count for the premium tier only.
    #[must_use]
    pub(crate) fn slots_for(&self, model_id: &str, memory_bytes: u64, tier: Tier) -> (u32, u32) {
        let (pools, planner) = (self.pools(), self.planner());
        let sum = |devices_max: u32| {
            let fitting = pools.iter().filter(|load| load.pool.model_id() == model_id && load.pool.holds(memory_bytes));
            let own = fitting.filter(|load| load.pool.devices() <= devices_max);
            own.fold((0, 0), |sum, load| (sum.0 + load.slots, sum.1 + load.running))
        };
        let own = sum(planner.devices.get(model_id).map_or(u32::MAX, |devices| devices.of(tier)));
        // Where no other worker holds the job, those with more devices take it.
        if own.0 > 0 { own } else { sum(u32::MAX) }
    }
}
