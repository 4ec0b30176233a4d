//! Learning how few steps are enough, from the convergence of finished runs.
//!
//! A run records how much the predicted velocity changes from one computed step to the next, relative to its size. The
//! sum of those changes, V, is the path's total variation. It is a property of prompt and model and, to first order, the
//! same for any number of steps, whether or not some were skipped. The error of Euler's method with N steps is about half
//! a step times the change within it, so a run's relative error is about `V / (2 N)`, and the fewest steps within a
//! tolerance are `V / (2 tolerance)`. The step cache's own error is not included; its threshold bounds that.
//!
//! For each model, requested tier and class of prompts (by the sum of the seven factors) the fleet keeps a number of steps
//! to subtract, 0 at first. After enough new runs, it moves by at most [`LearnRules::move_max`] towards what nearly all of
//! the recent runs would have needed. It never takes a plan out of its tier's range and never gives a more complex class
//! fewer steps than a simpler one. [`Learned`] is plain data, so it can be read, frozen and reset.

use domain::{Complexity, QualityTier};
use serde::{Deserialize, Serialize};

use crate::{robust, scoring};

/// How fast, and how far, learning may move.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearnRules {
    /// New runs of a group that are needed before it moves again.
    pub runs_min: usize,
    /// Number of a group's newest runs that decide; they are kept in the state.
    pub window: usize,
    /// Most steps by which one update may move a group.
    pub move_max: u32,
    /// Most steps that a group may be below the prompt analysis.
    pub lower_max: u32,
    /// Share of the recent runs that must stay within the tolerance, 0 to 1.
    pub quantile: f64,
}

impl Default for LearnRules {
    fn default() -> Self {
        Self { runs_min: 20, window: 48, move_max: 1, lower_max: 12, quantile: 0.9 }
    }
}

/// What one finished run says about the steps that it needed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConvergenceRecord {
    /// The model's id.
    pub model_id: String,
    /// The tier as it was requested. `auto` is a group of its own, since it has its own range.
    pub requested: QualityTier,
    /// Class of the prompt.
    pub complexity: Complexity,
    /// Steps that the prompt analysis alone would have given.
    pub lexicon_steps: u32,
    /// Fewest steps whose estimated error is within the tier's tolerance; not a whole number.
    pub needed_steps: f64,
}

/// Estimated relative error of a run with `steps` steps, from its recorded convergence. `None` if the run was too short or
/// recorded a value that is negative or not finite.
#[must_use]
pub fn estimated_error(convergence: &[f32], steps: u32) -> Option<f64> {
    let variation: f64 = convergence.iter().map(|&c| f64::from(c)).sum();
    let usable = convergence.len() >= 2 && steps > 0 && variation.is_finite() && convergence.iter().all(|c| *c >= 0.0);
    usable.then(|| variation / (2.0 * f64::from(steps)))
}

/// What was learned for one group of jobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LearnedGroup {
    /// The model's id.
    pub model_id: String,
    /// The requested tier.
    pub requested: QualityTier,
    /// Class of the prompts.
    pub complexity: Complexity,
    /// Steps subtracted from what the prompt analysis gives, 0 or more.
    pub lower_by: u32,
    /// Runs seen in total.
    pub runs: u64,
    /// Runs since the last update.
    pub fresh: usize,
    /// For each of the newest runs, the steps that it could have done without; negative when it needed more.
    pub spare: Vec<f64>,
}

/// Everything learned; stored as it is, for example as JSON.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Learned {
    /// While true, nothing moves and nothing is recorded. What was learned stays in force.
    pub frozen: bool,
    /// One entry for each group that has had a run.
    pub groups: Vec<LearnedGroup>,
}

impl Learned {
    /// The state after more finished runs. Each run must be passed exactly once.
    #[must_use]
    pub fn learn(&self, records: &[ConvergenceRecord], rules: &LearnRules) -> Self {
        let mut next = self.clone();
        if !self.frozen {
            for record in records.iter().filter(|r| r.needed_steps.is_finite() && r.needed_steps >= 0.0) {
                next.group_mut(record).take(record, rules);
            }
        }
        next
    }

    fn group_mut(&mut self, record: &ConvergenceRecord) -> &mut LearnedGroup {
        let same = |g: &LearnedGroup| {
            g.model_id == record.model_id && g.requested == record.requested && g.complexity == record.complexity
        };
        let index = self.groups.iter().position(same).unwrap_or_else(|| {
            self.groups.push(LearnedGroup {
                model_id: record.model_id.clone(),
                requested: record.requested,
                complexity: record.complexity,
                lower_by: 0,
                runs: 0,
                fresh: 0,
                spare: Vec::new(),
            });
            self.groups.len() - 1
        });
        &mut self.groups[index]
    }

    /// Forgets the groups of one model, or all groups.
    pub fn reset(&mut self, model_id: Option<&str>) {
        self.groups.retain(|group| model_id.is_some_and(|id| group.model_id != id));
    }

    fn lower_by(&self, model_id: &str, requested: QualityTier, complexity: Complexity) -> Option<u32> {
        let same = |g: &&LearnedGroup| g.model_id == model_id && g.requested == requested && g.complexity == complexity;
        self.groups.iter().find(same).map(|group| group.lower_by)
    }

    /// Steps for a prompt that the analysis alone would give `steps`: within `range`, and rising with complexity.
    #[must_use]
    pub fn steps(
        &self,
        model_id: &str,
        requested: QualityTier,
        complexity: Complexity,
        steps: u32,
        range: (u32, u32),
    ) -> u32 {
        let lowered = |class: Complexity, steps: u32| {
            self.lower_by(model_id, requested, class).map(|by| steps.saturating_sub(by).max(range.0.min(steps)))
        };
        // A class never gets fewer steps than the most that a simpler class with runs of its own gets.
        let floor_of = |class: Complexity| {
            let simpler = Complexity::ALL.iter().filter(|&&c| c < class);
            simpler.filter_map(|&c| lowered(c, scoring::class_steps(c, range).1)).max().unwrap_or(0)
        };
        let floor = floor_of(complexity);
        if let Some(own) = lowered(complexity, steps) {
            return own.max(floor).min(steps);
        }
        // A class without runs never gets more steps than the fewest that a more complex class with runs gets.
        let harder = Complexity::ALL.iter().filter(|&&c| c > complexity);
        let ceiling = harder
            .filter_map(|&c| Some(lowered(c, scoring::class_steps(c, range).0)?.max(floor_of(c))))
            .min()
            .unwrap_or(steps);
        steps.min(ceiling).max(floor).min(steps)
    }
}

impl LearnedGroup {
    fn take(&mut self, record: &ConvergenceRecord, rules: &LearnRules) {
        self.runs += 1;
        self.fresh += 1;
        self.spare.push(f64::from(record.lexicon_steps) - record.needed_steps.ceil());
        let surplus = self.spare.len().saturating_sub(rules.window.max(1));
        self.spare.drain(..surplus);
        if self.fresh < rules.runs_min.max(1) {
            return;
        }
        self.fresh = 0;
        // The spare steps that nearly all runs had.
        let Some(spare) = robust::quantile(&self.spare, 1.0 - rules.quantile) else { return };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=lower_max")]
        let target = spare.floor().clamp(0.0, f64::from(rules.lower_max)) as u32;
        self.lower_by = target.clamp(self.lower_by.saturating_sub(rules.move_max), self.lower_by + rules.move_max);
    }
}
