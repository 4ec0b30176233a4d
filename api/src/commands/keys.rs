//! `api keys`: issue, list and revoke API keys.

use std::io::Write as _;

use anyhow::{Context as _, bail};
use clap::{Subcommand, ValueEnum};
use domain::KeyId;
use settings::Settings;
use store::Store;
use store::keys::{NewKey, Role};
use store::quotas::Quota;

use super::store_options;
use crate::auth::secret::FreshKey;

/// Subcommands of `api keys`.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Create a key and print it. It cannot be shown again.
    Issue {
        /// Name of the tenant; created if it does not exist.
        #[arg(long, default_value = "default")]
        tenant: String,
        /// Access: `user` for the tenant's own jobs, `admin` for the whole fleet.
        #[arg(long, value_enum, default_value = "user")]
        role: RoleWord,
        /// Label of the key in the list.
        #[arg(long, default_value = "")]
        label: String,
        /// The tenant's share of the fleet relative to other tenants [default: unchanged; 1 for a new tenant].
        #[arg(long)]
        weight: Option<f64>,
    },
    /// List all keys, without their secrets.
    List,
    /// Set how much GPU time a key may use in a day (UTC). Limits that are not given are removed.
    Quota {
        /// Id of the key, as `list` prints it.
        id: KeyId,
        /// GPU seconds per day.
        #[arg(long)]
        gpu_seconds_per_day: Option<f64>,
        /// US dollars per day, at the price of `cost.gpu_hour_usd`.
        #[arg(long)]
        usd_per_day: Option<f64>,
    },
    /// Revoke a key and end its sessions.
    Revoke {
        /// Id of the key, as `list` prints it.
        id: KeyId,
    },
}

/// Role of a key on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum RoleWord {
    /// Access to the tenant's own jobs.
    User,
    /// Access to the whole fleet.
    Admin,
}

/// Runs a subcommand.
///
/// # Errors
/// An error of the database, or the key to revoke does not exist.
pub async fn run(settings: &Settings, command: KeysCommand) -> anyhow::Result<()> {
    let store = Store::connect(&store_options(&settings.database)).await.context("connect to the database")?;
    if settings.database.migrate_on_start {
        store.migrate().await.context("migrate the database")?;
    }
    match command {
        KeysCommand::Issue { tenant, role, label, weight } => issue(&store, &tenant, role, label, weight).await,
        KeysCommand::List => list(&store).await,
        KeysCommand::Quota { id, gpu_seconds_per_day, usd_per_day } => {
            let quota = Quota { gpu_s: gpu_seconds_per_day, usd: usd_per_day };
            if !store.set_quota(id, quota).await.context("set the quota")? {
                bail!("there is no active key {id}; `api keys list` shows all keys");
            }
            print(&format!("quota of {id} set"))
        }
        KeysCommand::Revoke { id } => {
            if !store.revoke_key(id).await.context("revoke the key")? {
                bail!("there is no active key {id}; `api keys list` shows all keys");
            }
            print(&format!("revoked {id}"))
        }
    }
}

async fn issue(store: &Store, tenant: &str, role: RoleWord, label: String, weight: Option<f64>) -> anyhow::Result<()> {
    let role = match role {
        RoleWord::User => Role::User,
        RoleWord::Admin => Role::Admin,
    };
    let tenant = store.ensure_tenant(tenant).await.context("find the tenant")?;
    if let Some(weight) = weight {
        store.set_tenant_weight(&tenant.name, weight).await.context("set the tenant's share")?;
    }
    let fresh = FreshKey::draw();
    let hash = fresh.hash.to_vec();
    let key = NewKey { id: KeyId::fresh(), tenant_id: tenant.id, role, label, prefix: fresh.prefix, hash };
    store.issue_key(&key).await.context("store the key")?;
    // Print nothing but the key, so that a script can read it.
    print(&fresh.key)
}

async fn list(store: &Store) -> anyhow::Result<()> {
    for key in store.list_keys(None).await.context("list the keys")? {
        let state = match key.revoked_at {
            Some(at) => format!("revoked {}", at.format("%Y-%m-%d %H:%M")),
            None => "active".to_owned(),
        };
        let used =
            key.last_used_at.map_or("never used".to_owned(), |at| format!("used {}", at.format("%Y-%m-%d %H:%M")));
        let line =
            format!("{}  {}…  {}  {}  {state}  {used}  {}", key.id, key.prefix, key.tenant_name, key.role, key.label);
        print(line.trim_end())?;
    }
    Ok(())
}

fn print(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("print")
}
