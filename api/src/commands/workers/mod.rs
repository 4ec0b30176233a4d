//! `api workers`: lets a worker on another machine join the fleet, or revokes its access.
//!
//! Joining creates a database role and a RabbitMQ user that have a worker's rights and no others, and prints the settings that the
//! other machine needs. Only the settings go to standard output, so that they can be redirected to a file.

mod address;
mod broker_user;
mod env_file;

use std::io::Write as _;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use settings::Settings;
use store::Store;

use self::broker_user::Management;
use self::env_file::Joined;
use super::store_options;
use crate::auth::secret::random_hex;

/// Subcommands of `api workers`.
#[derive(Debug, Subcommand)]
pub enum WorkersCommand {
    /// Create logins for a machine and print the settings of its worker.
    Join(JoinArgs),
    /// Remove a machine's logins and close its connections. Its running job continues on another worker.
    Revoke {
        /// The machine's name, as given to `join`.
        name: String,
        /// Address of RabbitMQ's management API with an administrator's login, such as `http://user:password@127.0.0.1:15672`.
        #[arg(long, value_name = "URL")]
        broker_management: Option<String>,
    },
}

/// Arguments of `api workers join`.
#[derive(Debug, Clone, Args)]
pub struct JoinArgs {
    /// Name for the machine: lower-case letters, digits and `_`. Joining again replaces its passwords.
    pub name: String,
    /// Host name or address at which the other machine reaches the services of this one; replaces loopback addresses.
    #[arg(long)]
    pub host: Option<String>,
    /// Port of Postgres as seen from the other machine, if it differs.
    #[arg(long)]
    pub database_port: Option<u16>,
    /// Port of RabbitMQ as seen from the other machine [default: 5671 with TLS, unless the settings name an amqps:// address].
    #[arg(long)]
    pub broker_port: Option<u16>,
    /// Port of Redis as seen from the other machine, if it differs.
    #[arg(long)]
    pub redis_port: Option<u16>,
    /// Path, on the other machine, of the certificate of the authority that signed the services' certificates. Not needed for a
    /// public authority.
    #[arg(long, value_name = "PATH")]
    pub ca: Option<String>,
    /// Do not use TLS, because the network between the machines is encrypted or private (WireGuard, for example).
    #[arg(long)]
    pub plaintext: bool,
    /// Address of RabbitMQ's management API with an administrator's login, such as `http://user:password@127.0.0.1:15672`. Without
    /// it, `rabbitmqctl` commands to run by hand are printed.
    #[arg(long, value_name = "URL")]
    pub broker_management: Option<String>,
}

/// Runs a subcommand.
///
/// # Errors
/// Another machine cannot use the settings, or a service rejects a change.
pub async fn run(settings: &Settings, command: WorkersCommand) -> anyhow::Result<()> {
    match command {
        WorkersCommand::Join(args) => {
            let joined = join(settings, &args).await?;
            std::io::stdout().write_all(joined.file.as_bytes()).context("print the settings")?;
            tell(&joined.advice)
        }
        WorkersCommand::Revoke { name, broker_management } => {
            revoke(settings, &name, broker_management.as_deref()).await
        }
    }
}

/// Creates the logins and writes the settings. If another machine could not use the settings, nothing is created.
///
/// # Errors
/// The same as of [`run`].
pub async fn join(settings: &Settings, args: &JoinArgs) -> anyhow::Result<Joined> {
    // 1. Check the addresses before anything is created.
    let (database_password, broker_password) = (random_hex(), random_hex());
    let places = address::places(settings, args)?;
    // 2. Create the database role, then the RabbitMQ user or the commands that create it.
    let store = connect(settings).await?;
    let role = store.let_worker_log_in(&args.name, &database_password).await.context(
        "create the database role; the user of database.url needs the right to create roles (ALTER ROLE ... CREATEROLE)",
    )?;
    let user = broker_user_name(&args.name);
    let vhost = address::vhost(&settings.broker)?;
    let commands = match &args.broker_management {
        Some(url) => {
            Management::new(url)?.let_in(&vhost, &user, &broker_password).await?;
            String::new()
        }
        None => broker_user::commands(&vhost, &user, &broker_password),
    };
    // 3. Write the settings.
    let mut joined = env_file::write(settings, args, &places, (&role, &database_password), (&user, &broker_password))?;
    if !commands.is_empty() {
        let how = "The RabbitMQ user was not created (--broker-management creates it). Run this on RabbitMQ's machine:";
        joined.advice = format!("{how}\n{commands}\n{}", joined.advice);
    }
    Ok(joined)
}

async fn revoke(settings: &Settings, name: &str, broker_management: Option<&str>) -> anyhow::Result<()> {
    let user = broker_user_name(name);
    connect(settings).await?.shut_worker_out(name).await.context("remove the database role")?;
    match broker_management {
        Some(url) => Management::new(url)?.shut_out(&user).await,
        None => tell(&format!("Run this on RabbitMQ's machine: rabbitmqctl delete_user {user}\n")),
    }
}

async fn connect(settings: &Settings) -> anyhow::Result<Store> {
    let store = Store::connect(&store_options(&settings.database)).await.context("connect to the database")?;
    if settings.database.migrate_on_start {
        store.migrate().await.context("migrate the database")?;
    }
    Ok(store)
}

fn broker_user_name(machine: &str) -> String {
    format!("fleet_worker_{machine}")
}

/// Prints to standard error, because standard output may be redirected to the settings file.
fn tell(text: &str) -> anyhow::Result<()> {
    write!(std::io::stderr(), "{text}").context("print")
}

/// Rejects a folder as the object store, because another machine cannot reach it.
fn refuse_folder(settings: &Settings) -> anyhow::Result<()> {
    if settings.artifacts.url.starts_with("s3://") {
        return Ok(());
    }
    bail!(
        "artifacts.url is {}, a folder on this machine: a worker on another machine could not store its videos. Set it to s3://bucket/prefix \
         and set artifacts.s3_endpoint unless the store is AWS, for all processes of the fleet",
        settings.artifacts.url
    )
}
