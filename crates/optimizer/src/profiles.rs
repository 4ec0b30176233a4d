//! Quality tiers as data: what each tier may spend, and how `auto` chooses.
//!
//! Nothing here is fixed in code: the settings fill [`Profiles`], the defaults are the documented numbers. A new rule for
//! a tier is a field here, a key in the settings and one line in [`crate::plan`].

use domain::{Complexity, ModelManifest, QualityTier, StepCacheMode, Tier, VideoRequest, model::RenderShape};
use serde::{Deserialize, Serialize};

/// What one tier may spend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierProfile {
    /// Fewest denoising steps, for the simplest prompt.
    pub steps_min: u32,
    /// Most denoising steps, for the most complex prompt.
    pub steps_max: u32,
    /// Steps of every prompt while adaptive steps are off.
    pub steps_fixed: u32,
    /// Step caching, unless the request says otherwise.
    pub step_cache: StepCacheMode,
    /// Threshold of the step cache in this tier; that of the mode when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_cache_threshold: Option<f64>,
    /// Name of the largest size that the tier renders; larger named sizes are lowered to it. As requested when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_max: Option<String>,
    /// Largest estimated relative Euler error that learning may accept; see [`crate::learn`].
    pub error_max: f64,
}

/// How `auto` chooses: its own range of steps, and the tier whose other rules a class of prompts gets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutoProfile {
    /// Steps of the simplest prompt.
    pub steps_min: u32,
    /// Steps of the most complex prompt.
    pub steps_max: u32,
    /// Tier of simple prompts.
    pub simple: Tier,
    /// Tier of moderate prompts.
    pub moderate: Tier,
    /// Tier of complex prompts.
    pub complex: Tier,
    /// Tier of very complex prompts.
    pub very_complex: Tier,
}

/// Accumulated-error thresholds of the step-cache modes; `off` has none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepCacheThresholds {
    /// Of `balanced`.
    pub balanced: f64,
    /// Of `fast`.
    pub fast: f64,
}

/// All tiers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profiles {
    /// A quick look.
    pub preview: TierProfile,
    /// The everyday quality.
    pub standard: TierProfile,
    /// As much as the model profits from.
    pub premium: TierProfile,
    /// Chosen by the prompt.
    pub auto: AutoProfile,
    /// What the step-cache modes mean.
    pub step_cache: StepCacheThresholds,
}

impl Default for Profiles {
    fn default() -> Self {
        let tier = |steps: (u32, u32), steps_fixed, step_cache, error_max| TierProfile {
            steps_min: steps.0,
            steps_max: steps.1,
            steps_fixed,
            step_cache,
            step_cache_threshold: None,
            size_max: None,
            error_max,
        };
        Self {
            preview: tier((15, 15), 15, StepCacheMode::Fast, 0.05),
            standard: tier((25, 35), 30, StepCacheMode::Balanced, 0.02),
            premium: tier((45, 50), 50, StepCacheMode::Off, 0.01),
            auto: AutoProfile {
                steps_min: 18,
                steps_max: 45,
                simple: Tier::Standard,
                moderate: Tier::Standard,
                complex: Tier::Standard,
                very_complex: Tier::Premium,
            },
            // 0.025 is EasyCache's published threshold for HunyuanVideo.
            step_cache: StepCacheThresholds { balanced: 0.025, fast: 0.05 },
        }
    }
}

/// A profile that makes no sense; names the key below `tiers`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("tiers.{key}: {reason}")]
pub struct ProfileError {
    /// The key, dotted.
    pub key: String,
    /// What is wrong and what would be right.
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

    /// Fewest and most steps that adaptive planning may give to a requested tier.
    #[must_use]
    pub fn steps_range(&self, requested: QualityTier) -> (u32, u32) {
        match self.fixed_tier(requested) {
            Some(tier) => (self.tier(tier).steps_min, self.tier(tier).steps_max),
            None => (self.auto.steps_min, self.auto.steps_max),
        }
    }

    /// The tier that a request runs in, `auto` decided by the prompt's class.
    #[must_use]
    pub fn decide(&self, requested: QualityTier, complexity: Complexity) -> Tier {
        self.fixed_tier(requested).unwrap_or(match complexity {
            Complexity::Simple => self.auto.simple,
            Complexity::Moderate => self.auto.moderate,
            Complexity::Complex => self.auto.complex,
            Complexity::VeryComplex => self.auto.very_complex,
        })
    }

    /// The tier that `auto` means for a number of steps that the user named: the cheapest whose range reaches it.
    #[must_use]
    pub fn decide_by_steps(&self, requested: QualityTier, steps: u32) -> Tier {
        self.fixed_tier(requested).unwrap_or_else(|| {
            let reaches = |tier: &Tier| steps <= self.tier(*tier).steps_max;
            [Tier::Preview, Tier::Standard].into_iter().find(reaches).unwrap_or(Tier::Premium)
        })
    }

    fn fixed_tier(&self, requested: QualityTier) -> Option<Tier> {
        match requested {
            QualityTier::Auto => None,
            QualityTier::Preview => Some(Tier::Preview),
            QualityTier::Standard => Some(Tier::Standard),
            QualityTier::Premium => Some(Tier::Premium),
        }
    }

    /// Threshold of a step-cache mode in a tier; 0 for `off`.
    #[must_use]
    pub fn threshold(&self, tier: Tier, mode: StepCacheMode) -> f64 {
        let profile = self.tier(tier);
        // The tier's own threshold is for the tier's own mode; a request that asks for another mode means that mode.
        match (mode, profile.step_cache_threshold) {
            (StepCacheMode::Off, _) => 0.0,
            (_, Some(own)) if mode == profile.step_cache => own,
            (StepCacheMode::Balanced, _) => self.step_cache.balanced,
            (StepCacheMode::Fast, _) => self.step_cache.fast,
        }
    }

    /// What is rendered for a request in a tier: the validated shape, or the tier's largest size in the same aspect where
    /// the request names a larger one. A size given in pixels is the user's own choice and is never changed, and a size
    /// that the model does not name limits nothing.
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

    /// Refuses profiles that would plan nonsense.
    ///
    /// # Errors
    /// [`ProfileError`] naming the key.
    pub fn check(&self) -> Result<(), ProfileError> {
        let wrong = |key: String, reason: String| Err(ProfileError { key, reason });
        let auto = ("auto", self.auto.steps_min, self.auto.steps_max);
        let tiers = Tier::ALL.iter().map(|&t| (t.as_str(), self.tier(t).steps_min, self.tier(t).steps_max));
        for (name, min, max) in tiers.chain([auto]) {
            if min == 0 || min > max {
                return wrong(format!("{name}.steps_min"), format!("must be 1 to steps_max ({max}), not {min}"));
            }
        }
        for &tier in Tier::ALL {
            let profile = self.tier(tier);
            if profile.steps_fixed == 0 {
                return wrong(format!("{tier}.steps_fixed"), "must be above 0".to_owned());
            }
            if !(profile.error_max > 0.0 && profile.error_max.is_finite()) {
                return wrong(format!("{tier}.error_max"), "must be above 0".to_owned());
            }
            if profile.step_cache_threshold.is_some_and(|t| !(t > 0.0 && t < 1.0)) {
                let reason = "must be between 0 and 1; use step_cache = \"off\" for none".to_owned();
                return wrong(format!("{tier}.step_cache_threshold"), reason);
            }
        }
        let modes = self.step_cache;
        if !(modes.balanced > 0.0 && modes.balanced <= modes.fast && modes.fast < 1.0) {
            return wrong("step_cache".to_owned(), "must hold 0 < balanced <= fast < 1".to_owned());
        }
        Ok(())
    }
}
