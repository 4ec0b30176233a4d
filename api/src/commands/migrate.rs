//! `api migrate`: migrates the database schema, for deployments that do this in a separate step.

use anyhow::Context as _;
use settings::Settings;
use store::Store;

use super::store_options;

/// Applies pending migrations.
///
/// # Errors
/// The database cannot be reached, or a migration fails.
pub async fn migrate(settings: &Settings) -> anyhow::Result<()> {
    let store = Store::connect(&store_options(&settings.database)).await.context("connect to the database")?;
    store.migrate().await.context("migrate the database")
}
