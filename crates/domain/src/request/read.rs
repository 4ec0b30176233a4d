//! How single fields are read: `null` stands for the default of every field that has one, and a whole number may be written
//! with a fraction of zero (`129.0`), as programs without integers do.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

use super::defaults;
use crate::draft::{Judge, RenderMode};
use crate::tier::QualityTier;

/// The seed that other systems send for "draw one".
const RANDOM: i64 = -1;

/// Declares a function for `deserialize_with` that reads a field and takes null for its default.
macro_rules! or_default {
    ($($name:ident: $type:ty as $read:ty),+ $(,)?) => {$(
        pub(super) fn $name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
            let read = Option::<$read>::deserialize(deserializer)?;
            Ok(read.map_or_else(defaults::$name, <$type>::from))
        }
    )+};
}

or_default! {
    video_size: String as String,
    video_length: u32 as Whole<u32>,
    infer_steps: u32 as Whole<u32>,
    quality_tier: QualityTier as QualityTier,
    cfg_scale: f64 as f64,
    flow_reverse: bool as bool,
    true_cfg_scale: f64 as f64,
    mode: RenderMode as RenderMode,
    candidates: u32 as Whole<u32>,
    judge: Judge as Judge,
}

/// A seed; -1 and null ask for a random one.
pub(super) fn seed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let seed = Option::<Whole<i64>>::deserialize(deserializer)?;
    Ok(seed.map(|seed| seed.0).filter(|&seed| seed != RANDOM))
}

/// Whole seconds or null.
pub(super) fn deadline_s<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    Ok(Option::<Whole<u32>>::deserialize(deserializer)?.map(u32::from))
}

/// A factor or null.
pub(super) fn interpolate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    Ok(Option::<Whole<u32>>::deserialize(deserializer)?.map(u32::from))
}

/// A whole number, with or without a fraction of zero.
struct Whole<T>(T);

impl From<Whole<u32>> for u32 {
    fn from(whole: Whole<u32>) -> Self {
        whole.0
    }
}

impl<'de> Deserialize<'de> for Whole<u32> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u32(WholeVisitor { name: "a whole number of 0 or more", of: PhantomData }).map(Self)
    }
}

impl<'de> Deserialize<'de> for Whole<i64> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_i64(WholeVisitor { name: "a whole number up to 9223372036854775807", of: PhantomData })
            .map(Self)
    }
}

struct WholeVisitor<T> {
    /// What the field takes.
    name: &'static str,
    of: PhantomData<T>,
}

/// Up to here every whole number has a float of its own.
const FLOAT_EXACT_MAX: f64 = 9_007_199_254_740_992.0;

impl<T: TryFrom<i64> + TryFrom<u64>> Visitor<'_> for WholeVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        T::try_from(number).map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        T::try_from(number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        if number.fract() != 0.0 || number.abs() > FLOAT_EXACT_MAX {
            return Err(E::invalid_type(Unexpected::Float(number), &self));
        }
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53, as checked above")]
        let whole = number as i64;
        self.visit_i64(whole)
    }
}
