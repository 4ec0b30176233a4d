//! The settings that planning depends on, in the words of the pure planner, so that API and scheduler plan alike.

use domain::StepCacheMode;
use optimizer::{FitRules, LearnRules, Profiles, StepCacheThresholds, Switches, TierProfile};

use crate::{Settings, TierSettings};

/// A tier renders what was asked for unless its setting names a size.
const AS_REQUESTED: &str = "as_requested";

impl Settings {
    /// The tiers. Which tier `auto` gives to which class of prompts is the planner's own default.
    #[must_use]
    pub fn profiles(&self) -> Profiles {
        let mut profiles = Profiles {
            preview: profile(&self.tiers.preview),
            standard: profile(&self.tiers.standard),
            premium: profile(&self.tiers.premium),
            ..Profiles::default()
        };
        profiles.auto.steps_min = self.optimization.auto_steps_min;
        profiles.auto.steps_max = self.optimization.auto_steps_max;
        profiles.step_cache = StepCacheThresholds {
            balanced: self.optimization.step_cache_threshold(StepCacheMode::Balanced),
            fast: self.optimization.step_cache_threshold(StepCacheMode::Fast),
        };
        profiles
    }

    /// Which optimisations are on.
    #[must_use]
    pub fn switches(&self) -> Switches {
        Switches {
            adaptive_steps: self.optimization.adaptive_steps,
            learned_steps: self.optimization.learning,
            step_cache: true,
        }
    }

    /// How learning moves.
    #[must_use]
    pub fn learn_rules(&self) -> LearnRules {
        LearnRules {
            runs_min: self.optimization.learning_runs_min as usize,
            move_max: self.optimization.learning_step_max,
            ..LearnRules::default()
        }
    }

    /// When own runs replace the prior of the cost model.
    #[must_use]
    pub fn fit_rules(&self) -> FitRules {
        FitRules { runs_min: self.optimization.estimate_runs_min as usize, ..FitRules::default() }
    }
}

fn profile(tier: &TierSettings) -> TierProfile {
    TierProfile {
        steps_min: tier.steps_min,
        steps_max: tier.steps_max,
        steps_fixed: tier.steps_fixed,
        step_cache: tier.step_cache,
        step_cache_threshold: (tier.step_cache_threshold > 0.0).then_some(tier.step_cache_threshold),
        size_max: (tier.size != AS_REQUESTED).then(|| tier.size.clone()),
        error_max: tier.change_max,
    }
}
