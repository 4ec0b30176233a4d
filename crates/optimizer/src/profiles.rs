//! What an operator decides about the quality tiers: step caching, the largest size, how `auto` chooses, and overrides
//! of the model's steps.
//!
//! The settings fill [`Profiles`]; the defaults are the documented ones. The steps themselves belong to the model and are
//! in its manifest ([`domain::sampling`]). A new rule for a tier is a field here, a key in the settings, and one line in
//! [`crate::planner`].

use domain::interpolation::FACTORS;
use domain::model::{RenderShape, StepRange};
use domain::{Complexity, ModelManifest, ProgressiveMode, QualityTier, StepCacheMode, Tier, VideoRequest};

/// One tier.
#[derive(Debug, Clone, PartialEq)]
pub struct TierProfile {
    /// Overrides of the model's steps.
    pub steps: StepsOverride,
    /// Step caching of requests that name no mode.
    pub step_cache: StepCacheMode,
    /// Overrides the model's threshold in this tier's own mode.
    pub step_cache_threshold: Option<f64>,
    /// Name of the largest size that the tier renders; larger named sizes are lowered to it. As requested when absent.
    pub size_max: Option<String>,
    /// Share of the steps after which a draft pauses, above 0 and up to 1.
    pub draft_share: f64,
    /// Factor of interpolation for requests that name none; 1 for none.
    pub interpolate: u32,
    /// Early steps at half the size, for requests that name no mode and models that can do it.
    pub progressive: ProgressiveMode,
    /// Largest estimated relative Euler error that learning may accept; see [`crate::learn`].
    pub error_max: f64,
}

/// Numbers that replace the model's own, on every model. `None` leaves the model's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StepsOverride {
    /// Steps of the simplest prompt.
    pub min: Option<u32>,
    /// Steps of the most complex prompt.
    pub max: Option<u32>,
    /// Steps of every prompt while adaptive steps are off. `auto` has none of its own.
    pub fixed: Option<u32>,
}

impl StepsOverride {
    /// A model's range with the overrides applied. Where only one end is overridden and would cross the model's other
    /// end, it moves that end too.
    #[must_use]
    pub fn range(self, model: StepRange) -> StepRange {
        match (self.min, self.max) {
            (None, None) => model,
            (Some(min), None) => StepRange { min, max: model.max.max(min) },
            (None, Some(max)) => StepRange { min: model.min.min(max), max },
            (Some(min), Some(max)) => StepRange { min, max },
        }
    }
}

/// How `auto` chooses: overrides of its steps, and for each class of prompts the tier whose other rules apply.
#[derive(Debug, Clone, PartialEq)]
pub struct AutoProfile {
    /// Overrides of the model's steps for `auto`.
    pub steps: StepsOverride,
    /// Tier of simple prompts.
    pub simple: Tier,
    /// Tier of moderate prompts.
    pub moderate: Tier,
    /// Tier of complex prompts.
    pub complex: Tier,
    /// Tier of very complex prompts.
    pub very_complex: Tier,
}

/// All tiers.
#[derive(Debug, Clone, PartialEq)]
pub struct Profiles {
    /// A quick look.
    pub preview: TierProfile,
    /// The everyday quality.
    pub standard: TierProfile,
    /// As much as the model profits from.
    pub premium: TierProfile,
    /// Chosen by the prompt.
    pub auto: AutoProfile,
    /// Most frames of an interpolated video; 0 where the fleet has no interpolator.
    pub interpolated_frames_max: u32,
}

impl Default for Profiles {
    fn default() -> Self {
        let tier = |step_cache, error_max| TierProfile {
            steps: StepsOverride::default(),
            step_cache,
            step_cache_threshold: None,
            size_max: None,
            draft_share: 0.25,
            interpolate: 1,
            progressive: ProgressiveMode::Off,
            error_max,
        };
        Self {
            preview: tier(StepCacheMode::Fast, 0.05),
            standard: tier(StepCacheMode::Balanced, 0.02),
            premium: tier(StepCacheMode::Off, 0.01),
            auto: AutoProfile {
                steps: StepsOverride::default(),
                simple: Tier::Standard,
                moderate: Tier::Standard,
                complex: Tier::Standard,
                very_complex: Tier::Premium,
            },
            interpolated_frames_max: 0,
        }
    }
}

/// A profile that cannot be used. Names the key below `tiers`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("tiers.{key} {reason}")]
pub struct ProfileError {
    /// The key, dotted.
    pub key: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl Profiles {
    /// The profile of a tier.
    #[must_use]
    pub fn tier(&self, tier: Tier) -> &TierProfile {
        match tier {
            Tier::Preview => &self.preview,
            Tier::Standard => &self.standard,
            Tier::Premium => &self.premium,
        }
    }

    /// The overrides of a requested tier's steps.
    #[must_use]
    pub fn steps(&self, requested: QualityTier) -> StepsOverride {
        self.named_tier(requested).map_or(self.auto.steps, |tier| self.tier(tier).steps)
    }

    /// The tier that a request runs in; for `auto` the prompt's class decides.
    #[must_use]
    pub fn decide(&self, requested: QualityTier, complexity: Complexity) -> Tier {
        self.named_tier(requested).unwrap_or(match complexity {
            Complexity::Simple => self.auto.simple,
            Complexity::Moderate => self.auto.moderate,
            Complexity::Complex => self.auto.complex,
            Complexity::VeryComplex => self.auto.very_complex,
        })
    }

    /// The tier that a request names; `None` for `auto`.
    #[must_use]
    pub(crate) fn named_tier(&self, requested: QualityTier) -> Option<Tier> {
        match requested {
            QualityTier::Auto => None,
            QualityTier::Preview => Some(Tier::Preview),
            QualityTier::Standard => Some(Tier::Standard),
            QualityTier::Premium => Some(Tier::Premium),
        }
    }

    /// What is rendered for a request in a tier: the validated shape, or the tier's largest size in the same aspect where
    /// the request names a larger one. A size given in pixels is the user's own choice and is never changed. A `size_max`
    /// that this model does not have limits nothing.
    #[must_use]
    pub fn shape(
        &self,
        tier: Tier,
        request: &VideoRequest,
        shape: RenderShape,
        manifest: &ModelManifest,
    ) -> RenderShape {
        let size = |name: &str| manifest.sizes.iter().find(|size| size.name == name);
        let (Some(most), Some(named)) = (self.tier(tier).size_max.as_deref().and_then(size), size(&request.video_size))
        else {
            return shape;
        };
        let aspect = request.aspect_ratio.as_deref().or(named.aspects.first().map(|a| a.aspect.as_str()));
        let same_aspect = most.aspects.iter().find(|a| Some(a.aspect.as_str()) == aspect);
        let Some(lowered) = same_aspect.or(most.aspects.first()) else { return shape };
        let pixels = |width: u32, height: u32| u64::from(width) * u64::from(height);
        if pixels(shape.width, shape.height) <= pixels(lowered.width, lowered.height) {
            return shape;
        }
        RenderShape { width: lowered.width, height: lowered.height, ..shape }
    }

    /// The factor of interpolation for a request in a tier: the request's own, or the tier's, lowered to what the limit of frames
    /// allows. `None` for none.
    #[must_use]
    pub(crate) fn interpolation(&self, tier: Tier, request: &VideoRequest, shape: &RenderShape) -> Option<u32> {
        if let Some(factor) = request.interpolate {
            return (factor > 1).then_some(factor);
        }
        let most = self.tier(tier).interpolate;
        let fits = |factor: &&u32| {
            **factor <= most && shape.frames > 1 && shape.interpolated(**factor).frames <= self.interpolated_frames_max
        };
        FACTORS.iter().rev().find(fits).copied()
    }

    /// Finds everything that would lead to plans that make no sense; empty when there is nothing.
    #[must_use]
    pub fn problems(&self) -> Vec<ProfileError> {
        let mut problems = Vec::new();
        let mut wrong = |key: String, reason: String| problems.push(ProfileError { key, reason });
        for &requested in QualityTier::ALL {
            let steps = self.steps(requested);
            if let (Some(min), Some(max)) = (steps.min, steps.max)
                && min > max
            {
                wrong(format!("{requested}.steps_min"), format!("({min}) must not exceed steps_max ({max})"));
            }
        }
        for &tier in Tier::ALL {
            let profile = self.tier(tier);
            if !(profile.error_max > 0.0 && profile.error_max.is_finite()) {
                wrong(format!("{tier}.error_max"), format!("must be above 0, not {}", profile.error_max));
            }
            if !(profile.draft_share > 0.0 && profile.draft_share <= 1.0) {
                let reason = format!("must be above 0 and at most 1, not {}", profile.draft_share);
                wrong(format!("{tier}.draft_share"), reason);
            }
            if profile.interpolate != 1 && !FACTORS.contains(&profile.interpolate) {
                wrong(format!("{tier}.interpolate"), format!("must be 1, 2, 4 or 8, not {}", profile.interpolate));
            } else if profile.interpolate > 1 && self.interpolated_frames_max == 0 {
                let reason = "must be 1 unless interpolation.enabled is true: the fleet has no interpolator".to_owned();
                wrong(format!("{tier}.interpolate"), reason);
            }
            if let Some(threshold) = profile.step_cache_threshold
                && !(threshold > 0.0 && threshold < 1.0)
            {
                let reason = format!("must be above 0 and below 1, or 0 for the model's own, not {threshold}");
                wrong(format!("{tier}.step_cache_threshold"), reason);
            }
        }
        problems
    }
}
