//! What an operator decides about the quality tiers.

use domain::{ProgressiveMode, StepCacheMode, Tier};
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
    /// Chosen by the prompt.
    pub auto: AutoTierSettings,
}

impl TiersSettings {
    /// The settings of a tier.
    #[must_use]
    pub fn of(&self, tier: Tier) -> &TierSettings {
        match tier {
            Tier::Preview => &self.preview,
            Tier::Standard => &self.standard,
            Tier::Premium => &self.premium,
        }
    }
}

/// One tier. Numbers of 0 keep the model's own.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierSettings {
    /// Order in the queue: larger goes first.
    pub weight: f64,
    /// Step caching of requests that name no mode.
    pub step_cache: StepCacheMode,
    /// `as_requested`, or the name of the largest size that this tier renders.
    pub size_max: String,
    /// Overrides the steps of the simplest prompt.
    pub steps_min: u32,
    /// Overrides the steps of the most complex prompt.
    pub steps_max: u32,
    /// Overrides the steps of every prompt while adaptive steps are off.
    pub steps_fixed: u32,
    /// Share of the steps after which a draft pauses.
    pub draft_share: f64,
    /// Factor of interpolation for requests that name none; 1 for none.
    pub interpolate: u32,
    /// Early steps at half the size, for requests that name no mode.
    pub progressive: ProgressiveMode,
    /// Largest estimated relative error that learning may accept.
    pub error_max: f64,
    /// Overrides the threshold of the step cache in this tier's own mode.
    pub step_cache_threshold: f64,
}

/// The tier `auto`. Numbers of 0 keep the model's own.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutoTierSettings {
    /// Overrides the steps of the simplest prompt.
    pub steps_min: u32,
    /// Overrides the steps of the most complex prompt.
    pub steps_max: u32,
}
