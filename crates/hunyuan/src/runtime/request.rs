//! The request for a video, checked against what the model supports.
//!
//! The rule: a bad request is refused before any work starts, with the name of the field; no value is silently rounded.

use tch::Tensor;

use crate::runtime::{
    embeddings::Embeddings,
    error::{Error, Result},
    first_frame::FirstFrame,
    progressive::Progressive,
    step_cache::StepCacheConfig,
};

/// Largest accepted width, height or number of frames; keeps products within 64 bits.
const MAX_EXTENT: i64 = 1 << 20;

/// The defaults of a family's reference implementation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Defaults {
    /// Width of a video in pixels.
    pub width: i64,
    /// Height of a video in pixels.
    pub height: i64,
    /// Frames of a video.
    pub frames: i64,
    /// Frames per second of playback.
    pub fps: u32,
    /// Denoising steps.
    pub steps: usize,
    /// Embedded guidance.
    pub guidance: f64,
    /// Scale of classifier-free guidance; 1 is off.
    pub true_cfg_scale: f64,
}

/// The draft that a run continues with another number of steps: which levels it takes first, and how.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DraftPart {
    /// Steps of the draft's schedule.
    pub steps: usize,
    /// How many of them the run takes before it goes on along its own schedule.
    pub after: usize,
    /// The draft's step cache; the run's own starts afresh after it.
    pub step_cache: StepCacheConfig,
    /// Steps that the draft itself would have taken at its lower resolution, if it had one.
    pub lower_steps: Option<usize>,
}

/// One video to denoise. Embeddings come from [`crate::Engine::encode`] or a cache.
#[derive(Debug)]
pub struct DenoiseRequest {
    /// Pixels; a multiple of the model's [`Geometry::size_step`].
    pub width: i64,
    /// Pixels; a multiple of the model's [`Geometry::size_step`].
    pub height: i64,
    /// Frames; one more than a multiple of the VAE's temporal factor.
    pub frames: i64,
    /// Denoising steps.
    pub steps: usize,
    /// Of the noise; ignored when `initial_latents` are given.
    pub seed: u64,
    /// Embedded guidance.
    pub guidance: f64,
    /// Shift of the schedule; none for the checkpoint's own.
    pub flow_shift: Option<f64>,
    /// Direction of the schedule; the released weights need true.
    pub flow_reverse: bool,
    /// The prompt.
    pub embeddings: Embeddings,
    /// A negative prompt and the scale of true guidance, which is on above 1 and doubles the work.
    pub negative: Option<(Embeddings, f64)>,
    /// The picture that the video begins from, by [`crate::Engine::encode_picture`]; needed exactly by a model of image-to-video.
    pub image: Option<FirstFrame>,
    /// `[1, channels, frames, height, width]` fp32 to start from instead of the seed's noise.
    pub initial_latents: Option<Tensor>,
    /// Reuse of predictions between steps.
    pub step_cache: StepCacheConfig,
    /// A draft with another number of steps that the run continues.
    pub draft: Option<DraftPart>,
    /// Stretches the positions in time, so that a video longer than the model's period does not repeat itself. It changes
    /// every video, so use it for long ones only.
    pub riflex: bool,
    /// Early steps at a lower resolution; not for inverted levels, nor for a video that begins from a picture.
    pub progressive: Option<Progressive>,
}

impl DenoiseRequest {
    /// A request with a family's defaults, without a negative prompt.
    #[must_use]
    pub fn new(defaults: &Defaults, embeddings: Embeddings, seed: u64) -> Self {
        Self {
            width: defaults.width,
            height: defaults.height,
            frames: defaults.frames,
            steps: defaults.steps,
            seed,
            guidance: defaults.guidance,
            flow_shift: None,
            flow_reverse: true,
            embeddings,
            negative: None,
            image: None,
            initial_latents: None,
            step_cache: StepCacheConfig::Off,
            draft: None,
            riflex: false,
            progressive: None,
        }
    }

    /// The negative prompt if true guidance is on.
    #[must_use]
    pub(crate) fn active_negative(&self) -> Option<(&Embeddings, f64)> {
        self.negative.as_ref().filter(|(_, scale)| *scale > 1.0).map(|(embeddings, scale)| (embeddings, *scale))
    }

    pub(crate) fn check(&self, geometry: &Geometry) -> Result<()> {
        geometry.latent_shape(self.width, self.height, self.frames)?;
        if !self.guidance.is_finite() {
            return Err(Error::input("guidance", format!("{}; give a finite number", self.guidance)));
        }
        if self.draft.is_some_and(|draft| draft.after == 0 || draft.after > draft.steps) {
            return Err(Error::input("draft", "it must cover at least one step and at most all of its schedule"));
        }
        self.check_progressive(geometry)?;
        if let Some((_, scale)) = self.negative.as_ref().filter(|(_, scale)| !scale.is_finite()) {
            return Err(Error::input("true_cfg_scale", format!("{scale}; give a finite number")));
        }
        if let Some(image) = &self.image {
            image.check(geometry.latent_shape(self.width, self.height, 1)?)?;
        }
        if let Some(latents) = &self.initial_latents {
            let wanted = geometry.latent_shape(self.width, self.height, self.frames)?;
            if latents.size() != wanted {
                let reason = format!("shape {:?}, but this size needs {wanted:?}", latents.size());
                return Err(Error::input("initial_latents", reason));
            }
        }
        Ok(())
    }

    fn check_progressive(&self, geometry: &Geometry) -> Result<()> {
        let Some(progressive) = &self.progressive else { return Ok(()) };
        let (lower, full) = ([progressive.width, progressive.height], [self.width, self.height]);
        geometry.latent_shape(lower[0], lower[1], self.frames)?;
        let reason = if lower[0] > full[0] || lower[1] > full[1] || lower == full {
            "its size must be smaller than the video's"
        } else if progressive.steps == 0 {
            "it needs at least one step at the lower resolution; leave it out"
        } else if !self.flow_reverse {
            "inverted levels have no change of resolution; leave it out"
        } else if self.image.is_some() {
            "a video that begins from a picture has no lower resolution; leave it out"
        } else if self.draft.is_some_and(|draft| progressive.steps > draft.after) {
            "the lower resolution of a continued draft must end with the draft"
        } else {
            return Ok(());
        };
        Err(Error::input("progressive", reason))
    }
}

/// How pixels and frames become latents and tokens in one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Channels of the latents.
    pub channels: i64,
    /// Pixels of a latent, each way.
    pub spatial: i64,
    /// Frames of a latent frame, but for the first.
    pub temporal: i64,
    /// Latents of a token, each way.
    pub patch: i64,
    /// Latent frames of a token.
    pub patch_t: i64,
}

impl Geometry {
    /// Width and height must be multiples of this: 16 for the released model.
    #[must_use]
    pub fn size_step(&self) -> i64 {
        self.spatial * self.patch
    }

    /// `[1, channels, frames, height, width]` of the latents of a video.
    ///
    /// # Errors
    /// [`Error::Input`] naming the field that does not fit.
    pub fn latent_shape(&self, width: i64, height: i64, frames: i64) -> Result<[i64; 5]> {
        let step = self.size_step();
        for (field, value) in [("width", width), ("height", height)] {
            if value < step || value % step != 0 || value > MAX_EXTENT {
                return Err(Error::input(
                    field,
                    format!("{value}; give a multiple of {step} from {step} to {MAX_EXTENT}"),
                ));
            }
        }
        if frames < 1 || (frames - 1) % self.temporal != 0 || frames > MAX_EXTENT {
            let reason =
                format!("{frames}; give one more than a multiple of {} (1, {}, ...)", self.temporal, self.temporal + 1);
            return Err(Error::input("frames", reason));
        }
        let latent_frames = (frames - 1) / self.temporal + 1;
        if latent_frames % self.patch_t != 0 {
            return Err(Error::input(
                "frames",
                format!("{latent_frames} latent frames do not divide by {}", self.patch_t),
            ));
        }
        Ok([1, self.channels, latent_frames, height / self.spatial, width / self.spatial])
    }

    /// Video tokens of latents of this shape.
    #[must_use]
    pub fn tokens(&self, latents: [i64; 5]) -> i64 {
        (latents[2] / self.patch_t).saturating_mul(latents[3] / self.patch).saturating_mul(latents[4] / self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASED: Geometry = Geometry { channels: 16, spatial: 8, temporal: 4, patch: 2, patch_t: 1 };

    #[test]
    fn released_sizes_have_the_published_token_counts() {
        for (width, height, frames, tokens) in
            [(1280, 720, 129, 118_800), (960, 544, 129, 67_320), (960, 544, 61, 32_640), (512, 320, 61, 10_240)]
        {
            let shape = RELEASED.latent_shape(width, height, frames).unwrap();
            assert_eq!(RELEASED.tokens(shape), tokens, "{width}x{height}x{frames}");
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused_by_field() {
        for (width, height, frames, field) in [
            (0, 64, 5, "width"),
            (24, 64, 5, "width"),
            (64, -16, 5, "height"),
            (64, i64::MAX, 5, "height"),
            (64, 64, 4, "frames"),
            (64, 64, 0, "frames"),
            (64, 64, i64::MIN, "frames"),
        ] {
            let error = RELEASED.latent_shape(width, height, frames).unwrap_err();
            assert!(matches!(error, Error::Input { field: name, .. } if name == field), "{error}");
        }
    }
}
