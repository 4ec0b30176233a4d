//! Progressive resolution: early denoising steps at half the width and height.
//!
//! The noise level decides when a run goes on at full size. The early steps follow a schedule of their own, whose shift is the run's
//! divided by the ratio of the sides; the latents are enlarged after the first step that ends at or below the mode's level. Nothing
//! else of the schedule changes, so the later steps are those that the run would have taken anyway.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::geometry::Geometry;
use crate::manifest_error::ManifestError;
use crate::tier::{UnknownWord, words};

words!(
    /// How many of the early steps are taken at half the width and height.
    ProgressiveMode {
        /// None.
        Off = "off",
        /// Down to a noise level at which little detail is decided yet.
        Balanced = "balanced",
        /// More steps; details can suffer.
        Fast = "fast",
    }
);

/// `[progressive]` of `fleet.toml`: down to which noise level early steps may be taken at half the width and height. A model without
/// this table does not offer it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgressiveLevels {
    /// Of the mode `balanced`.
    pub balanced: f64,
    /// Of the mode `fast`; lower, so that more steps come before it.
    pub fast: f64,
}

/// The early steps of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProgressivePlan {
    /// How many they are.
    pub mode: ProgressiveMode,
    /// Width of these steps, pixels.
    pub width: u32,
    /// Height of these steps, pixels.
    pub height: u32,
    /// Video tokens of these steps.
    pub tokens: u64,
    /// Number of these steps.
    pub steps: u32,
    /// Shift of their schedule.
    pub shift: f64,
    /// Estimated time of one of them relative to a step at full size.
    #[serde(with = "crate::finite")]
    pub step_share: f64,
}

/// The early steps of a finished run; kept in its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProgressiveRecord {
    /// Width of these steps, pixels.
    pub width: u32,
    /// Height of these steps, pixels.
    pub height: u32,
    /// Video tokens of these steps.
    pub tokens: u64,
    /// Number of these steps that ran through the transformer.
    pub steps_computed: u32,
    /// Number of these steps that the step cache replaced.
    pub steps_skipped: u32,
}

impl ProgressiveLevels {
    /// The level of a mode; `None` for `off`.
    #[must_use]
    pub fn level(&self, mode: ProgressiveMode) -> Option<f64> {
        match mode {
            ProgressiveMode::Off => None,
            ProgressiveMode::Balanced => Some(self.balanced),
            ProgressiveMode::Fast => Some(self.fast),
        }
    }

    /// The early steps of a run with this many steps and this shift, their time at 1. `None` where there are none: with `off`, with
    /// sides that cannot be halved, and with so few steps that the first below the level would be the last.
    #[must_use]
    pub fn plan(
        &self,
        mode: ProgressiveMode,
        [width_full, height_full, frames]: [u32; 3],
        geometry: &Geometry,
        (steps, shift): (u32, f64),
    ) -> Option<ProgressivePlan> {
        let level = self.level(mode)?;
        let (width, height) = halved([width_full, height_full], geometry)?;
        let area = |width: u32, height: u32| f64::from(width) * f64::from(height);
        let shift = shift / (area(width_full, height_full) / area(width, height)).sqrt();
        let sigma = |step: u32| {
            let even = 1.0 - f64::from(step) / f64::from(steps);
            shift * even / (1.0 + (shift - 1.0) * even)
        };
        let early = (1..steps).find(|&step| sigma(step) <= level)?;
        let tokens = geometry.tokens(width, height, frames);
        Some(ProgressivePlan { mode, width, height, tokens, steps: early, shift, step_share: 1.0 })
    }

    pub(crate) fn check(&self, takes_picture: bool) -> Result<(), ManifestError> {
        if takes_picture {
            let reason = "is not possible for a model whose videos begin from a picture; remove the table";
            return Err(ManifestError::value("progressive", reason));
        }
        let ok = 0.0 < self.fast && self.fast <= self.balanced && self.balanced < 1.0;
        let reason = "balanced and fast must satisfy 0 < fast <= balanced < 1";
        if ok { Ok(()) } else { Err(ManifestError::value("progressive", reason)) }
    }
}

impl ProgressivePlan {
    /// The first `steps` steps of a run, counted by their time: a step at full size is 1.
    #[must_use]
    pub fn weight(early: Option<&Self>, steps: u32) -> f64 {
        let (lower, share) = early.map_or((0, 1.0), |early| (steps.min(early.steps), early.step_share));
        f64::from(lower) * share + f64::from(steps - lower)
    }
}

/// Half the width and height, lowered to sizes that the model can render; `None` if one side would vanish.
#[must_use]
pub(crate) fn halved([width, height]: [u32; 2], geometry: &Geometry) -> Option<(u32, u32)> {
    let step = geometry.size_step();
    let half = |side: u32| Some(side / 2 / step * step).filter(|&half| half > 0);
    Some((half(width)?, half(height)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVELS: ProgressiveLevels = ProgressiveLevels { balanced: 0.787, fast: 0.619 };

    #[test]
    fn released_sizes_are_halved_to_whole_tokens_and_the_level_decides_the_steps() {
        let plan = |mode, width, height| LEVELS.plan(mode, [width, height, 129], &Geometry::default(), (50, 7.0));
        assert_eq!(plan(ProgressiveMode::Off, 1280, 720), None);
        let large = plan(ProgressiveMode::Balanced, 1280, 720).expect("halved");
        assert_eq!((large.width, large.height, large.tokens, large.steps), (640, 352, 29_040, 25));
        assert!((large.shift - 7.0 / 2.0226).abs() < 1e-3, "{large:?}");
        let fast = plan(ProgressiveMode::Fast, 1280, 720).expect("halved");
        assert_eq!(fast.steps, 35);
        let small = plan(ProgressiveMode::Balanced, 960, 544).expect("halved");
        assert_eq!((small.width, small.height, small.shift.to_bits()), (480, 272, 3.5_f64.to_bits()));
    }

    #[test]
    fn a_run_keeps_at_least_one_step_at_full_size_and_a_tiny_video_is_not_halved() {
        let steps = |steps| {
            let plan = LEVELS.plan(ProgressiveMode::Fast, [960, 544, 129], &Geometry::default(), (steps, 7.0));
            plan.map(|plan| plan.steps)
        };
        assert_eq!([steps(1), steps(2), steps(3), steps(4), steps(50)], [None, None, None, Some(3), Some(35)]);
        assert_eq!(halved([16, 64], &Geometry::default()), None);
        assert_eq!(halved([48, 64], &Geometry::default()), Some((16, 32)));
    }

    #[test]
    fn levels_must_fall_from_balanced_to_fast_and_pictures_have_none() {
        assert!(LEVELS.check(false).is_ok());
        assert!(LEVELS.check(true).is_err());
        for (balanced, fast) in [(0.6, 0.7), (1.0, 0.6), (0.6, 0.0), (f64::NAN, 0.5)] {
            assert!(ProgressiveLevels { balanced, fast }.check(false).is_err(), "{balanced} {fast}");
        }
    }
}
