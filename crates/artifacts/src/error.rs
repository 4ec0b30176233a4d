//! Errors of the object store, grouped by what a caller can do about them.

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The object does not exist.
    #[error("object {key} does not exist")]
    Missing {
        /// The key.
        key: String,
    },
    /// The caller's `go_on` returned `false` between two parts. Nothing is left under the key.
    #[error("the upload was stopped")]
    Stopped,
    /// The settings are invalid.
    #[error("artifacts.url '{url}': {reason}; use a folder, file:///folder or s3://bucket/prefix")]
    Settings {
        /// The URL from the settings.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file on this machine cannot be read.
    #[error("cannot read {path}: {source}")]
    Local {
        /// The file.
        path: String,
        /// The error from the operating system.
        source: std::io::Error,
    },
    /// The store refused or failed: it is unreachable, full, or forbids access.
    #[error("the object store failed: {0}")]
    Store(#[source] object_store::Error),
    /// The store did not respond in time.
    #[error("the object store did not respond within {seconds} s")]
    Timeout {
        /// The limit, seconds.
        seconds: u64,
    },
}

impl ArtifactError {
    /// Whether the object does not exist (as opposed to a store that is unavailable).
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }

    /// Whether the caller itself stopped the upload.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        matches!(self, Self::Stopped)
    }
}

impl From<object_store::Error> for ArtifactError {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { path, .. } => Self::Missing { key: path },
            other => Self::Store(other),
        }
    }
}
