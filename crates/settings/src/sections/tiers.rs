//! The quality tiers: a profile each.

use domain::{StepCacheMode, Tier};
use serde::Deserialize;

/// `[tiers.*]` of `configuration/base.toml`, which explains every key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TiersSettings {
    /// A quick look.
    pub preview: TierSettings,
    /// The everyday quality.
    pub standard: TierSettings,
    /// The best that the model gives.
    pub premium: TierSettings,
}

impl TiersSettings {
    /// The profile of a tier.
    #[must_use]
    pub fn of(&self, tier: Tier) -> &TierSettings {
        match tier {
            Tier::Preview => &self.preview,
            Tier::Standard => &self.standard,
            Tier::Premium => &self.premium,
        }
    }
}

/// One tier's profile.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierSettings {
    /// Fewest steps.
    pub steps_min: u32,
    /// Most steps.
    pub steps_max: u32,
    /// Steps while adaptive steps are off.
    pub steps_fixed: u32,
    /// Step caching of requests that do not name a mode.
    pub step_cache: StepCacheMode,
    /// Threshold of the step cache in this tier's own mode; 0 for that of the mode.
    pub step_cache_threshold: f64,
    /// Place in the queue: larger goes first.
    pub weight: f64,
    /// Largest estimated error that the learner may allow, relative.
    pub change_max: f64,
    /// `as_requested`, or the name of the largest size this tier renders.
    pub size: String,
}
