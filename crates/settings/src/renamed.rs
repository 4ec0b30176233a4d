//! Keys that no longer exist, and what to use instead. A file or variable that still sets one is refused with that advice,
//! so that an upgrade never drops a setting silently.

/// What became of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Now {
    /// It has a new name and the same meaning.
    Key(&'static str),
    /// It is not a setting any more. The text completes "... is no longer a setting: ".
    Elsewhere(&'static str),
}

/// Old keys, in the order of the base file.
pub(crate) const RENAMED: &[(&str, Now)] = &[
    (
        "database.connect_timeout_ms",
        Now::Elsewhere("remove it; database.acquire_timeout_ms limits the wait, including the time to connect"),
    ),
    ("tiers.preview.change_max", Now::Key("tiers.preview.error_max")),
    ("tiers.standard.change_max", Now::Key("tiers.standard.error_max")),
    ("tiers.premium.change_max", Now::Key("tiers.premium.error_max")),
    ("tiers.preview.size", Now::Key("tiers.preview.size_max")),
    ("tiers.standard.size", Now::Key("tiers.standard.size_max")),
    ("tiers.premium.size", Now::Key("tiers.premium.size_max")),
    ("optimization.auto_steps_min", Now::Key("tiers.auto.steps_min")),
    ("optimization.auto_steps_max", Now::Key("tiers.auto.steps_max")),
    (
        "optimization.step_cache_balanced_threshold",
        Now::Elsewhere(
            "set step_cache.balanced in the model's fleet.toml, or tiers.NAME.step_cache_threshold for one tier",
        ),
    ),
    (
        "optimization.step_cache_fast_threshold",
        Now::Elsewhere(
            "set step_cache.fast in the model's fleet.toml, or tiers.NAME.step_cache_threshold for one tier",
        ),
    ),
    ("optimization.learning", Now::Key("optimization.learned_steps")),
    ("optimization.learning_runs_min", Now::Key("optimization.learn_runs_min")),
    ("optimization.learning_step_max", Now::Key("optimization.learn_move_max")),
    ("cost.baseline_steps", Now::Elsewhere("set cost_prior.baseline_steps in the model's fleet.toml")),
];

/// What to do instead of setting a key that was renamed or removed. `name` turns a key into what the user writes for it.
pub(crate) fn advice(key: &str, name: impl Fn(&str) -> String) -> Option<String> {
    let (_, now) = RENAMED.iter().find(|(old, _)| *old == key)?;
    Some(match now {
        Now::Key(new) => format!("use '{}'", name(new)),
        Now::Elsewhere(advice) => (*advice).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::known_keys;

    #[test]
    fn old_keys_are_gone_and_new_ones_exist() {
        let known = known_keys();
        for (old, now) in RENAMED {
            assert!(!known.contains_key(*old), "{old} is still a setting");
            if let Now::Key(new) = now {
                assert!(known.contains_key(*new), "{new} is not a setting");
            }
        }
    }
}
