//! Adapters (LoRA) that a request names, and what they change about the plan.

use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::field_error::FieldError;

/// Most adapters of one request.
const LORAS_MAX: usize = 4;

/// Largest scale, and with a minus the smallest. Beyond a few the weights are only noise.
const LORA_SCALE_MAX: f64 = 10.0;

/// Longest name, characters.
const NAME_MAX: usize = 64;

/// An adapter of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LoraUse {
    /// Its name among your own adapters, or among those that everybody may use.
    pub name: String,
    /// How strongly it acts: 1 as it was trained, 0 not at all; negative values reverse it.
    #[serde(default = "one")]
    #[cfg_attr(feature = "openapi", schema(minimum = -10, maximum = 10))]
    pub scale: f64,
    /// Hash of the adapter's file. Filled in by the fleet; a request that gives another one is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// What the adapter needs. Filled in by the fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<LoraSampling>,
}

/// What an adapter that was trained for few steps needs. Each value applies where the request leaves it open.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LoraSampling {
    /// Denoising steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// Flow-match shift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow_shift: Option<f64>,
    /// Embedded guidance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guidance: Option<f64>,
}

fn one() -> f64 {
    1.0
}

impl LoraSampling {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is wrong with the values.
    #[must_use]
    pub fn problem(&self) -> Option<FieldError> {
        let above_0 = |value: f64| value.is_finite() && value > 0.0;
        if self.steps == Some(0) {
            return Some(FieldError::new("steps", "must be 1 or more"));
        }
        if self.flow_shift.is_some_and(|value| !above_0(value)) {
            return Some(FieldError::new("flow_shift", "must be above 0"));
        }
        if self.guidance.is_some_and(|value| !(value.is_finite() && value >= 0.0)) {
            return Some(FieldError::new("guidance", "must be 0 or more"));
        }
        None
    }
}

/// Whether an adapter may have this name.
#[must_use]
pub fn is_lora_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    name.len() <= NAME_MAX && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(fits)
}

/// The first of the adapters' values of one kind.
pub fn sampling_of<T>(loras: &[LoraUse], value: impl Fn(&LoraSampling) -> Option<T>) -> Option<T> {
    loras.iter().filter(|lora| lora.scale != 0.0).find_map(|lora| value(lora.sampling.as_ref()?))
}

/// See [`crate::VideoRequest::adapters_key`].
pub(crate) fn key(loras: &[LoraUse]) -> String {
    let acting = loras.iter().filter(|lora| lora.scale != 0.0);
    let one = |lora: &LoraUse| Some(format!("{}@{}", lora.fingerprint.as_ref()?, lora.scale));
    let mut keys: Vec<String> = acting.filter_map(one).collect();
    keys.sort();
    keys.join(",")
}

/// Everything that is wrong with a request's adapters.
pub(crate) fn errors(loras: &[LoraUse]) -> Vec<FieldError> {
    let mut wrong = Vec::new();
    if loras.len() > LORAS_MAX {
        wrong.push(FieldError::new("loras", format!("must have at most {LORAS_MAX} entries, not {}", loras.len())));
    }
    for (at, lora) in loras.iter().enumerate() {
        if !is_lora_name(&lora.name) {
            let reason = format!(
                "'{}' must be 1 to {NAME_MAX} letters, digits, dots, dashes and underscores",
                lora.name.escape_debug()
            );
            wrong.push(FieldError::new(&format!("loras[{at}].name"), reason));
        }
        if !(-LORA_SCALE_MAX..=LORA_SCALE_MAX).contains(&lora.scale) {
            let reason = format!("must be -{LORA_SCALE_MAX} to {LORA_SCALE_MAX}, not {}", lora.scale);
            wrong.push(FieldError::new(&format!("loras[{at}].scale"), reason));
        }
        if loras[..at].iter().any(|other| other.name == lora.name) {
            wrong.push(FieldError::new(&format!("loras[{at}].name"), format!("'{}' is named twice", lora.name)));
        }
    }
    wrong
}

/// Reads a list; null is none. A query string writes it as `name:scale,name`.
pub(crate) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<LoraUse>, D::Error> {
    deserializer.deserialize_any(ListVisitor)
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = Vec<LoraUse>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of adapters")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let one = |part: &str| {
            let (name, scale) = part.split_once(':').unwrap_or((part, "1"));
            let scale = scale.parse().map_err(|_| E::custom(format!("'{scale}' is not a number; write name:scale")))?;
            Ok(LoraUse { name: name.to_owned(), scale, fingerprint: None, sampling: None })
        };
        text.split(',').filter(|part| !part.is_empty()).map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VideoRequest;

    fn lora(name: &str, scale: f64) -> LoraUse {
        LoraUse { name: name.to_owned(), scale, fingerprint: None, sampling: None }
    }

    #[test]
    fn names_counts_and_scales_are_checked_by_field() {
        assert!(errors(&[lora("a", 1.0), lora("b.v2", -10.0)]).is_empty());
        let wrong = errors(&[lora("", 1.0), lora("a", f64::NAN), lora("a", 0.5), lora("../x", 1.0), lora("c", 11.0)]);
        let fields: Vec<&str> = wrong.iter().map(|error| error.field.as_str()).collect();
        let wanted = ["loras", "loras[0].name", "loras[1].scale", "loras[2].name", "loras[3].name", "loras[4].scale"];
        assert_eq!(fields, wanted);
    }

    #[test]
    fn lists_are_read_from_json_and_from_a_query() {
        let read = |text: &str| serde_json::from_str::<VideoRequest>(text).map(|request| request.loras);
        assert_eq!(read(r#"{"prompt": "x"}"#).unwrap(), []);
        assert_eq!(read(r#"{"prompt": "x", "loras": null}"#).unwrap(), []);
        assert_eq!(read(r#"{"prompt": "x", "loras": [{"name": "a"}]}"#).unwrap(), [lora("a", 1.0)]);
        assert_eq!(read(r#"{"prompt": "x", "loras": "a:0.5,b"}"#).unwrap(), [lora("a", 0.5), lora("b", 1.0)]);
        assert!(read(r#"{"prompt": "x", "loras": [{"name": "a", "scal": 1}]}"#).is_err());
        assert!(read(r#"{"prompt": "x", "loras": "a:much"}"#).is_err());
    }

    #[test]
    fn requests_without_adapters_are_hashed_as_before() {
        let plain = VideoRequest::new("x");
        let with = VideoRequest { loras: vec![lora("a", 1.0)], ..plain.clone() };
        let stronger = VideoRequest { loras: vec![lora("a", 1.5)], ..plain.clone() };
        assert_ne!(plain.payload_hash(), with.payload_hash());
        assert_ne!(stronger.payload_hash(), with.payload_hash());
    }

    #[test]
    fn the_key_depends_on_files_and_scales_but_not_on_names_and_order() {
        let used = |name: &str, fingerprint: &str, scale| LoraUse {
            fingerprint: Some(fingerprint.to_owned()),
            ..lora(name, scale)
        };
        assert_eq!(key(&[]), "");
        assert_eq!(key(&[used("a", "f1", 0.0)]), "");
        let (one, two) = (used("a", "f1", 0.8), used("b", "f0", 1.0));
        assert_eq!(key(&[one.clone(), two.clone()]), "f0@1,f1@0.8");
        assert_eq!(key(&[two, used("other", "f1", 0.8)]), "f0@1,f1@0.8");
        assert_ne!(key(&[used("a", "f1", 0.7)]), key(&[one]));
    }

    #[test]
    fn the_first_adapter_that_acts_decides() {
        let fast = LoraSampling { steps: Some(6), flow_shift: Some(17.0), guidance: None };
        let mut loras = [lora("a", 0.0), lora("b", 1.0), lora("c", 1.0)];
        (loras[0].sampling, loras[1].sampling) = (Some(LoraSampling { steps: Some(4), ..fast }), Some(fast));
        assert_eq!(sampling_of(&loras, |sampling| sampling.steps), Some(6));
        assert_eq!(sampling_of(&loras, |sampling| sampling.guidance), None);
    }
}
