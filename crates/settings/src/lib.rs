//! Settings of all processes: base file, environment file, variables.
//!
//! `configuration/base.toml` lists every key with its unit, meaning and default; the structs here only give the keys types.
//! A value therefore has one default, in one place, and a key that is not in that file does not exist.
//!
//! # Adding a setting
//! 1. Add the key to `configuration/base.toml`, with a comment that says what a larger and a smaller value costs. A key that
//!    operators will rarely change belongs below its section's line `# Expert:`.
//! 2. Add the field to its section in `sections/`. Its unit or kind is part of its name: `_s`, `_ms`, `_bytes`, `_max`.
//! 3. If not every value can be used, refuse the others in `check.rs`.
//! 4. Read it where it matters.
//!
//! # Renaming or removing a setting
//! Add the old key to `renamed.rs`, with the new key or with what to do instead.
//!
//! The tests of this crate fail when the file and the structs disagree, and when no code reads a key.

mod check;
mod error;
mod folders;
mod limits;
mod load;
mod network;
mod planner;
mod renamed;
mod schema;
mod secret;
mod sections;
mod suggest;
mod variables;

pub use error::SettingsError;
pub use folders::{ModelFolderError, read_manifest};
pub use load::Source;
pub use network::Network;
pub use secret::{Secret, SecretUrl};
pub use sections::Settings;
pub use sections::artifacts::ArtifactsSettings;
pub use sections::broker::BrokerSettings;
pub use sections::cache::CacheSettings;
pub use sections::cost::CostSettings;
pub use sections::database::DatabaseSettings;
pub use sections::limits::LimitsSettings;
pub use sections::log::{LogFormat, LogSettings};
pub use sections::models::ModelsSettings;
pub use sections::optimization::OptimizationSettings;
pub use sections::redis::RedisSettings;
pub use sections::scheduler::SchedulerSettings;
pub use sections::server::{KeysMode, ServerSettings};
pub use sections::telemetry::TelemetrySettings;
pub use sections::tiers::{AutoTierSettings, TierSettings, TiersSettings};
pub use sections::webhooks::WebhooksSettings;
pub use sections::worker::{AttentionChoice, DtypeChoice, EncoderResidence, WeightStorage, WorkerSettings};
