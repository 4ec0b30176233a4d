//! The same for a seed that may be absent: null, and -1 as other systems write it.

use super::{Deserializer, SeedVisitor, Serializer};

/// Writes a seed, or null.
///
/// # Errors
/// The serializer's error.
pub fn serialize<S: Serializer>(seed: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    match seed {
        Some(seed) => super::serialize(seed, serializer),
        None => serializer.serialize_none(),
    }
}

/// Reads a seed in either form; `None` for null and -1.
///
/// # Errors
/// The deserializer's error, for anything that is not a seed.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    deserializer.deserialize_any(SeedVisitor)
}
