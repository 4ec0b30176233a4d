//! Structured logs: text for people, JSON for machines. Prompts are logged at debug level only.

use std::io::IsTerminal;

use settings::{LogFormat, LogSettings};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Levels of libraries that would otherwise log every query or connection at info level.
const QUIET: &str = "sqlx=warn,lapin=error,object_store=warn,hyper=warn,tower_http=info";

/// Starts logging to standard error. `RUST_LOG` overrides the settings. A second call does nothing, so that tests can start parts of
/// several processes in one.
pub fn init_logging(settings: &LogSettings) {
    let wanted = std::env::var("RUST_LOG").unwrap_or_else(|_| settings.level.clone());
    let filter = EnvFilter::try_new(format!("{QUIET},{wanted}")).unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let ansi = std::io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(ansi);
    let started = match settings.format {
        LogFormat::Text => registry.with(layer.with_target(false)).try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    if started.is_ok() && EnvFilter::try_new(&wanted).is_err() {
        tracing::warn!(filter = wanted, "the log filter is not valid; logging at info level");
    }
}
