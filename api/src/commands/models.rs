//! `api models`: list, retire and restore the models that the fleet serves.

use std::io::Write as _;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use settings::Settings;
use store::Store;

use super::store_options;

/// What to do with models.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// Print all registered models.
    List,
    /// Accept no new jobs for a model. Jobs that are already waiting are rendered while it has workers.
    Retire {
        /// The model's id, as `list` prints it.
        id: String,
    },
    /// Accept jobs for a retired model again.
    Restore {
        /// The model's id, as `list` prints it.
        id: String,
    },
}

/// Runs a subcommand.
///
/// # Errors
/// The database's, or no model has this id.
pub async fn run(settings: &Settings, command: ModelsCommand) -> anyhow::Result<()> {
    let store = Store::connect(&store_options(&settings.database)).await.context("connect to the database")?;
    if settings.database.migrate_on_start {
        store.migrate().await.context("migrate the database")?;
    }
    match command {
        ModelsCommand::List => list(&store).await,
        ModelsCommand::Retire { id } => {
            set_retired(&store, &id, true).await?;
            print(&format!("retired {id}; running API servers stop accepting its jobs within 30 seconds"))
        }
        ModelsCommand::Restore { id } => {
            set_retired(&store, &id, false).await?;
            print(&format!("restored {id}; running API servers accept its jobs within 30 seconds"))
        }
    }
}

async fn set_retired(store: &Store, id: &str, retired: bool) -> anyhow::Result<()> {
    if !store.set_model_retired(id, retired).await.context("change the model")? {
        bail!("no model has the id '{id}'; `api models list` shows the registered ones");
    }
    Ok(())
}

async fn list(store: &Store) -> anyhow::Result<()> {
    for model in store.models().await.context("list the models")? {
        let state = match model.retired_at {
            Some(at) => format!("retired {}", at.format("%Y-%m-%d %H:%M")),
            None => "in service".to_owned(),
        };
        let note = model.manifest.err().map(|error| format!("  {error}")).unwrap_or_default();
        print(&format!("{}  {state}{note}", model.id))?;
    }
    Ok(())
}

fn print(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("print")
}
