//! How seeds are written and read.
//!
//! A seed has 64 bits, and JavaScript reads JSON numbers as floats, which are exact up to 2^53. So a larger seed is written as a string
//! of digits, which every client shows and sends back unchanged. Both forms are read, for any size.

use std::fmt;

use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde::ser::Serializer;

pub mod optional;

/// Up to here every whole number has a float of its own.
pub(crate) const FLOAT_EXACT_MAX: u64 = 1 << 53;
/// The seed that other systems send for "draw one".
const RANDOM: i64 = -1;

/// Writes a seed as a number, or as digits if a float could not hold it.
///
/// # Errors
/// The serializer's error.
pub fn serialize<S: Serializer>(seed: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    if *seed > FLOAT_EXACT_MAX { serializer.collect_str(seed) } else { serializer.serialize_u64(*seed) }
}

/// Reads a seed in either form.
///
/// # Errors
/// The deserializer's error, for anything that is not a seed.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let seed = deserializer.deserialize_any(SeedVisitor)?;
    seed.ok_or_else(|| D::Error::invalid_value(Unexpected::Signed(RANDOM), &"a seed"))
}

/// Both forms, for the description of the API.
#[cfg(feature = "openapi")]
#[derive(Debug)]
pub struct Seed;

/// What the digits of a seed look like. It leaves out the last 45 million millions, which would need ten more cases.
#[cfg(feature = "openapi")]
const DIGITS: &str = concat!(
    "^(-1|0|[1-9][0-9]{0,18}|1[0-7][0-9]{18}|18[0-3][0-9]{17}|184[0-3][0-9]{16}|1844[0-5][0-9]{15}",
    "|18446[0-6][0-9]{14})$"
);

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Seed {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
        let number =
            ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(-1)).maximum(Some(9_007_199_254_740_992_i64));
        let digits = ObjectBuilder::new().schema_type(Type::String).pattern(Some(DIGITS));
        let description =
            "A number, or beyond 2^53 a string of digits, up to 18446744073709551615; -1 asks for a random seed.";
        OneOfBuilder::new().item(number).item(digits).description(Some(description)).into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Seed {}

struct SeedVisitor;

impl Visitor<'_> for SeedVisitor {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number from 0 to 18446744073709551615, or -1 for a random seed")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E: Error>(self, seed: u64) -> Result<Self::Value, E> {
        Ok(Some(seed))
    }

    fn visit_i64<E: Error>(self, seed: i64) -> Result<Self::Value, E> {
        match u64::try_from(seed) {
            Ok(seed) => Ok(Some(seed)),
            Err(_) if seed == RANDOM => Ok(None),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(seed), &self)),
        }
    }

    fn visit_f64<E: Error>(self, seed: f64) -> Result<Self::Value, E> {
        #[expect(clippy::cast_precision_loss, reason = "2^53 is exact")]
        let exact_max = FLOAT_EXACT_MAX as f64;
        if seed.fract() != 0.0 || seed.abs() > exact_max {
            return Err(E::invalid_type(Unexpected::Float(seed), &self));
        }
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53, as checked above")]
        let whole = seed as i64;
        self.visit_i64(whole)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        match text.parse::<u64>() {
            // `parse` also takes a plus sign and zeros in front.
            Ok(seed) if text == seed.to_string() => Ok(Some(seed)),
            _ if text == "-1" => Ok(None),
            _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Holder {
        #[serde(default, with = "super::optional")]
        seed: Option<u64>,
    }

    #[test]
    fn seeds_beyond_2_to_the_53_are_written_as_digits_and_read_in_both_forms() {
        let exact = 1_u64 << 53;
        for (seed, written) in [
            (0, json!(0)),
            (exact, json!(exact)),
            (exact + 1, json!("9007199254740993")),
            (u64::MAX, json!("18446744073709551615")),
        ] {
            let holder = Holder { seed: Some(seed) };
            assert_eq!(serde_json::to_value(&holder).unwrap(), json!({ "seed": written }));
            for form in [json!(seed), json!(seed.to_string())] {
                let text = json!({ "seed": form }).to_string();
                assert_eq!(serde_json::from_str::<Holder>(&text).unwrap(), holder, "{text}");
            }
        }
    }

    #[test]
    fn null_and_minus_one_ask_for_a_random_seed() {
        for form in ["null", "-1", "-1.0", "\"-1\""] {
            assert_eq!(serde_json::from_str::<Holder>(&format!("{{\"seed\": {form}}}")).unwrap().seed, None, "{form}");
        }
        assert_eq!(serde_json::from_str::<Holder>("{}").unwrap().seed, None);
        assert_eq!(serde_json::from_str::<Holder>("{\"seed\": 7.0}").unwrap().seed, Some(7));
    }

    #[test]
    fn anything_else_is_refused() {
        for form in [
            "-2",
            "0.5",
            "1e30",
            "18446744073709551616",
            "\"18446744073709551616\"",
            "\"+1\"",
            "\"01\"",
            "\"\"",
            "\"x\"",
            "true",
            "[]",
        ] {
            assert!(serde_json::from_str::<Holder>(&format!("{{\"seed\": {form}}}")).is_err(), "{form}");
        }
    }
}
