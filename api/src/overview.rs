//! What the API caches about the fleet between requests: worker pools, models, their tokenizers, estimates and learned steps.
//!
//! It is refreshed at intervals, so that no request has to wait for it. It may be outdated by one interval; it is only used for
//! forecasts and displays, never for decisions about jobs.

use std::collections::HashSet;
use std::time::Duration;

use domain::ModelManifest;
use optimizer::several::Devices;
use optimizer::{CostBook, CostRecord, Learned, Planner, RunFacts};
use store::stats::MeasuredRun;
use store::{Learning, StoreError};

use crate::state::{App, AppState};

/// Interval at which pools and learned steps are read.
const POOLS_EVERY: Duration = Duration::from_secs(2);
/// Models and finished runs are read only every this many intervals, because they change rarely and cost more to read.
const RARELY: u32 = 15;
/// Number of a model's newest finished runs that estimates are fitted to.
const RUNS_MAX: u32 = 1_000;

/// How often tokenizers are looked for that this machine lacks.
const TOKENIZERS_EVERY: Duration = Duration::from_secs(30);

/// Starts the tasks that refresh the overview; they end with the soft stop.
pub fn start(app: &AppState) {
    tokio::spawn(fetch_tokenizers(AppState::clone(app)));
    let app = AppState::clone(app);
    tokio::spawn(async move {
        let mut looks = 0_u32;
        loop {
            let looked = look(&app, looks.is_multiple_of(RARELY)).await;
            services(&app, looked.is_ok()).await;
            if let Err(error) = looked {
                tracing::debug!(error = %error, "cannot read the state of the fleet");
            }
            looks = looks.wrapping_add(1);
            tokio::select! {
                () = app.stop.soft().cancelled() => return,
                () = tokio::time::sleep(POOLS_EVERY) => {}
            }
        }
    });
}

/// Fetches the tokenizers that a worker has stored and this machine lacks. What is wrong with those of a model is logged once.
async fn fetch_tokenizers(app: AppState) {
    let mut reported = HashSet::new();
    loop {
        for manifest in app.models.in_service().values() {
            let fetched = app.prompt_readers.fetch(&app.artifacts, manifest).await;
            if let Err(error) = fetched
                && reported.insert(manifest.fingerprint.encoders.clone())
            {
                let error = format!("{error:#}");
                tracing::warn!(model = %manifest.id, error, "the tokens of this model's prompts are not counted");
            }
        }
        tokio::select! {
            () = app.stop.soft().cancelled() => return,
            () = tokio::time::sleep(TOKENIZERS_EVERY) => {}
        }
    }
}

/// Records in the metrics which services are reachable.
async fn services(app: &App, database: bool) {
    app.metrics.dependency("postgres", database);
    app.metrics.dependency("rabbitmq", app.broker.is_connected());
    app.metrics.dependency("redis", !app.cache.is_enabled() || app.cache.ping().await);
    app.metrics.unreadable(app.broker.unreadable());
    app.metrics.unreadable_rows(store::unreadable_rows());
}

async fn look(app: &App, also_rare: bool) -> Result<(), StoreError> {
    #[expect(clippy::cast_precision_loss, reason = "a setting of seconds")]
    let alive_s = app.settings.scheduler.worker_gone_s as f64;
    app.set_pools(app.store.pools(alive_s).await?);
    let Learning { learned, .. } = app.store.learning::<Learned>().await?;
    let devices = Devices::by_model(app.pools().iter().filter(|load| load.workers > 0).map(|load| &load.pool));
    let mut planner = Planner { learned, devices, ..Planner::clone(&app.planner()) };
    if also_rare {
        app.models.take_over(app.store.models().await?);
        planner.costs = fit(app).await?;
    }
    app.set_planner(planner);
    Ok(())
}

/// Fits the estimates to the newest finished runs.
async fn fit(app: &App) -> Result<CostBook, StoreError> {
    let models = app.models.all();
    let mut records = Vec::new();
    for manifest in models.values() {
        let newest = app.store.recent_runs(&manifest.id, RUNS_MAX).await?;
        // The store returns the newest first; the fit needs the oldest first.
        records.extend(newest.iter().rev().filter_map(|run| record(manifest, run)));
    }
    let priors = models.iter().map(|(id, manifest)| (id.as_str(), &manifest.cost_prior));
    Ok(CostBook::fit(priors, &records, app.settings.estimate_rules()))
}

fn record(manifest: &ModelManifest, run: &MeasuredRun) -> Option<CostRecord> {
    CostRecord::of(&RunFacts {
        model_id: &manifest.id,
        worker_class: &run.record.device,
        request: &run.request,
        tokens: run.shape.tokens(&manifest.geometry),
        plan: &run.plan,
        record: &run.record,
    })
}
