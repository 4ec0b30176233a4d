//! What the scheduler decides for a job: tier, steps, step caching, and how long it should take.

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
    /// Chosen by the prompt, then lowered by what the fleet has learnt of such prompts.
    Learned,
}

/// One factor of the prompt analysis and what gave it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FactorScore {
    /// `motion`, `scene`, `camera`, `lighting`, `quality`, `length` or `subjects`.
    pub factor: String,
    /// Contribution to the total score, 0 or more.
    pub score: f64,
    /// The words of the prompt that gave it, as written there.
    pub words: Vec<String>,
}

/// The step cache as the worker is told to use it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StepCachePlan {
    /// How eager.
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
    /// Why that many.
    pub steps_reason: StepsReason,
    /// Step caching.
    pub step_cache: StepCachePlan,
    /// Estimated seconds of the run alone, embeddings not cached.
    pub estimate_s: f64,
    /// The same with cached embeddings.
    pub estimate_cached_s: f64,
    /// Device memory that the job needs, bytes.
    pub memory_bytes: u64,
}
