//! Frame interpolation: which factors there are, and what they make of a video.

use serde::{Deserialize, Serialize};

use crate::model::RenderShape;

/// Factors that a request or a tier may name, beside 1 for none.
pub const FACTORS: [u32; 3] = [2, 4, 8];

/// What interpolation did to a finished video; kept in its record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InterpolationRecord {
    /// How many times as many frames per second.
    pub factor: u32,
    /// Frames of the video.
    pub frames: u32,
    /// Frames per second of the video.
    #[serde(with = "crate::finite")]
    pub fps: f64,
    /// Scene cuts, at which frames were repeated instead of blended.
    pub cuts: u32,
    /// Millions of pixels of all new frames; the time grows with them.
    #[serde(with = "crate::finite")]
    pub megapixels: f64,
    /// Fingerprint of the interpolator's weights.
    pub weights: String,
}

impl RenderShape {
    /// The video that interpolation by `factor` makes of what is rendered. The duration stays: `factor - 1` frames between each
    /// pair make `(frames - 1) * factor + 1`, and the rate grows with them.
    #[must_use]
    pub fn interpolated(&self, factor: u32) -> Self {
        if factor < 2 || self.frames < 2 {
            return *self;
        }
        let frames = (self.frames - 1).saturating_mul(factor).saturating_add(1);
        Self { frames, fps: f64::from(frames) / self.duration_s(), ..*self }
    }

    /// Millions of pixels of the frames that interpolation by `factor` adds.
    #[must_use]
    pub fn interpolated_megapixels(&self, factor: u32) -> f64 {
        let added = self.interpolated(factor).frames - self.frames;
        f64::from(self.width) * f64::from(self.height) * f64::from(added) / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(frames: u32, fps: f64) -> RenderShape {
        RenderShape { width: 1000, height: 500, frames, fps }
    }

    #[test]
    fn a_small_models_seventeen_frames_become_the_129_that_were_asked_for_in_the_same_time() {
        let rendered = shape(17, 24.0 * 17.0 / 129.0);
        let smooth = rendered.interpolated(8);
        assert_eq!(smooth.frames, 129);
        assert!((smooth.fps - 24.0).abs() < 1e-9 && (smooth.duration_s() - rendered.duration_s()).abs() < 1e-9);
        assert_eq!(shape(65, 24.0).interpolated(2).frames, 129);
    }

    #[test]
    fn a_factor_of_one_and_a_single_frame_change_nothing() {
        assert_eq!(shape(65, 24.0).interpolated(1), shape(65, 24.0));
        assert_eq!(shape(1, 24.0).interpolated(8), shape(1, 24.0));
        assert!(shape(65, 24.0).interpolated_megapixels(1).abs() < f64::EPSILON);
        assert!((shape(65, 24.0).interpolated_megapixels(2) - 32.0).abs() < 1e-9);
    }
}
