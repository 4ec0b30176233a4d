//! The addresses of a stack of services, and the folder where the shared stack stores them.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The variable in which `scripts/fleet with-services` passes the addresses.
pub(crate) const VARIABLE: &str = "FLEET_TEST_SERVICES";

/// Where the three services are.
#[derive(Debug, Clone, Deserialize)]
pub struct Services {
    /// Postgres, database `postgres`, as superuser.
    pub database_url: String,
    /// RabbitMQ, virtual host `/`.
    pub broker_url: String,
    /// RabbitMQ's management API, with user and password.
    pub broker_management_url: String,
    /// Redis' host.
    pub redis_host: String,
    /// Redis' port.
    pub redis_port: u16,
    /// Folder of their data and logs.
    pub dir: PathBuf,
}

impl Services {
    pub(crate) fn parse(json: &str) -> Self {
        serde_json::from_str(json).unwrap_or_else(|error| panic!("{VARIABLE} does not hold the services: {error}"))
    }
}

/// The checkout.
pub(crate) fn checkout() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("this crate is two folders below the checkout; this is a bug")
}

/// A folder for locks and the shared stack's address.
pub(crate) fn lock_folder() -> PathBuf {
    let folder = checkout().join("target/testkit");
    std::fs::create_dir_all(&folder).expect("the folder for locks can be made");
    folder
}
