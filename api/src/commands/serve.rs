//! `api serve`: connects all parts, in order, and serves requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, bail};
use artifacts::Artifacts;
use axum::Router;
use broker::Broker;
use cache::EmbeddingCache;
use settings::Settings;
use store::Store;
use telemetry::{ApiMetrics, Stop, Traces};
use tokio::net::TcpListener;

use super::store_options;
use crate::models::Models;
use crate::prompt_tokens::PromptReaders;
use crate::router::router;
use crate::server::{self, ConnectionLimits};
use crate::state::{App, AppState, Parts};
use crate::{files, loras, overview, routes};

/// A trace collector that does not respond must not delay a server that is stopping.
const LAST_SPANS_MAX: Duration = Duration::from_secs(1);

/// Serves until the first stop signal, then completes open requests for at most `server.drain_s`.
///
/// # Errors
/// The settings are invalid, a port is in use, or the database is newer than this release.
pub async fn serve(mut settings: Settings) -> anyhow::Result<()> {
    telemetry::init_logging(&settings.log);
    let stop = Stop::on_signals();
    files::fit(&mut settings);
    // 1. Bind first: a port that is in use is then reported before anything waits for the database.
    let (bind, port) = (settings.server.bind, settings.server.port);
    let listener = listen(SocketAddr::new(bind, port)).await?;
    let metrics_port = settings.server.metrics_port;
    let drain = Duration::from_secs(settings.server.drain_s);

    // 2. Connect the parts, and check that access is restricted.
    let app = assemble(settings, stop.clone()).await?;
    refuse_an_open_door(&app).await?;
    // 3. Start the background tasks and, if configured, the separate port for metrics.
    overview::start(&app);
    loras::folders::start(&app);
    if metrics_port != 0 {
        let listener = listen(SocketAddr::new(bind, metrics_port)).await?;
        let alone = Router::new().route("/metrics", axum::routing::get(routes::metrics::metrics_alone));
        let served = axum::serve(listener, alone.with_state(AppState::clone(&app)));
        tokio::spawn(served.with_graceful_shutdown(stop.soft().clone().cancelled_owned()).into_future());
    }
    app.started.store(true, Ordering::Release);
    tracing::info!(address = %listener.local_addr()?, keys = app.keys_required, "serving");

    // 4. Serve until a stop signal, then give open requests some time to complete.
    let limits = connection_limits(&app.settings);
    let served = server::serve(listener, router(AppState::clone(&app)), limits, stop.soft().clone());
    let impatience = async {
        stop.soft().cancelled().await;
        tokio::select! {
            () = stop.hard().cancelled() => {}
            () = tokio::time::sleep(drain) => {}
        }
    };
    tokio::select! {
        () = served => {}
        () = impatience => tracing::warn!("stopping although some requests are still open: the drain time is over"),
    }
    app.traces.finish(if stop.hard().is_cancelled() { Duration::ZERO } else { LAST_SPANS_MAX }).await;
    tracing::info!("stopped");
    Ok(())
}

/// Limits of the server's connections.
#[must_use]
pub fn connection_limits(settings: &Settings) -> ConnectionLimits {
    ConnectionLimits {
        connections_max: settings.server.connections_max,
        header_timeout: Duration::from_secs(settings.server.header_timeout_s),
    }
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("listen on {address}; is the port in use by another program?"))
}

/// Connects all parts. The API starts even if a dependency is unavailable; its health and its responses then say so.
///
/// # Errors
/// The settings are invalid, or the database is newer than this release.
pub async fn assemble(settings: Settings, stop: Stop) -> anyhow::Result<AppState> {
    let manifests = settings.models.manifests()?;
    let models = Models::new(settings.models.default.clone(), manifests.clone());
    models.find(None).map_err(|error| anyhow::anyhow!("models.default: {}", error.reason))?;
    let planner = settings.planner();
    let steps = &settings.optimization;
    tracing::info!(
        adaptive_steps = steps.adaptive_steps,
        learned_steps = steps.learned_steps,
        "Optimization: plans adapt to the prompt"
    );

    let store = Store::connect_lazy(&store_options(&settings.database)).context("read the database settings")?;
    let prepared = store.prepare(settings.database.migrate_on_start, manifests.iter(), stop.soft().cancelled());
    if !prepared.await.context("prepare the database")? {
        bail!("stopped while waiting for the database");
    }
    // Tokenizers of a large vocabulary take a second to load.
    let folders = settings.models.clone();
    let prompt_readers = tokio::task::spawn_blocking(move || PromptReaders::of_folders(&folders, &manifests))
        .await
        .context("load the tokenizers")?;
    let parts = Parts {
        broker: Broker::connect(&settings.broker, "api"),
        cache: EmbeddingCache::open(&settings.redis, &settings.cache).context("read the redis settings")?,
        artifacts: Artifacts::open(&settings.artifacts).context("open the object store")?,
        metrics: Arc::new(ApiMetrics::default()),
        traces: Traces::start(&settings.telemetry, "api")?,
        settings,
        store,
        models,
        prompt_readers,
        stop,
    };
    Ok(App::start(parts, planner))
}

/// Refuses to serve other machines without keys, unless the settings allow it explicitly.
async fn refuse_an_open_door(app: &App) -> anyhow::Result<()> {
    let server = &app.settings.server;
    if server.bind.is_loopback() {
        return Ok(());
    }
    if !app.keys_required {
        if server.open_to_all {
            tracing::warn!(bind = %server.bind, "serving without keys to every machine that can reach this address");
            return Ok(());
        }
        bail!(
            "server.keys is off and server.bind is {}: anyone who can reach this address could submit jobs and see all of them. \
               Turn keys on, or set server.open_to_all = true",
            server.bind
        );
    }
    let keys = app.store.list_keys(None).await.context("look for keys")?;
    if keys.iter().all(|key| key.revoked_at.is_some()) {
        bail!(
            "server.bind is {} and there is no API key yet: issue one with `api keys issue --role admin`, \
               or set server.open_to_all = true with server.keys = \"off\"",
            server.bind
        );
    }
    Ok(())
}
