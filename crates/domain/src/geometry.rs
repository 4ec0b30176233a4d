//! How pixels and frames become the tokens that a transformer works on. This is the only place that computes it.
//!
//! A VAE turns `spatial` x `spatial` pixels into one latent pixel and `temporal` frames into one latent frame, except for
//! the first frame, which has its own latent frame. The transformer then joins `patch` x `patch` latent pixels of `patch_t`
//! latent frames into one token. Everything else follows: which sizes and lengths are possible, and how many tokens they
//! cost.

use serde::{Deserialize, Serialize};

/// Compression of a model's VAE and patch of its transformer. The defaults are those of HunyuanVideo 1.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Geometry {
    /// Pixels per latent pixel, along each side.
    pub spatial: u32,
    /// Frames per latent frame after the first.
    pub temporal: u32,
    /// Latent pixels per token, along each side.
    pub patch: u32,
    /// Latent frames per token.
    pub patch_t: u32,
}

impl Default for Geometry {
    fn default() -> Self {
        Self { spatial: 8, temporal: 4, patch: 2, patch_t: 1 }
    }
}

/// Largest factor of each kind: far above any model, and small enough that no product overflows 32 bits.
const FACTOR_MAX: u32 = 256;

impl Geometry {
    /// The factors by their names in `fleet.toml`.
    #[must_use]
    pub fn factors(&self) -> [(&'static str, u32); 4] {
        [("spatial", self.spatial), ("temporal", self.temporal), ("patch", self.patch), ("patch_t", self.patch_t)]
    }

    /// The first factor outside 1 to 256, with the reason; `None` when the geometry is usable.
    #[must_use]
    pub fn problem(&self) -> Option<(&'static str, String)> {
        let (name, value) = self.factors().into_iter().find(|(_, value)| !(1..=FACTOR_MAX).contains(value))?;
        Some((name, format!("{value} must be 1 to {FACTOR_MAX}")))
    }

    /// Pixels that each side must be a multiple of.
    #[must_use]
    pub fn size_step(&self) -> u32 {
        self.spatial * self.patch
    }

    /// Frames from one possible length to the next.
    #[must_use]
    pub fn frame_step(&self) -> u32 {
        self.temporal * self.patch_t
    }

    /// Fewest frames: 1 unless a token spans several latent frames.
    #[must_use]
    pub fn frames_min(&self) -> u32 {
        self.temporal * (self.patch_t - 1) + 1
    }

    /// Whether the model can render this number of frames: `frames_min` plus a multiple of `frame_step`.
    #[must_use]
    pub fn allows_frames(&self, frames: u32) -> bool {
        frames >= self.frames_min() && (frames - self.frames_min()).is_multiple_of(self.frame_step())
    }

    /// The possible number of frames that is nearest to `exact`.
    #[must_use]
    pub(crate) fn nearest_frames(&self, exact: f64) -> u32 {
        let (min, step) = (self.frames_min(), self.frame_step());
        let steps = ((exact - f64::from(min)) / f64::from(step)).round().max(0.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative; `as` saturates")]
        let steps = steps as u32;
        steps.saturating_mul(step).saturating_add(min)
    }

    /// The rule for lengths as shown to users: `4k+1`.
    #[must_use]
    pub(crate) fn frame_rule(&self) -> String {
        format!("{}k+{}", self.frame_step(), self.frames_min())
    }

    /// Tokens of a video of this size in pixels and length in frames. Sides and lengths that do not divide are rounded down.
    #[must_use]
    pub fn tokens(&self, width: u32, height: u32, frames: u32) -> u64 {
        let latent_frames = frames.saturating_sub(1) / self.temporal + 1;
        let side = self.size_step();
        u64::from(latent_frames / self.patch_t) * u64::from(height / side) * u64::from(width / side)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1_5: Geometry = Geometry { spatial: 16, temporal: 4, patch: 1, patch_t: 1 };

    #[test]
    fn released_sizes_have_the_published_token_counts() {
        let sizes =
            [(1280, 720, 129, 118_800), (960, 544, 129, 67_320), (960, 544, 61, 32_640), (512, 320, 61, 10_240)];
        for (width, height, frames, tokens) in sizes {
            assert_eq!(Geometry::default().tokens(width, height, frames), tokens, "{width}x{height}x{frames}");
        }
        for (width, height, frames, tokens) in
            [(848, 480, 121, 49_290), (1280, 720, 121, 111_600), (832, 480, 33, 14_040)]
        {
            assert_eq!(V1_5.tokens(width, height, frames), tokens, "{width}x{height}x{frames} of HunyuanVideo 1.5");
        }
    }

    #[test]
    fn both_released_families_take_the_same_sizes_and_lengths() {
        for geometry in [Geometry::default(), V1_5] {
            assert_eq!((geometry.size_step(), geometry.frame_step(), geometry.frames_min()), (16, 4, 1));
            assert_eq!(geometry.frame_rule(), "4k+1");
            assert!(geometry.allows_frames(1) && geometry.allows_frames(129));
            assert!(!geometry.allows_frames(0) && !geometry.allows_frames(128));
        }
    }

    #[test]
    fn a_patch_in_time_changes_the_lengths() {
        let geometry = Geometry { patch_t: 2, ..Geometry::default() };
        assert_eq!(geometry.frame_rule(), "8k+5");
        assert!(geometry.allows_frames(5) && geometry.allows_frames(13) && !geometry.allows_frames(9));
        assert_eq!(geometry.tokens(16, 16, 13), 2);
        assert_eq!(geometry.nearest_frames(0.0), 5);
        assert_eq!(geometry.nearest_frames(10.0), 13);
    }

    #[test]
    fn unusable_factors_are_named() {
        let (name, reason) = Geometry { temporal: 0, ..V1_5 }.problem().expect("no frames per latent frame");
        assert_eq!((name, reason.as_str()), ("temporal", "0 must be 1 to 256"));
        assert_eq!(Geometry { spatial: 1000, ..V1_5 }.problem().expect("too large").0, "spatial");
        assert_eq!(V1_5.problem(), None);
    }

    #[test]
    fn absent_factors_are_those_of_the_first_family() {
        assert_eq!(toml::from_str::<Geometry>("").expect("all absent"), Geometry::default());
        assert_eq!(toml::from_str::<Geometry>("spatial = 16\npatch = 1").expect("two given"), V1_5);
        assert!(toml::from_str::<Geometry>("spacial = 16").is_err(), "a misspelt factor");
    }
}
