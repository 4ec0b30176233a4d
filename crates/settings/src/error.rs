//! Why settings cannot be used. No message quotes a text value, since it may be a secret.

use std::path::PathBuf;

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// There is no folder with a base file.
    #[error("no base.toml in {}; set FLEET_CONFIG_DIR to the folder that contains it", list(.looked_in))]
    NoFolder {
        /// The folders that were searched.
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
    /// A file is not valid TOML.
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
        /// The key that was probably meant.
        suggestion: Option<String>,
    },
    /// A key that was renamed or removed.
    #[error("'{key}' ({origin}) is no longer a setting: {advice}")]
    RemovedKey {
        /// The key.
        key: String,
        /// The file or variable that has it.
        origin: String,
        /// What to do instead.
        advice: String,
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
    /// Values that cannot be used, alone or together.
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
    suggestion.map_or_else(
        || "; configuration/base.toml lists all settings".to_owned(),
        |key| format!("; did you mean '{key}'?"),
    )
}
