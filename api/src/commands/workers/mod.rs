//! `api workers`: let a worker on another machine join the fleet, or shut it out.
//!
//! Joining makes a database login and a RabbitMQ user that can do a worker's work and nothing else, and prints the settings
//! that the other machine needs. Only the settings go to the standard output, so that they can be sent into a file.

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

/// What to do with workers on other machines.
#[derive(Debug, Subcommand)]
pub enum WorkersCommand {
    /// Make a machine's roles and print the settings of its worker.
    Join(JoinArgs),
    /// End a machine's roles and its connections. Its running job goes on elsewhere.
    Revoke {
        /// The machine's name, as it joined.
        name: String,
        /// RabbitMQ's management API with an administrator, such as `http://user:password@127.0.0.1:15672`.
        #[arg(long, value_name = "URL")]
        broker_management: Option<String>,
    },
}

/// How the other machine reaches this fleet.
#[derive(Debug, Clone, Args)]
pub struct JoinArgs {
    /// What to call the machine: lower-case letters, digits and `_`. Joining again renews its passwords.
    pub name: String,
    /// Name or address under which the other machine reaches the services of this one; takes the place of loopback addresses.
    #[arg(long)]
    pub host: Option<String>,
    /// Postgres' port there, if it is another one than here.
    #[arg(long)]
    pub database_port: Option<u16>,
    /// RabbitMQ's port there; with TLS 5671 unless the settings name an amqps:// address.
    #[arg(long)]
    pub broker_port: Option<u16>,
    /// Redis' port there, if it is another one than here.
    #[arg(long)]
    pub redis_port: Option<u16>,
    /// Where the certificate authority of this fleet's services lies on the other machine; none for a public one.
    #[arg(long, value_name = "PATH")]
    pub ca: Option<String>,
    /// Use no TLS, because the network between the machines encrypts by itself (WireGuard, a private network).
    #[arg(long)]
    pub plaintext: bool,
    /// RabbitMQ's management API with an administrator, such as `http://user:password@127.0.0.1:15672`. Without it the commands for
    /// `rabbitmqctl` are printed instead.
    #[arg(long, value_name = "URL")]
    pub broker_management: Option<String>,
}

/// Runs a subcommand.
///
/// # Errors
/// Settings that another machine cannot use; a service that refuses.
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

/// Makes the roles and writes the settings. Nothing is made when another machine could not use them.
///
/// # Errors
/// As [`run`].
pub async fn join(settings: &Settings, args: &JoinArgs) -> anyhow::Result<Joined> {
    let (database_password, broker_password) = (random_hex(), random_hex());
    let places = address::places(settings, args)?;
    let store = connect(settings).await?;
    let role = store.let_worker_log_in(&args.name, &database_password).await.context(
        "make the database role; the user of database.url needs the right to create roles (ALTER ROLE ... CREATEROLE)",
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
    let mut joined = env_file::write(settings, args, &places, (&role, &database_password), (&user, &broker_password))?;
    if !commands.is_empty() {
        let how = "RabbitMQ's user was not made (--broker-management makes it). On RabbitMQ's machine run:";
        joined.advice = format!("{how}\n{commands}\n{}", joined.advice);
    }
    Ok(joined)
}

async fn revoke(settings: &Settings, name: &str, broker_management: Option<&str>) -> anyhow::Result<()> {
    let user = broker_user_name(name);
    connect(settings).await?.shut_worker_out(name).await.context("end the database role")?;
    match broker_management {
        Some(url) => Management::new(url)?.shut_out(&user).await,
        None => tell(&format!("On RabbitMQ's machine run: rabbitmqctl delete_user {user}\n")),
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

/// To the person, not into the file.
fn tell(text: &str) -> anyhow::Result<()> {
    write!(std::io::stderr(), "{text}").context("print")
}

/// A folder has no address.
fn refuse_folder(settings: &Settings) -> anyhow::Result<()> {
    if settings.artifacts.url.starts_with("s3://") {
        return Ok(());
    }
    bail!(
        "artifacts.url is {}, a folder of this machine: a worker elsewhere could not deliver its videos. Use s3://bucket/prefix \
         with artifacts.s3_endpoint, on AWS or a compatible store, for all processes of the fleet",
        settings.artifacts.url
    )
}
