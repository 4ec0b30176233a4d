//! What GPU time costs.

use serde::Deserialize;

/// `[cost]` of `configuration/base.toml`, which explains every key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostSettings {
    /// Price of a GPU hour, US dollars.
    pub gpu_hour_usd: f64,
    /// Steps of the baseline; 0 for the model's own.
    pub baseline_steps: u32,
    /// What the finished jobs of a day may cost before an alert, US dollars; 0 for no limit.
    pub budget_day_usd: f64,
}
