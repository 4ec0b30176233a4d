//! The scheduler's decision for a job: tier, steps, step caching, and the estimated time.

use serde::{Deserialize, Serialize};

use crate::tier::{Complexity, StepCacheMode, Tier};

/// Why the number of steps is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum StepsReason {
    /// The request named them.
    Explicit,
    /// The tier's fixed number: adaptive steps are off.
    Fixed,
    /// Chosen by the prompt's complexity.
    Adaptive,
    /// Chosen by the prompt, then lowered by what the fleet has learned from such prompts.
    Learned,
    /// Those that an adapter was trained for.
    Adapter,
}

/// One factor of the prompt analysis and the words that caused it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FactorScore {
    /// `motion`, `scene`, `camera`, `lighting`, `quality`, `length` or `subjects`.
    pub factor: String,
    /// Contribution to the total score, 0 or more.
    pub score: f64,
    /// The words of the prompt that caused it, as written there.
    pub words: Vec<String>,
}

/// How the worker uses the step cache.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StepCachePlan {
    /// How many steps may be skipped.
    pub mode: StepCacheMode,
    /// EasyCache's accumulated-error threshold; 0 with `off`.
    pub threshold: f64,
}

/// A planned job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Plan {
    /// The tier after `auto` was decided.
    pub tier: Tier,
    /// The prompt's class.
    pub complexity: Complexity,
    /// Sum of the factors.
    pub score: f64,
    /// The factors behind it.
    pub factors: Vec<FactorScore>,
    /// Denoising steps; the user's `final_steps`.
    pub steps: u32,
    /// Why it is this number.
    pub steps_reason: StepsReason,
    /// Step caching.
    pub step_cache: StepCachePlan,
    /// Flow-match shift that an adapter needs; the model's when null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow_shift: Option<f64>,
    /// Embedded guidance that an adapter needs; the request's when null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guidance: Option<f64>,
    /// Estimated seconds of the run without queueing, embeddings not cached.
    pub estimate_s: f64,
    /// The same with cached embeddings.
    pub estimate_cached_s: f64,
    /// Device memory that the job needs, bytes.
    pub memory_bytes: u64,
}
