//! Adaptive steps, step caching, learning, estimates.

use serde::Deserialize;

/// `[optimization]` of `configuration/base.toml`, which explains every key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizationSettings {
    /// Choose the steps by the prompt.
    pub adaptive_steps: bool,
    /// Lower the steps by what finished runs showed.
    pub learned_steps: bool,
    /// Allow step caching.
    pub step_cache: bool,
    /// Runs of a group that are needed before its steps change.
    pub learn_runs_min: u32,
    /// Most steps by which one update may change them.
    pub learn_move_max: u32,
    /// Runs from which on estimates come from them instead of the model's prior.
    pub estimate_runs_min: u32,
}
