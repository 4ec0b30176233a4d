//! Private Postgres, RabbitMQ and Redis for tests, and builders of domain values; and [`shapes`], which reads what a
//! video of the default model shows.
//!
//! Rule: tests run against the real services, never a stand-in. One stack serves a whole run; each test uses a separate
//! part of it ([`postgres::database`], [`rabbitmq::Vhost`], [`redis::database`]), so tests do not disturb each other,
//! in one process or in several. A test that breaks a service starts a private stack ([`PrivateStack`]).
//!
//! # Using it
//! 1. Run the tests through `scripts/fleet with-services -- cargo nextest run ...`, which is what `make test` does. Without
//!    it, the first test starts a stack that the others share and that stops when no test has used it for a while.
//! 2. `let vhost = Vhost::create().await;` and give `vhost.settings()` to what is tested.
//! 3. Wait with [`eventually`], never with a sleep.
//! 4. For faults: [`Proxy`] between our processes and a service, [`Gates`] in the worker's model, [`ObjectStore`] that fails
//!    (the one service that no package brings), and [`Accounting`] for the outcome of every job.
//!
//! Everything here panics when it fails: a test that cannot be set up has failed.

pub mod accounting;
mod addresses;
pub mod builders;
mod fleet;
mod gates;
mod http;
mod nginx;
mod objects;
mod pgbouncer;
mod pictures;
pub mod postgres;
mod private;
mod process;
mod proxy;
pub mod rabbitmq;
pub mod redis;
mod services;
pub mod shapes;
mod shared;
mod small_disk;
mod traps;
mod wait;
mod wire;

pub use accounting::{Accounting, Report, Way};
pub use addresses::Services;
pub use fleet::{Fleet, FleetOptions};
pub use gates::Gates;
pub use http::http_client;
pub use nginx::Nginx;
pub use objects::ObjectStore;
pub use pgbouncer::Pgbouncer;
pub use pictures::{PICTURE_MODEL, picture, picture_model};
pub use private::PrivateStack;
pub use process::{Process, program, repository};
pub use proxy::Proxy;
pub use services::services;
pub use small_disk::SmallDisk;
pub use traps::{Catch, Protocol};
pub use wait::{eventually, eventually_seen};
