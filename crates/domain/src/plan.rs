//! The scheduler's decision for a job: tier, steps, step caching, and the estimated time.

use serde::{Deserialize, Serialize};

use crate::progressive::ProgressivePlan;
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

/// How a continued run goes on where its draft used another number of steps.
///
/// The rule: the run keeps the noise levels of the draft's schedule up to step `after`, then takes the levels of the schedule
/// with `then` steps that lie below. Both schedules have the same shift, so a level lies below exactly when its share of the
/// steps is larger, which needs whole numbers only.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DraftSchedule {
    /// Steps of the draft's schedule.
    pub steps: u32,
    /// Steps of it that the draft took.
    pub after: u32,
    /// Steps of the schedule whose levels follow.
    pub then: u32,
    /// The draft's step cache; the continued run starts its own afresh.
    pub step_cache: StepCachePlan,
    /// Steps at half the size that the draft's plan had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower_steps: Option<u32>,
}

impl DraftSchedule {
    /// Steps of the whole run.
    #[must_use]
    pub fn total(&self) -> u32 {
        let passed = u64::from(self.after) * u64::from(self.then) / u64::from(self.steps.max(1));
        self.after + self.then.saturating_sub(u32::try_from(passed).unwrap_or(u32::MAX))
    }
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
    /// Early steps at half the size; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progressive: Option<ProgressivePlan>,
    /// Flow-match shift that an adapter needs; the model's when null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow_shift: Option<f64>,
    /// Embedded guidance that an adapter needs; the request's when null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guidance: Option<f64>,
    /// How many times as many frames per second the video gets by interpolation; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpolate: Option<u32>,
    /// Estimated seconds of the run without queueing, embeddings not cached.
    pub estimate_s: f64,
    /// The same with cached embeddings.
    pub estimate_cached_s: f64,
    /// Device memory that the job needs, bytes.
    pub memory_bytes: u64,
    /// Steps after which a draft pauses; absent for a run to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft_steps: Option<u32>,
    /// The draft whose schedule this run continues with another number of steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<DraftSchedule>,
}

impl Plan {
    /// Share of the run that its draft takes, by steps; 1 for a run to the end.
    #[must_use]
    pub fn draft_share(&self) -> f64 {
        self.draft_steps.map_or(1.0, |steps| self.done(steps))
    }

    /// Share of the denoising that is done after `step` steps, 0 to 1. Steps at half the size count less.
    #[must_use]
    pub fn done(&self, step: u32) -> f64 {
        let weight = |steps: u32| ProgressivePlan::weight(self.progressive.as_ref(), steps);
        weight(step) / weight(self.steps.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(steps: u32, after: u32, then: u32) -> DraftSchedule {
        DraftSchedule {
            steps,
            after,
            then,
            step_cache: StepCachePlan { mode: StepCacheMode::Off, threshold: 0.0 },
            lower_steps: None,
        }
    }

    #[test]
    fn a_continued_run_takes_the_rest_of_the_finer_schedule() {
        // With the same number of steps nothing changes.
        assert_eq!(schedule(25, 6, 25).total(), 25);
        // 6 of 25 is exactly 12 of 50, so 38 levels follow.
        assert_eq!(schedule(25, 6, 50).total(), 6 + 38);
        // 4 of 15 lies between 13 and 14 of 50.
        assert_eq!(schedule(15, 4, 50).total(), 4 + 37);
        assert_eq!(schedule(4, 4, 50).total(), 4);
    }
}
