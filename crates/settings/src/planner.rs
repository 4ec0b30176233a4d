//! The settings that planning depends on, as the pure planner takes them, so that API and scheduler plan alike.

use optimizer::{EstimateRules, LearnRules, Planner, Profiles, StepsOverride, Switches, TierProfile};

use crate::sections::Settings;
use crate::sections::tiers::TierSettings;

/// `size_max` of a tier that renders every size as requested.
const AS_REQUESTED: &str = "as_requested";

impl Settings {
    /// A planner with these settings, which has learned nothing yet.
    #[must_use]
    pub fn planner(&self) -> Planner {
        Planner::new(self.profiles(), self.switches())
    }

    /// The tiers. Which tier `auto` chooses for which class of prompts is the planner's own default.
    pub(crate) fn profiles(&self) -> Profiles {
        let tiers = &self.tiers;
        let mut profiles = Profiles {
            preview: profile(&tiers.preview),
            standard: profile(&tiers.standard),
            premium: profile(&tiers.premium),
            interpolated_frames_max: self.interpolated_frames_max(),
            ..Profiles::default()
        };
        profiles.auto.steps = StepsOverride {
            min: unless_zero(tiers.auto.steps_min),
            max: unless_zero(tiers.auto.steps_max),
            fixed: None,
        };
        profiles
    }

    fn switches(&self) -> Switches {
        let on = &self.optimization;
        Switches { adaptive_steps: on.adaptive_steps, learned_steps: on.learned_steps, step_cache: on.step_cache }
    }

    /// How fast, and how far, learning may move.
    #[must_use]
    pub fn learn_rules(&self) -> LearnRules {
        LearnRules {
            runs_min: self.optimization.learn_runs_min as usize,
            move_max: self.optimization.learn_move_max,
            ..LearnRules::default()
        }
    }

    /// When the fleet's own runs replace the prior of the cost model.
    #[must_use]
    pub fn estimate_rules(&self) -> EstimateRules {
        EstimateRules { runs_min: self.optimization.estimate_runs_min as usize, ..EstimateRules::default() }
    }
}

fn profile(tier: &TierSettings) -> TierProfile {
    TierProfile {
        steps: StepsOverride {
            min: unless_zero(tier.steps_min),
            max: unless_zero(tier.steps_max),
            fixed: unless_zero(tier.steps_fixed),
        },
        step_cache: tier.step_cache,
        step_cache_threshold: (tier.step_cache_threshold != 0.0).then_some(tier.step_cache_threshold),
        size_max: (tier.size_max != AS_REQUESTED).then(|| tier.size_max.clone()),
        draft_share: tier.draft_share,
        interpolate: tier.interpolate,
        progressive: tier.progressive,
        error_max: tier.error_max,
    }
}

fn unless_zero(steps: u32) -> Option<u32> {
    (steps > 0).then_some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_the_base_file_are_those_of_the_planner() {
        let settings = Settings::defaults();
        assert_eq!(settings.profiles(), Profiles::default());
        assert_eq!(settings.switches(), Switches::default());
        assert_eq!(settings.learn_rules(), LearnRules::default());
        assert_eq!(settings.estimate_rules(), EstimateRules::default());
    }
}
