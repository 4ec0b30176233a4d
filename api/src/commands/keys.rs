//! `api keys`: issue, list and revoke API keys.

use std::io::Write as _;

use anyhow::{Context as _, bail};
use clap::{Subcommand, ValueEnum};
use domain::KeyId;
use settings::Settings;
use store::Store;
use store::keys::{NewKey, Role};

use super::store_options;
use crate::auth::secret::FreshKey;

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Draw a key and print it, once.
    Issue {
        /// Whose key; the tenant is made if there is none of this name.
        #[arg(long, default_value = "default")]
        tenant: String,
        /// What it may do: `user` its tenant's own jobs, `admin` the whole fleet's.
        #[arg(long, value_enum, default_value = "user")]
        role: RoleWord,
        /// What to call it in the list.
        #[arg(long, default_value = "")]
        label: String,
        /// The tenant's share of the fleet beside other tenants; left as it is when absent, 1 for a new tenant.
        #[arg(long)]
        weight: Option<f64>,
    },
    /// Print all keys, without their secrets.
    List,
    /// End a key and its sign-ins.
    Revoke {
        /// The key's id, as `list` prints it.
        id: KeyId,
    },
}

/// A role on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum RoleWord {
    /// Its tenant's own jobs.
    User,
    /// The whole fleet's.
    Admin,
}

/// Runs a subcommand.
///
/// # Errors
/// The database's, or there is no such key.
pub async fn run(settings: &Settings, command: KeysCommand) -> anyhow::Result<()> {
    let store = Store::connect(&store_options(&settings.database)).await.context("connect to the database")?;
    if settings.database.migrate_on_start {
        store.migrate().await.context("migrate the database")?;
    }
    match command {
        KeysCommand::Issue { tenant, role, label, weight } => issue(&store, &tenant, role, label, weight).await,
        KeysCommand::List => list(&store).await,
        KeysCommand::Revoke { id } => {
            if !store.revoke_key(id).await.context("revoke the key")? {
                bail!("there is no key {id} in force; `api keys list` shows them");
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
    // The key alone on its line, so that a script can take it.
    print(&fresh.key)
}

async fn list(store: &Store) -> anyhow::Result<()> {
    for key in store.list_keys(None).await.context("list the keys")? {
        let state = match key.revoked_at {
            Some(at) => format!("revoked {}", at.format("%Y-%m-%d %H:%M")),
            None => "in force".to_owned(),
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
