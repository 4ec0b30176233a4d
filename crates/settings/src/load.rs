//! Reads the sources in their order and checks the result.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{Config, File, FileFormat};
use serde::Deserialize;
use toml::{Table, Value};

use crate::check;
use crate::schema::{BASE, Keys, flatten, known_keys};
use crate::sections::artifacts::ArtifactsSettings;
use crate::sections::broker::BrokerSettings;
use crate::sections::cache::CacheSettings;
use crate::sections::cost::CostSettings;
use crate::sections::database::DatabaseSettings;
use crate::sections::limits::LimitsSettings;
use crate::sections::log::LogSettings;
use crate::sections::models::ModelsSettings;
use crate::sections::optimization::OptimizationSettings;
use crate::sections::redis::RedisSettings;
use crate::sections::scheduler::SchedulerSettings;
use crate::sections::server::ServerSettings;
use crate::sections::tiers::TiersSettings;
use crate::sections::worker::WorkerSettings;
use crate::suggest::nearest;
use crate::variables;

/// Everything that can be set. `Debug` shows no secret.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The API's HTTP server.
    pub server: ServerSettings,
    /// Postgres.
    pub database: DatabaseSettings,
    /// RabbitMQ.
    pub broker: BrokerSettings,
    /// Redis.
    pub redis: RedisSettings,
    /// The embedding cache.
    pub cache: CacheSettings,
    /// The object store.
    pub artifacts: ArtifactsSettings,
    /// Model folders.
    pub models: ModelsSettings,
    /// Limits on requests and load.
    pub limits: LimitsSettings,
    /// Quality tiers.
    pub tiers: TiersSettings,
    /// Adaptive steps and step caching.
    pub optimization: OptimizationSettings,
    /// The scheduler.
    pub scheduler: SchedulerSettings,
    /// The worker.
    pub worker: WorkerSettings,
    /// What GPU time costs.
    pub cost: CostSettings,
    /// Logs.
    pub log: LogSettings,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// There is no folder with a base file.
    #[error("no base.toml in {}; set FLEET_CONFIG_DIR to the folder of the settings", list(.looked_in))]
    NoFolder {
        /// Where it was looked for.
        looked_in: Vec<PathBuf>,
    },
    /// A file cannot be read.
    #[error("cannot read the settings file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not TOML.
    #[error("the settings file {} is not valid TOML: {reason}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// A key that does not exist.
    #[error("there is no setting '{key}' ({origin}){}", hint(.suggestion.as_deref()))]
    UnknownKey {
        /// The key.
        key: String,
        /// The file or variable that has it.
        origin: String,
        /// What was probably meant.
        suggestion: Option<String>,
    },
    /// A variable whose text is not of the kind that its key takes. The text is not shown: it may be a secret.
    #[error("the variable {name} must be {expected}")]
    Variable {
        /// The variable.
        name: String,
        /// What its key takes.
        expected: &'static str,
    },
    /// A value of the wrong kind in a file.
    #[error("the settings cannot be used: {reason}")]
    Value {
        /// Key, file and reason.
        reason: String,
    },
    /// Values that make no sense, alone or together.
    #[error("the settings cannot be used: {}", problems.join("; "))]
    Problems {
        /// One sentence for each.
        problems: Vec<String>,
    },
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn hint(suggestion: Option<&str>) -> String {
    suggestion
        .map_or_else(|| "; configuration/base.toml has them all".to_owned(), |key| format!("; did you mean '{key}'?"))
}

/// Where settings come from: a folder of files, and variables.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The folder of `base.toml`.
    pub folder: PathBuf,
    /// All variables of the environment; those that are no settings are ignored.
    pub variables: BTreeMap<String, String>,
}

impl Source {
    /// The environment of this process.
    ///
    /// # Errors
    /// [`SettingsError::NoFolder`] when there is no folder of settings.
    pub fn of_process() -> Result<Self, SettingsError> {
        // Variables that are no text cannot be settings.
        let variables: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let candidates = candidate_folders(variables.get("FLEET_CONFIG_DIR"));
        let folder = candidates.iter().find(|folder| folder.join("base.toml").is_file()).cloned();
        let folder = folder.ok_or(SettingsError::NoFolder { looked_in: candidates })?;
        Ok(Self { folder, variables })
    }
}

/// The folder that was named, and only that; else the usual ones.
fn candidate_folders(named: Option<&String>) -> Vec<PathBuf> {
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        return vec![PathBuf::from(named)];
    }
    let mut folders = vec![PathBuf::from("configuration")];
    // target/release/api lies two folders below the checkout.
    let executable = std::env::current_exe().ok();
    folders.extend(
        executable.iter().flat_map(|path| path.ancestors().skip(2).take(2)).map(|dir| dir.join("configuration")),
    );
    folders
}

impl Settings {
    /// The settings of this process.
    ///
    /// # Errors
    /// Says which file, key or variable is wrong and what would be right.
    pub fn load() -> Result<Self, SettingsError> {
        Self::load_from(&Source::of_process()?)
    }

    /// The settings of a source.
    ///
    /// # Errors
    /// Says which file, key or variable is wrong and what would be right.
    pub fn load_from(source: &Source) -> Result<Self, SettingsError> {
        let known = known_keys();
        let mut files = vec![source.folder.join("base.toml")];
        if let Some(environment) = source.variables.get("FLEET_ENV").filter(|name| !name.is_empty()) {
            files.push(source.folder.join(format!("{environment}.toml")));
        }
        // The file as built comes first, so that an older base file on disk lacks nothing.
        let mut builder = Config::builder().add_source(File::from_str(BASE, FileFormat::Toml));
        for path in &files {
            let text = read_known(path, &known)?;
            builder = builder.add_source(File::from_str(&text, FileFormat::Toml));
        }
        for (key, value) in variables::overrides(&source.variables, &known)? {
            builder = builder.set_override(key, to_config(value)).map_err(value_error)?;
        }
        let settings: Self = builder.build().and_then(Config::try_deserialize).map_err(value_error)?;
        match check::problems(&settings) {
            problems if problems.is_empty() => Ok(settings),
            problems => Err(SettingsError::Problems { problems }),
        }
    }

    /// The defaults: the base file as built. For tests and for commands that need no settings of their own.
    #[must_use]
    pub fn defaults() -> Self {
        toml::from_str(BASE).expect("the base file is parsed by a test; this is a bug")
    }
}

/// The text of a settings file, after every key of it was found to exist.
fn read_known(path: &Path, known: &Keys) -> Result<String, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
    let table: Table = text.parse().map_err(|error: toml::de::Error| SettingsError::Parse {
        path: path.to_owned(),
        // Only the message: the error's full text quotes the line, which may hold a secret.
        reason: parse_reason(&error, &text),
    })?;
    let unknown = flatten(&table).into_keys().find(|key| !known.contains_key(key));
    match unknown {
        None => Ok(text),
        Some(key) => Err(SettingsError::UnknownKey {
            suggestion: nearest(&key, known.keys().map(String::as_str)).map(str::to_owned),
            origin: path.display().to_string(),
            key,
        }),
    }
}

fn parse_reason(error: &toml::de::Error, text: &str) -> String {
    let line = error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
    line.map_or_else(|| error.message().to_owned(), |line| format!("line {line}: {}", error.message()))
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn value_error(error: config::ConfigError) -> SettingsError {
    SettingsError::Value { reason: error.to_string() }
}

fn to_config(value: Value) -> config::Value {
    let kind = match value {
        Value::Integer(number) => config::ValueKind::I64(number),
        Value::Float(number) => config::ValueKind::Float(number),
        Value::Boolean(flag) => config::ValueKind::Boolean(flag),
        Value::Array(items) => config::ValueKind::Array(items.into_iter().map(to_config).collect()),
        Value::String(text) => config::ValueKind::String(text),
        // Variables become nothing else, see `variables::convert`.
        other => config::ValueKind::String(other.to_string()),
    };
    config::Value::new(None, kind)
}
