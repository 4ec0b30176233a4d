//! What a user asks for, with the defaults and limits that the API documents.
//!
//! [`VideoRequest`] is the only list of the request's fields. The JSON body, the query parameters of the analysis, the stored
//! document, the idempotency hash and the OpenAPI schema all follow from it, so a new field is declared here and nowhere else.

mod deadline;
mod document;
mod hash;
mod read;
mod visible;

use serde::{Deserialize, Serialize};

use crate::draft::{CANDIDATES_MAX, Judge, RenderMode};
use crate::field_error::FieldError;
use crate::image::{self, ImageSource};
use crate::interpolation::FACTORS;
use crate::lora::{self, LoraUse};
use crate::model::{ModelManifest, RenderShape};
use crate::progressive::{ProgressiveMode, halved};
use crate::tier::{QualityTier, StepCacheMode};
use crate::webhook::{check_webhook_url, read_webhook_events};

pub use deadline::DeadlinePolicy;

/// A request for one video. Every field except `prompt` has a default; unknown fields are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(example = json!({"prompt": "A red ball rolls over green grass"})))]
#[serde(deny_unknown_fields)]
pub struct VideoRequest {
    /// What the video shows. Any language; HunyuanVideo is trained on English and Chinese.
    #[cfg_attr(feature = "openapi", schema(min_length = 1))]
    pub prompt: String,
    /// One of the model's named sizes (`540p`, `720p`) or `WIDTHxHEIGHT`.
    #[serde(default = "defaults::video_size", deserialize_with = "read::video_size")]
    pub video_size: String,
    /// One of the named size's aspect ratios, for example `16:9`; the first one when null.
    #[serde(default)]
    pub aspect_ratio: Option<String>,
    /// Length in frames at 24 frames per second: 4k+1, for example 129.
    #[serde(default = "defaults::video_length", deserialize_with = "read::video_length")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    pub video_length: u32,
    /// Denoising steps; 0 lets the fleet choose.
    #[serde(default = "defaults::infer_steps", deserialize_with = "read::infer_steps")]
    pub infer_steps: u32,
    /// Quality tier; `auto` chooses by the prompt.
    #[serde(default = "defaults::quality_tier", deserialize_with = "read::quality_tier")]
    pub quality_tier: QualityTier,
    /// The same seed gives the same video. Drawn at random and reported when null or -1. From 0 to 18446744073709551615; beyond 2^53,
    /// where JSON numbers lose digits in JavaScript, it is reported as a string of digits. Both forms are accepted.
    #[serde(default, with = "crate::seed::optional")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::seed::Seed>))]
    pub seed: Option<u64>,
    /// Embedded guidance: how closely to follow the prompt. Costs nothing.
    #[serde(default = "defaults::cfg_scale", deserialize_with = "read::cfg_scale")]
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub cfg_scale: f64,
    /// Integrate from noise to video, as the released weights were trained. False only for experiments.
    #[serde(default = "defaults::flow_reverse", deserialize_with = "read::flow_reverse")]
    pub flow_reverse: bool,
    /// What the video should not show; takes effect with a `true_cfg_scale` above 1, the request's or the model's.
    #[serde(default)]
    pub negative_prompt: Option<String>,
    /// Real classifier-free guidance; above 1 it doubles the cost of each step. 1 leaves it to the model: none for HunyuanVideo 1.0.
    #[serde(default = "defaults::true_cfg_scale", deserialize_with = "read::true_cfg_scale")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    pub true_cfg_scale: f64,
    /// How eagerly denoising steps are skipped; the tier's setting when null.
    #[serde(default)]
    pub step_cache: Option<StepCacheMode>,
    /// Whether embeddings of a similar prompt may be used (this changes the video); the fleet's setting when null.
    #[serde(default)]
    pub similar_prompts: Option<bool>,
    /// The model's id; the fleet's default when null.
    #[serde(default)]
    pub model: Option<String>,
    /// Seconds from submission by which the video is wanted. Jobs whose deadlines can be met go first, within their tenant's share
    /// of the fleet; a deadline that cannot be met any more has no effect.
    #[serde(default, deserialize_with = "read::deadline_s")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    pub deadline_s: Option<u32>,
    /// What happens to a request whose `deadline_s` probably cannot be met: `accept` queues it, `reject` responds 422 with the
    /// shortest deadline that looks feasible.
    #[serde(default = "defaults::deadline_policy", deserialize_with = "read::deadline_policy")]
    pub deadline_policy: DeadlinePolicy,
    /// `draft` pauses the job after its first steps, with a preview, until it is continued; `full` renders it to the end.
    #[serde(default = "defaults::mode", deserialize_with = "read::mode")]
    pub mode: RenderMode,
    /// Number of seeds that are drafted, up to 8. One of the drafts is continued, the others end. 1 drafts none.
    #[serde(default = "defaults::candidates", deserialize_with = "read::candidates")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 8))]
    pub candidates: u32,
    /// Who chooses among several candidates: `measures` lets the fleet choose by motion, sharpness, flicker and contrast of
    /// the drafts, `person` waits until one of them is continued.
    #[serde(default = "defaults::judge", deserialize_with = "read::judge")]
    pub judge: Judge,
    /// URL that is notified of this job's events with signed requests; see docs/webhooks.md.
    #[serde(default)]
    pub webhook: Option<String>,
    /// The kinds of events that `webhook` is notified of, separated by commas; completed, failed and cancelled when null.
    #[serde(default)]
    pub webhook_events: Option<String>,
    /// Adapters (LoRA), up to four. Their effects add up; their order does not matter.
    #[serde(default, deserialize_with = "crate::lora::read")]
    pub loras: Vec<LoraUse>,
    /// Whether positions in time are stretched (RIFLEx), so that a long video does not repeat itself; null lets the model decide
    /// by the length.
    #[serde(default)]
    pub riflex: Option<bool>,
    /// The picture that the video begins from, for models that take one: the id from `POST /api/images`, or a data URL of a PNG,
    /// JPEG or WebP. The largest centred part with the video's aspect is used. URLs of other servers are never fetched.
    #[serde(default)]
    pub image: Option<ImageSource>,
    /// How many times as many frames per second the video gets: 2, 4 or 8, by computing frames between those that the model
    /// renders. The duration stays. 1 adds none; null leaves it to the tier. Needs a fleet with an interpolator.
    #[serde(default, deserialize_with = "read::interpolate")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 8))]
    pub interpolate: Option<u32>,
    /// How many of the early denoising steps are taken at half the width and height, where they cost a fraction; this changes the
    /// video. The tier's setting when null. Needs a model that offers it.
    #[serde(default)]
    pub progressive: Option<ProgressiveMode>,
}

mod defaults {
    //! The documented defaults of the fields that cannot be null themselves, named so that serde can call them.
    use super::DeadlinePolicy;
    use crate::draft::{Judge, RenderMode};
    use crate::tier::QualityTier;

    pub(super) fn video_size() -> String {
        "540p".to_owned()
    }
    pub(super) fn video_length() -> u32 {
        129
    }
    pub(super) fn infer_steps() -> u32 {
        0
    }
    pub(super) fn quality_tier() -> QualityTier {
        QualityTier::Auto
    }
    pub(super) fn cfg_scale() -> f64 {
        6.0
    }
    pub(super) fn flow_reverse() -> bool {
        true
    }
    pub(super) fn true_cfg_scale() -> f64 {
        1.0
    }
    pub(super) fn deadline_policy() -> DeadlinePolicy {
        DeadlinePolicy::Accept
    }
    pub(super) fn mode() -> RenderMode {
        RenderMode::Full
    }
    pub(super) fn candidates() -> u32 {
        1
    }
    pub(super) fn judge() -> Judge {
        Judge::Measures
    }
}

/// Limits that the settings put on requests, beside the model's own.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestLimits {
    /// Longest prompt and negative prompt, Unicode characters.
    pub prompt_chars_max: usize,
    /// Largest embedded guidance.
    pub cfg_scale_max: f64,
    /// Largest true guidance.
    pub true_cfg_scale_max: f64,
    /// Longest deadline, seconds.
    pub deadline_s_max: u32,
    /// Most frames of an interpolated video; 0 where the fleet has no interpolator.
    pub interpolated_frames_max: u32,
}

impl VideoRequest {
    /// A request with everything but the prompt at its default.
    #[must_use]
    pub fn new(prompt: impl Into<String>) -> Self {
        let fields = serde_json::json!({ "prompt": prompt.into() });
        serde_json::from_value(fields).expect("every field but the prompt has a default; this is a bug")
    }

    /// Whether its jobs pause after their first steps.
    #[must_use]
    pub fn is_draft(&self) -> bool {
        self.mode == RenderMode::Draft || self.candidates > 1
    }

    /// Checks the request against the limits and the model; returns what would be rendered.
    ///
    /// # Errors
    /// Everything that is wrong, not just the first error.
    pub fn validate(&self, limits: &RequestLimits, model: &ModelManifest) -> Result<RenderShape, Vec<FieldError>> {
        let mut wrong = self.text_errors(limits);
        wrong.extend(self.number_errors(limits, model));
        wrong.extend(self.webhook_errors());
        wrong.extend(lora::errors(&self.loras));
        wrong.extend(image::error(self.image.as_ref(), model));
        wrong.extend(self.length_errors(model));
        match model.shape(&self.video_size, self.aspect_ratio.as_deref(), self.video_length) {
            Ok(shape) => {
                wrong.extend(self.interpolation_error(limits, &shape));
                wrong.extend(self.progressive_error(model, &shape));
                if wrong.is_empty() { Ok(shape) } else { Err(wrong) }
            }
            Err(errors) => {
                wrong.extend(errors);
                Err(wrong)
            }
        }
    }

    /// Fills in the guidance that a valid request leaves to its model, so that the stored request says what is rendered.
    pub fn fill_guidance(&mut self, model: &ModelManifest) {
        let guidance = &model.sampling.guidance;
        self.cfg_scale = guidance.cfg_scale_for(self.cfg_scale);
        self.true_cfg_scale = guidance.true_cfg_scale_for(self.true_cfg_scale);
        if self.true_cfg_scale > 1.0 {
            self.negative_prompt.get_or_insert_default();
        }
    }

    /// Its adapters that act as `fingerprint@scale`, sorted and separated by commas: equal for two jobs exactly when the same weights
    /// render them. Empty for none.
    #[must_use]
    pub fn adapters_key(&self) -> String {
        lora::key(&self.loras)
    }

    /// Whether positions in time are stretched for this many rendered frames.
    #[must_use]
    pub fn stretches(&self, model: &ModelManifest, frames: u32) -> bool {
        self.riflex.unwrap_or_else(|| model.length.riflex_above.is_some_and(|limit| frames > limit))
    }

    fn interpolation_error(&self, limits: &RequestLimits, shape: &RenderShape) -> Option<FieldError> {
        let factor = self.interpolate.filter(|&factor| factor != 1)?;
        let (frames, max) = (shape.interpolated(factor).frames, limits.interpolated_frames_max);
        let reason = if !FACTORS.contains(&factor) {
            format!("must be 1, 2, 4 or 8, not {factor}")
        } else if max == 0 {
            "is not offered by this fleet, which has no interpolator; leave it out, or fetch the weights with \
             scripts/fetch-interpolator and set interpolation.enabled"
                .to_owned()
        } else if shape.frames < 2 {
            "needs a video of at least two frames; leave it out, or ask for a longer video_length".to_owned()
        } else if frames > max {
            format!("{factor} would make {frames} frames of {}; at most {max} are allowed", shape.frames)
        } else {
            return None;
        };
        Some(FieldError::new("interpolate", reason))
    }

    fn progressive_error(&self, model: &ModelManifest, shape: &RenderShape) -> Option<FieldError> {
        let mode = self.progressive.filter(|&mode| mode != ProgressiveMode::Off)?;
        let reason = if model.progressive.is_none() {
            "is not offered by this model; leave it out".to_owned()
        } else if !self.flow_reverse {
            "must be off with flow_reverse = false: inverted levels have no change of resolution".to_owned()
        } else if halved([shape.width, shape.height], &model.geometry).is_none() {
            let least = 2 * model.geometry.size_step();
            format!("{mode} needs sides of at least {least} pixels, which can be halved; leave it out")
        } else {
            return None;
        };
        Some(FieldError::new("progressive", reason))
    }

    fn length_errors(&self, model: &ModelManifest) -> Option<FieldError> {
        let offered = model.length.riflex_above.is_some();
        let reason = "is not offered by this model; leave it out";
        (self.riflex == Some(true) && !offered).then(|| FieldError::new("riflex", reason))
    }

    fn text_errors(&self, limits: &RequestLimits) -> Vec<FieldError> {
        let mut wrong = Vec::new();
        if !visible::is_visible(&self.prompt) {
            let reason = "has no visible character; describe what the video should show";
            wrong.push(FieldError::new("prompt", reason));
        }
        for (field, text) in [("prompt", Some(&self.prompt)), ("negative_prompt", self.negative_prompt.as_ref())] {
            let Some(text) = text else { continue };
            let chars = text.chars().count();
            if chars > limits.prompt_chars_max {
                let reason = format!("has {chars} characters; at most {} are allowed", limits.prompt_chars_max);
                wrong.push(FieldError::new(field, reason));
            }
            // Postgres cannot store it, and no prompt needs it.
            if text.contains('\0') {
                wrong.push(FieldError::new(field, "must not contain the NUL character"));
            }
        }
        wrong
    }

    fn webhook_errors(&self) -> Vec<FieldError> {
        let mut wrong = Vec::new();
        if let Some(Err(reason)) = self.webhook.as_deref().map(check_webhook_url) {
            wrong.push(FieldError::new("webhook", reason));
        }
        match (&self.webhook, self.webhook_events.as_deref().map(read_webhook_events)) {
            (_, Some(Err(reason))) => wrong.push(FieldError::new("webhook_events", reason)),
            (None, Some(Ok(_))) => {
                wrong.push(FieldError::new("webhook_events", "has no effect without webhook; set it, too"));
            }
            _ => {}
        }
        wrong
    }

    fn number_errors(&self, limits: &RequestLimits, model: &ModelManifest) -> Vec<FieldError> {
        let mut wrong = Vec::new();
        let (steps_min, steps_max) = (model.sampling.steps_min, model.sampling.steps_max);
        if self.infer_steps > steps_max || (self.infer_steps > 0 && self.infer_steps < steps_min) {
            let allowed = match steps_min {
                0 | 1 => format!("0 (adaptive) to {steps_max}"),
                only if only == steps_max => format!("0 (adaptive) or {only}"),
                few => format!("0 (adaptive) or {few} to {steps_max}"),
            };
            let reason = format!("must be {allowed}, not {}", self.infer_steps);
            wrong.push(FieldError::new("infer_steps", reason));
        }
        let scales = [
            ("cfg_scale", self.cfg_scale, 0.0, limits.cfg_scale_max),
            ("true_cfg_scale", self.true_cfg_scale, 1.0, limits.true_cfg_scale_max),
        ];
        for (field, value, min, max) in scales {
            if !(min..=max).contains(&value) {
                wrong.push(FieldError::new(field, format!("must be {min} to {max}, not {value}")));
            }
        }
        if self.true_cfg_scale > 1.0 && self.negative_prompt.is_none() {
            wrong.push(FieldError::new("negative_prompt", "is needed with a true_cfg_scale above 1; it may be empty"));
        }
        let guidance = &model.sampling.guidance;
        wrong.extend(
            guidance.errors((self.cfg_scale, defaults::cfg_scale()), (self.true_cfg_scale, defaults::true_cfg_scale())),
        );
        if guidance.true_cfg_scale_for(self.true_cfg_scale) <= 1.0
            && self.negative_prompt.as_deref().is_some_and(|text| !text.is_empty())
        {
            let reason = "has no effect unless true_cfg_scale is above 1; set it (each step then takes twice as long), or leave negative_prompt out";
            wrong.push(FieldError::new("negative_prompt", reason));
        }
        if self.deadline_s.is_some_and(|seconds| seconds == 0 || seconds > limits.deadline_s_max) {
            wrong.push(FieldError::new(
                "deadline_s",
                format!("must be 1 to {} seconds, or null", limits.deadline_s_max),
            ));
        }
        if self.deadline_policy == DeadlinePolicy::Reject && self.deadline_s.is_none() {
            wrong.push(FieldError::new("deadline_policy", "has no effect without deadline_s; set it, too"));
        }
        wrong.extend(self.candidate_errors());
        wrong
    }

    fn candidate_errors(&self) -> Vec<FieldError> {
        let mut wrong = Vec::new();
        if !(1..=CANDIDATES_MAX).contains(&self.candidates) {
            let reason = format!("must be 1 to {CANDIDATES_MAX}, not {}", self.candidates);
            wrong.push(FieldError::new("candidates", reason));
        }
        if self.candidates > 1 && !self.flow_reverse {
            let reason = "must be 1 with flow_reverse = false: drafts of inverted levels have no preview to compare";
            wrong.push(FieldError::new("candidates", reason));
        }
        wrong
    }
}
