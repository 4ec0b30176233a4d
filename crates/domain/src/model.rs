//! A model folder's `fleet.toml`: what the model is, which sizes it renders, and how it interprets the API's lengths.
//!
//! One API serves models of very different scale. Users ask for `540p` and 129 frames; the manifest maps that to the
//! model's own scale, so that a small embedded model serves the same request in seconds.

use serde::{Deserialize, Serialize};

use crate::family::ModelFamily;
use crate::field_error::FieldError;
use crate::geometry::Geometry;
use crate::image_input::ImageInput;
pub use crate::manifest_error::ManifestError;
use crate::progressive::ProgressiveLevels;
pub use crate::sampling::{CostPrior, Override, Sampling, StepCacheThresholds, StepRange, StepRanges, TierSteps};
pub use crate::world::World;

/// Contents of `fleet.toml`. Unknown keys are refused, since a misspelt limit would silently not apply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelManifest {
    /// Id in requests, queue names and metrics: `[a-z0-9][a-z0-9._-]*`, at most 48 characters.
    pub id: String,
    /// The networks and the pipeline that run it.
    #[serde(default)]
    pub family: ModelFamily,
    /// Whether its videos begin from a picture; must agree with the checkpoint.
    #[serde(default, skip_serializing_if = "ImageInput::is_none")]
    pub image: ImageInput,
    /// Display name.
    pub name: String,
    /// What it can draw and what it cannot; the page shows this.
    #[serde(default)]
    pub description: String,
    /// Prompts that show it well; the page offers them.
    #[serde(default)]
    pub examples: Vec<String>,
    /// The words that it understands, if these are few.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub world: Option<World>,
    /// Content hashes that identify the weights.
    pub fingerprint: Fingerprints,
    /// The schedule, and how many steps the model takes.
    pub sampling: Sampling,
    /// What the step-cache modes mean for this model. A manifest without this table gets the documented numbers.
    #[serde(default, skip_serializing_if = "StepCacheThresholds::is_default")]
    pub step_cache: StepCacheThresholds,
    /// Down to which noise level steps may be taken at half the size; absent for a model that cannot do it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progressive: Option<ProgressiveLevels>,
    /// How pixels and frames become tokens; must agree with the checkpoint.
    #[serde(default)]
    pub geometry: Geometry,
    /// Sizes of the transformer, by which adapters are checked before they are stored; without this table the model takes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transformer: Option<TransformerSizes>,
    /// Named sizes, in the order the page offers them; the first is the default of an unnamed size.
    pub sizes: Vec<NamedSize>,
    /// Limits of sizes given as `WxH`.
    pub custom_size: CustomSize,
    /// What a length means.
    pub length: Length,
    /// Device memory.
    pub memory: Memory,
    /// What the cost model assumes before the fleet has measured its own workers.
    pub cost_prior: CostPrior,
}

/// Fingerprints as `worker fingerprint --model DIR` prints them: blake3, hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprints {
    /// Transformer and VAE.
    pub weights: String,
    /// Both text encoders, their tokenizers and the prompt template: what embeddings depend on.
    pub encoders: String,
}

/// `[transformer]`: the sizes of the network that adapters change; must agree with the checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformerSizes {
    /// Width of a token.
    pub hidden: u64,
    /// Width inside the blocks' MLP.
    pub mlp: u64,
    /// Blocks with two streams.
    pub double_blocks: u64,
    /// Blocks with one stream.
    pub single_blocks: u64,
    /// Blocks of the token refiner.
    pub refiner_blocks: u64,
    /// Width of the language model's states.
    pub text: u64,
    /// Width of the pooled prompt.
    pub pooled: u64,
    /// Values of a patch: channels of the latents times the latents of a token.
    pub patch: u64,
    /// Whether the guidance scale is an input.
    pub guidance: bool,
}

/// A size that users name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedSize {
    /// `540p`.
    pub name: String,
    /// Its aspects; the first is the default.
    pub aspects: Vec<AspectSize>,
}

/// One aspect of a named size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AspectSize {
    /// `16:9`.
    pub aspect: String,
    /// Rendered width, pixels.
    pub width: u32,
    /// Rendered height, pixels.
    pub height: u32,
}

/// Limits of sizes given as `WxH`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomSize {
    /// Each side must be a multiple of this, pixels.
    pub multiple_of: u32,
    /// Shortest side, pixels.
    pub side_min: u32,
    /// Most pixels a frame may have.
    pub pixels_max: u32,
}

/// What `video_length` means: a number of frames at [`Length::FPS`], rendered as fewer by a small model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Length {
    /// Longest `video_length`.
    pub max: u32,
    /// Frames this model renders for the longest; equal to `max` for a full-scale model.
    pub rendered_at_max: u32,
    /// Fewest frames it renders for anything longer than one frame.
    pub rendered_min: u32,
    /// Above this many rendered frames positions in time are stretched (RIFLEx), since the model would repeat itself; absent for a
    /// model that cannot do it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub riflex_above: Option<u32>,
    /// The longest `video_length` that the model does well; absent if that is `max`. Longer ones are rendered too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good_max: Option<u32>,
}

/// Device memory that a job needs: `base + per_token * video tokens`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Resident weights and what every job needs, bytes.
    pub base_bytes: u64,
    /// Activations for each video token, bytes.
    pub per_token_bytes: u64,
}

/// What is rendered for a request: pixels, frames and playback rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RenderShape {
    /// Width, pixels.
    pub width: u32,
    /// Height, pixels.
    pub height: u32,
    /// Frames: a length that the model's geometry allows, 4k+1 for HunyuanVideo.
    pub frames: u32,
    /// Frames per second of playback.
    pub fps: f64,
}

impl RenderShape {
    /// Video tokens in a transformer of this geometry.
    #[must_use]
    pub fn tokens(&self, geometry: &Geometry) -> u64 {
        geometry.tokens(self.width, self.height, self.frames)
    }

    /// Seconds of playback.
    #[must_use]
    pub fn duration_s(&self) -> f64 {
        f64::from(self.frames) / self.fps
    }
}

impl Length {
    /// Frames per second that `video_length` counts in, as in the reference implementation.
    pub const FPS: f64 = 24.0;

    /// Frames to render for an API length, and the rate that keeps the duration. The geometry must allow both lengths.
    fn rendered(&self, video_length: u32, geometry: &Geometry) -> (u32, f64) {
        if self.rendered_at_max == self.max || video_length == geometry.frames_min() {
            // A full-scale model renders every length as it is. A single still frame cannot be scaled down either.
            return (video_length, Self::FPS);
        }
        let exact = f64::from(video_length) * f64::from(self.rendered_at_max) / f64::from(self.max);
        let frames = geometry.nearest_frames(exact).clamp(self.rendered_min, self.rendered_at_max);
        (frames, f64::from(frames) * Self::FPS / f64::from(video_length))
    }
}

impl Memory {
    /// Bytes that a job of this many video tokens needs.
    #[must_use]
    pub fn need_bytes(&self, tokens: u64) -> u64 {
        self.base_bytes.saturating_add(self.per_token_bytes.saturating_mul(tokens))
    }
}

/// Longest side of a frame and most frames that a manifest may name: far above any model, and small enough that numbers of
/// pixels and tokens fit their types by a wide margin.
const SIDE_MAX: u32 = 16_384;
const LENGTH_MAX: u32 = 100_001;

impl ModelManifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// [`ManifestError`] naming the key.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = toml::from_str(text)?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), ManifestError> {
        let wrong = |key: &str, reason: String| Err(ManifestError::Value { key: key.to_owned(), reason });
        let id_ok = self.id.len() <= 48
            && self.id.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && self.id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c));
        if !id_ok {
            return wrong("id", format!("'{}' must match [a-z0-9][a-z0-9._-]* with at most 48 characters", self.id));
        }
        if let Some((factor, reason)) = self.geometry.problem() {
            return wrong(&format!("geometry.{factor}"), reason);
        }
        let step = self.geometry.size_step();
        if self.sizes.is_empty() {
            return wrong("sizes", "name at least one size".to_owned());
        }
        let multiple = self.custom_size.multiple_of;
        if multiple == 0 || !multiple.is_multiple_of(step) {
            return wrong("custom_size.multiple_of", format!("{multiple} must be a multiple of {step} above 0"));
        }
        if self.custom_size.pixels_max > SIDE_MAX * SIDE_MAX {
            return wrong("custom_size.pixels_max", format!("must be at most {}", SIDE_MAX * SIDE_MAX));
        }
        for size in &self.sizes {
            let key = format!("sizes.{}", size.name);
            if size.aspects.is_empty() {
                return wrong(&key, "name at least one aspect".to_owned());
            }
            for side in size.aspects.iter().flat_map(|a| [a.width, a.height]) {
                if side == 0 || side > SIDE_MAX || !side.is_multiple_of(step) {
                    return wrong(&key, format!("{side} must be a multiple of {step} from {step} to {SIDE_MAX}"));
                }
            }
        }
        let length = &self.length;
        for (key, frames) in
            [("max", length.max), ("rendered_at_max", length.rendered_at_max), ("rendered_min", length.rendered_min)]
        {
            if !self.geometry.allows_frames(frames) || frames > LENGTH_MAX {
                let rule = self.geometry.frame_rule();
                return wrong(&format!("length.{key}"), format!("{frames} must be {rule} and at most {LENGTH_MAX}"));
            }
        }
        if length.rendered_min > length.rendered_at_max || length.rendered_at_max > length.max {
            return wrong("length", "must hold rendered_min <= rendered_at_max <= max".to_owned());
        }
        if let Some(world) = &self.world {
            world.check()?;
        }
        if let Some(good) = length.good_max
            && (!self.geometry.allows_frames(good) || good > length.max)
        {
            let rule = self.geometry.frame_rule();
            return wrong("length.good_max", format!("{good} must be {rule} and at most length.max, {}", length.max));
        }
        self.sampling.check()?;
        self.step_cache.check()?;
        if let Some(progressive) = &self.progressive {
            progressive.check(!self.image.is_none())?;
        }
        self.cost_prior.check()
    }

    /// Steps of the fixed baseline that savings are counted against, at most what the model can run.
    #[must_use]
    pub fn baseline_steps(&self) -> u32 {
        self.sampling.possible(self.cost_prior.baseline_steps)
    }

    /// What is rendered for a request's size, aspect and length.
    ///
    /// # Errors
    /// A [`FieldError`] for each invalid field (`video_size` or `aspect_ratio`, and `video_length`), with the allowed
    /// values.
    pub fn shape(
        &self,
        video_size: &str,
        aspect: Option<&str>,
        video_length: u32,
    ) -> Result<RenderShape, Vec<FieldError>> {
        let (geometry, max) = (&self.geometry, self.length.max);
        let length_ok = geometry.allows_frames(video_length) && video_length <= max;
        let length = length_ok.then(|| self.length.rendered(video_length, geometry)).ok_or_else(|| {
            let (min, step) = (geometry.frames_min(), geometry.frame_step());
            let examples = format!("{min}, {}, {}, ... {max}", min + step, min + 2 * step);
            let reason = format!("must be {} frames ({examples}), not {video_length}", geometry.frame_rule());
            FieldError::new("video_length", reason)
        });
        match (self.pixels(video_size, aspect), length) {
            (Ok((width, height)), Ok((frames, fps))) => Ok(RenderShape { width, height, frames, fps }),
            (pixels, length) => Err(pixels.err().into_iter().chain(length.err()).collect()),
        }
    }

    fn pixels(&self, video_size: &str, aspect: Option<&str>) -> Result<(u32, u32), FieldError> {
        if let Some(named) = self.sizes.iter().find(|size| size.name == video_size) {
            let Some(aspect) = aspect else {
                return Ok((named.aspects[0].width, named.aspects[0].height));
            };
            let found = named.aspects.iter().find(|a| a.aspect == aspect);
            return found.map(|a| (a.width, a.height)).ok_or_else(|| {
                let known: Vec<_> = named.aspects.iter().map(|a| a.aspect.as_str()).collect();
                FieldError::new(
                    "aspect_ratio",
                    format!("'{aspect}' is not one of {} at {video_size}", known.join(", ")),
                )
            });
        }
        let Some((width, height)) = parse_pixels(video_size) else {
            let known: Vec<_> = self.sizes.iter().map(|size| size.name.as_str()).collect();
            let reason = format!("'{video_size}' is neither one of {} nor WIDTHxHEIGHT", known.join(", "));
            return Err(FieldError::new("video_size", reason));
        };
        if aspect.is_some() {
            return Err(FieldError::new("aspect_ratio", "only applies to a named size; omit it with WIDTHxHEIGHT"));
        }
        let limit = &self.custom_size;
        let bad_side =
            [width, height].into_iter().find(|side| !side.is_multiple_of(limit.multiple_of) || *side < limit.side_min);
        if let Some(side) = bad_side {
            let reason = format!("{side} must be a multiple of {} and at least {}", limit.multiple_of, limit.side_min);
            return Err(FieldError::new("video_size", reason));
        }
        if u64::from(width) * u64::from(height) > u64::from(limit.pixels_max) {
            let reason = format!("{width}x{height} has more than the {} pixels this model renders", limit.pixels_max);
            return Err(FieldError::new("video_size", reason));
        }
        Ok((width, height))
    }
}

/// Parses `960x544`: digits only, no sign.
fn parse_pixels(text: &str) -> Option<(u32, u32)> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    let (width, height) = text.split_once(['x', 'X'])?;
    Some((digits(width)?, digits(height)?))
}
