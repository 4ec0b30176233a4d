//! Numbers that JSON can hold.
//!
//! JSON has no infinity and no "not a number"; serde writes them as null, which no reader of a number takes. A record is kept
//! for ever, so its numbers are made finite when they are written, and a null of an earlier release reads as 0.

use serde::{Deserialize, Deserializer, Serializer};

/// The value, or 0 where it is not finite.
#[must_use]
pub fn or_zero(value: f64) -> f64 {
    if value.is_finite() { value } else { 0.0 }
}

/// Writes what is not finite as 0. For `#[serde(serialize_with)]`.
///
/// # Errors
/// The serializer's.
pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(or_zero(*value))
}

/// Reads null as 0. For `#[serde(deserialize_with)]`.
///
/// # Errors
/// The deserializer's.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or_default())
}

/// The same for a list.
pub mod list {
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes what is not finite as 0.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(values: &[f32], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(|value| if value.is_finite() { *value } else { 0.0 }))
    }

    /// Reads null as 0.
    ///
    /// # Errors
    /// The deserializer's.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f32>, D::Error> {
        let values = Vec::<Option<f32>>::deserialize(deserializer)?;
        Ok(values.into_iter().map(Option::unwrap_or_default).collect())
    }
}
