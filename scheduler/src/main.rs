//! The scheduler: plans jobs, releases them to workers in fair order, and recovers lost jobs.
//!
//! Any number of schedulers may run. One of them is the leader. The leadership is a database row with an epoch, which every
//! statement of the leader's work compares. It keeps nothing in memory that it cannot rebuild from the rows after a restart.
//!
//! # Reading order
//! [`state`]: what all parts share; [`lead`]: becoming and staying the leader; [`round`]: planning and releasing, concurrently, with
//! [`plan`], [`dispatch`], [`divide`] (workers with one device and with several) and [`texts`] (which jobs can be rendered together);
//! [`announce`]: messages about released jobs; [`sight`]: whether the database was up; [`sweep`]: what happens at intervals, with
//! [`reannounce`] (lost messages); [`levels`]: the fleet's metrics; [`janitor`]: what is not urgent; [`brain`]: what was learned from finished runs; [`notify`]:
//! webhooks, which every scheduler sends.

mod announce;
mod brain;
mod dispatch;
mod divide;
mod janitor;
mod judge;
mod lead;
mod levels;
mod notify;
mod plan;
mod preempt;
mod reannounce;
mod round;
mod sight;
mod state;
mod sweep;
mod texts;
mod timing;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use settings::Settings;
use state::Scheduler;
use telemetry::{Health, SchedulerMetrics, Stop};

/// A trace collector that does not respond must not delay a scheduler that is stopping.
const LAST_SPANS_MAX: Duration = Duration::from_secs(1);

/// The fleet's scheduler.
#[derive(Debug, Parser)]
#[command(name = "scheduler", version, about = "Plans jobs, releases them to workers and recovers lost jobs")]
struct Arguments {}

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

    let scheduler = Arc::new(Scheduler::assemble(settings, metrics)?);
    let sender = notify::sender(&scheduler)?;
    let migrate = scheduler.settings.database.migrate_on_start;
    let prepared = scheduler.store.prepare(migrate, scheduler.own_models.iter(), stop.soft().cancelled());
    if !prepared.await.context("prepare the database")? {
        bail!("stopped while waiting for the database");
    }
    database.ok();
    let traces = scheduler.traces.clone();
    let leading = lead::run(Arc::clone(&scheduler), database, stop.clone());
    let sending = notify::run(Arc::clone(&scheduler), sender, stop.soft().clone());
    tokio::select! {
        ((), ()) = async { tokio::join!(leading, sending) } => {}
        () = stop.hard().cancelled() => {}
    }
    traces.finish(if stop.hard().is_cancelled() { Duration::ZERO } else { LAST_SPANS_MAX }).await;
    tracing::info!("stopped");
    Ok(())
}
