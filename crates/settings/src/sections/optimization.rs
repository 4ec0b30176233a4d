//! Adaptive steps, step caching, learning.

use domain::StepCacheMode;
use serde::Deserialize;

impl OptimizationSettings {
    /// The step cache's threshold in a mode; 0 when it is off.
    #[must_use]
    pub fn step_cache_threshold(&self, mode: StepCacheMode) -> f64 {
        match mode {
            StepCacheMode::Off => 0.0,
            StepCacheMode::Balanced => self.step_cache_balanced_threshold,
            StepCacheMode::Fast => self.step_cache_fast_threshold,
        }
    }
}

/// `[optimization]` of `configuration/base.toml`, which explains every key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizationSettings {
    /// Choose the steps by the prompt.
    pub adaptive_steps: bool,
    /// Steps of the simplest prompt in the tier `auto`.
    pub auto_steps_min: u32,
    /// Steps of the most complex one.
    pub auto_steps_max: u32,
    /// Threshold of the step cache, mode `balanced`.
    pub step_cache_balanced_threshold: f64,
    /// Threshold, mode `fast`.
    pub step_cache_fast_threshold: f64,
    /// Lower the steps by what runs showed.
    pub learning: bool,
    /// Runs of a kind wanted first.
    pub learning_runs_min: u32,
    /// Most steps taken away by one lesson.
    pub learning_step_max: u32,
    /// Own runs before they replace the prior of estimates.
    pub estimate_runs_min: u32,
}
