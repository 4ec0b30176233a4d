//! What a listing returns for an object.

use chrono::{DateTime, Utc};

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its key.
    pub key: String,
    /// Its size, bytes.
    pub size: u64,
    /// When it was written, by the store's clock.
    pub written_at: DateTime<Utc>,
}
