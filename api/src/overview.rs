//! What the API remembers of the fleet between requests: worker pools, models that workers brought, learnt estimates.
//!
//! Read again on a clock, so that no request pays for it. Stale by at most the pause; nothing is decided by it.

use std::time::Duration;

use domain::JobStatus;
use optimizer::{CostBook, CostRecord, RunFacts};
use store::StoreError;
use store::jobs::{JobFilter, Scope};

use crate::planning::Planner;
use crate::state::{App, AppState};

/// Pause between looks at the workers.
const POOLS_EVERY: Duration = Duration::from_secs(2);
/// Looks at the workers between two looks at models and finished runs.
const RARELY: u32 = 15;
/// Newest finished runs that estimates are fitted to.
const RUNS_MAX: u32 = 1_000;

/// Starts looking.
pub fn start(app: &AppState) {
    let app = AppState::clone(app);
    tokio::spawn(async move {
        let mut looks = 0_u32;
        loop {
            let looked = look(&app, looks.is_multiple_of(RARELY)).await;
            services(&app, looked.is_ok()).await;
            if let Err(error) = looked {
                tracing::debug!(error = %error, "cannot look at the fleet");
            }
            looks = looks.wrapping_add(1);
            tokio::select! {
                () = app.stop.soft().cancelled() => return,
                () = tokio::time::sleep(POOLS_EVERY) => {}
            }
        }
    });
}

/// Tells the metrics which services answer.
async fn services(app: &App, database: bool) {
    app.metrics.dependency("postgres", database);
    app.metrics.dependency("rabbitmq", app.broker.is_connected());
    app.metrics.dependency("redis", !app.cache.is_enabled() || app.cache.ping().await);
    app.metrics.unreadable(app.broker.unreadable());
}

async fn look(app: &App, also_rare: bool) -> Result<(), StoreError> {
    #[expect(clippy::cast_precision_loss, reason = "a setting of seconds")]
    let alive_s = app.settings.scheduler.worker_gone_s as f64;
    app.set_pools(app.store.pools(alive_s).await?);
    if also_rare {
        app.models.add(app.store.models().await?);
        let costs = fit(app).await?;
        app.set_planner(Planner { costs, ..Planner::clone(&app.planner()) });
    }
    Ok(())
}

/// Fits the estimates to the newest finished runs.
async fn fit(app: &App) -> Result<CostBook, StoreError> {
    let filter = JobFilter { statuses: vec![JobStatus::Completed], ..JobFilter::default() };
    let scan_max = app.settings.limits.list_scan_max;
    let newest = app.store.list(Scope::Fleet, &filter, None, RUNS_MAX, scan_max).await?.jobs;
    // Newest first in the list, oldest first for the fit.
    let records: Vec<CostRecord> = newest
        .iter()
        .rev()
        .filter_map(|job| {
            let (plan, record) = (job.plan.as_ref()?, job.record.as_ref()?);
            let model_id = job.request.model.as_deref()?;
            let run = RunFacts {
                model_id,
                worker_class: &record.device,
                request: &job.request,
                shape: &job.shape,
                plan,
                record,
            };
            CostRecord::of(&run)
        })
        .collect();
    let models = app.models.all();
    let priors = models.iter().map(|(id, manifest)| (id.as_str(), &manifest.cost_prior));
    Ok(CostBook::fit(priors, &records, app.settings.fit_rules()))
}
