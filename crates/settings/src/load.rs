//! Reads the sources in order and checks the result.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{Config, File, FileFormat};
use toml::{Table, Value};

use crate::check;
use crate::error::SettingsError;
use crate::renamed;
use crate::schema::{BASE, Keys, flatten, known_keys};
use crate::sections::Settings;
use crate::suggest::nearest;
use crate::variables;

/// Where settings come from: a folder of files, and variables.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The folder of `base.toml`.
    pub folder: PathBuf,
    /// All variables of the environment. Those that do not belong to a setting are ignored.
    pub variables: BTreeMap<String, String>,
}

impl Source {
    /// The environment of this process.
    ///
    /// # Errors
    /// [`SettingsError::NoFolder`] if no folder contains a base file.
    fn of_process() -> Result<Self, SettingsError> {
        // A variable that is not valid Unicode cannot be a setting.
        let variables: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let candidates = candidate_folders(variables.get("FLEET_CONFIG_DIR"));
        let folder = candidates.iter().find(|folder| folder.join("base.toml").is_file()).cloned();
        let folder = folder.ok_or(SettingsError::NoFolder { looked_in: candidates })?;
        Ok(Self { folder, variables })
    }
}

/// Only the folder that FLEET_CONFIG_DIR names, if it names one; otherwise the usual folders.
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
    /// [`SettingsError`] with the file, key or variable that is wrong, and what would be right.
    pub fn load() -> Result<Self, SettingsError> {
        Self::load_from(&Source::of_process()?)
    }

    /// The settings of a source.
    ///
    /// # Errors
    /// [`SettingsError`] with the file, key or variable that is wrong, and what would be right.
    pub fn load_from(source: &Source) -> Result<Self, SettingsError> {
        let known = known_keys();
        let mut files = vec![source.folder.join("base.toml")];
        if let Some(environment) = source.variables.get("FLEET_ENV").filter(|name| !name.is_empty()) {
            files.push(source.folder.join(format!("{environment}.toml")));
        }
        // The base file as built comes first, so that an older one on disk may lack newer keys.
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

    /// The defaults: the base file as built. For tests, and for commands that need no settings of their own.
    #[must_use]
    pub fn defaults() -> Self {
        toml::from_str(BASE).expect("the base file is parsed by a test; this is a bug")
    }
}

/// The text of a settings file, after checking that all its keys exist.
fn read_known(path: &Path, known: &Keys) -> Result<String, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
    let table: Table = text.parse().map_err(|error: toml::de::Error| SettingsError::Parse {
        path: path.to_owned(),
        // Only the message: the error's full text quotes the line, which may contain a secret.
        reason: parse_reason(&error, &text),
    })?;
    let Some(key) = flatten(&table).into_keys().find(|key| !known.contains_key(key)) else { return Ok(text) };
    let origin = path.display().to_string();
    Err(match renamed::advice(&key, str::to_owned) {
        Some(advice) => SettingsError::RemovedKey { key, origin, advice },
        None => {
            let suggestion = nearest(&key, known.keys().map(String::as_str)).map(str::to_owned);
            SettingsError::UnknownKey { key, origin, suggestion }
        }
    })
}

fn parse_reason(error: &toml::de::Error, text: &str) -> String {
    let line = error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
    line.map_or_else(|| error.message().to_owned(), |line| format!("line {line}: {}", error.message()))
}

#[expect(clippy::needless_pass_by_value, reason = "map_err passes the error by value")]
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
        // `variables::convert` creates no other kind.
        other => config::ValueKind::String(other.to_string()),
    };
    config::Value::new(None, kind)
}
