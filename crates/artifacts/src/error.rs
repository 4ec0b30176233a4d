//! What can go wrong with the object store, sorted by what a caller can do about it.

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// There is no such object.
    #[error("no object {key}")]
    Missing {
        /// The key.
        key: String,
    },
    /// The caller's `go_on` said no between two parts; nothing is left under the key.
    #[error("the upload was stopped")]
    Stopped,
    /// The settings make no sense.
    #[error("artifacts.url '{url}': {reason}; use a folder, file:///folder or s3://bucket/prefix")]
    Settings {
        /// The URL as it was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of this machine cannot be read.
    #[error("cannot read {path}: {source}")]
    Local {
        /// The file.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The store did not do it: unreachable, full, forbidden.
    #[error("the object store failed: {0}")]
    Store(#[source] object_store::Error),
    /// The store did not answer in time.
    #[error("the object store did not answer within {seconds} s")]
    Timeout {
        /// The limit.
        seconds: u64,
    },
}

impl ArtifactError {
    /// Whether the object does not exist, as opposed to a store that does not answer.
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
