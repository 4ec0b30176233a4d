//! Why a `fleet.toml` cannot be used.

/// A manifest that cannot be used. Names the key and the reason.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not TOML, or a key is missing, unknown or of the wrong type.
    #[error("fleet.toml: {0}")]
    Syntax(#[from] toml::de::Error),
    /// A value that cannot be used.
    #[error("fleet.toml: {key}: {reason}")]
    Value {
        /// The key, dotted.
        key: String,
        /// What is wrong, and what is allowed.
        reason: String,
    },
}

impl ManifestError {
    /// The value of `key` cannot be used.
    pub(crate) fn value(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Value { key: key.into(), reason: reason.into() }
    }
}
