//! What GPU time costs.

use serde::Deserialize;

/// `[cost]` of `configuration/base.toml`, which explains every key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostSettings {
    /// Price of a GPU hour, US dollars.
    pub gpu_hour_usd: f64,
    /// Cost of the jobs finished within 24 hours above which an alert fires, US dollars; 0 for none.
    pub budget_day_usd: f64,
}
