//! The subcommands of the `api` program.

pub mod fleet_size;
pub mod healthcheck;
pub mod keys;
pub mod migrate;
pub mod models;
pub mod openapi;
pub mod serve;
pub mod workers;

use store::StoreOptions;

/// Connection options from the settings, as this process uses them.
#[must_use]
pub fn store_options(settings: &settings::DatabaseSettings) -> StoreOptions {
    let mut options = StoreOptions::new(settings.url.expose());
    options.connections_max = settings.pool_max;
    options.connections_min = settings.pool_min;
    options.acquire_timeout_ms = settings.acquire_timeout_ms;
    options.statement_timeout_ms = settings.statement_timeout_ms;
    options.idle_timeout_s = settings.idle_timeout_s;
    "api".clone_into(&mut options.application_name);
    options
}
