//! The `api` program: parses the command line and runs a subcommand.

use anyhow::Context as _;
use api::commands;
use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;
use settings::Settings;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The HTTP API of the fleet.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve requests (the default).
    Serve,
    /// Migrate the database schema to this release.
    Migrate,
    /// Manage API keys: issue, list, revoke.
    #[command(subcommand)]
    Keys(commands::keys::KeysCommand),
    /// Manage models: list, retire, restore.
    #[command(subcommand)]
    Models(commands::models::ModelsCommand),
    /// Manage the access of workers on other machines: join, revoke.
    #[command(subcommand)]
    Workers(commands::workers::WorkersCommand),
    /// Print how many GPUs a load requires, estimated with the cost model.
    FleetSize(commands::fleet_size::FleetSizeArgs),
    /// Print the OpenAPI description of the API.
    Openapi,
    /// Check whether the server on this machine is ready; for container health checks.
    Healthcheck,
}

fn main() -> anyhow::Result<()> {
    let command = Cli::parse().command.unwrap_or(Command::Serve);
    if matches!(command, Command::Openapi) {
        return commands::openapi::print();
    }
    let settings = Settings::load()?;
    if let Command::FleetSize(args) = &command {
        return commands::fleet_size::print(&settings, args);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(async {
        match command {
            Command::Serve => commands::serve::serve(settings).await,
            Command::Migrate => commands::migrate::migrate(&settings).await,
            Command::Keys(keys) => commands::keys::run(&settings, keys).await,
            Command::Models(models) => commands::models::run(&settings, models).await,
            Command::Workers(workers) => commands::workers::run(&settings, workers).await,
            Command::Healthcheck => commands::healthcheck::ask(&settings).await,
            Command::Openapi | Command::FleetSize(_) => Ok(()),
        }
    })
}
