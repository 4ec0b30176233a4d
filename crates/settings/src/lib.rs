//! Settings of all processes: base file, environment file, variables.
//!
//! `configuration/base.toml` is the list of every key, with its unit, meaning and default; the structs here only give the
//! keys types. A value therefore has one default, in one place, and a key that is not in that file does not exist.
//!
//! # Adding a setting
//! 1. Add the key to `configuration/base.toml`, with a comment that says what too much and too little of it costs.
//! 2. Add the field to its section in `sections/`. Its unit is part of its name: `_s`, `_ms`, `_bytes`, `_max`.
//! 3. If not every value makes sense, say so in `check.rs`.
//!
//! The tests of this crate fail when the file and the structs disagree.

mod check;
mod folders;
mod load;
mod planner;
mod schema;
mod secret;
mod sections;
mod suggest;
mod variables;

pub use folders::{ModelFolderError, read_manifest};
pub use load::{Settings, SettingsError, Source};
pub use secret::{Secret, SecretUrl};
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
pub use sections::tiers::{TierSettings, TiersSettings};
pub use sections::worker::{AttentionChoice, DtypeChoice, EncoderResidence, WorkerSettings};
