//! From a score to a class and to steps, by the numbers in `lexicon/scoring.toml`.
//!
//! Both never decrease when the score increases, and the score never decreases when a prompt demands more. So adding a
//! demand never lowers the steps.

use std::sync::LazyLock;

use domain::Complexity;
use serde::Deserialize;

/// The numbers of the file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scoring {
    pub(crate) caps: Caps,
    pub(crate) length: LengthRule,
    pub(crate) subjects: SubjectRule,
    pub(crate) classes: Classes,
    pub(crate) negation: Reach,
}

/// Highest score of each factor that adds up words.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Caps {
    pub(crate) motion: f64,
    pub(crate) scene: f64,
    pub(crate) camera: f64,
    pub(crate) lighting: f64,
    pub(crate) quality: f64,
}

/// Score of the prompt's length.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LengthRule {
    pub(crate) free: f64,
    pub(crate) each: f64,
    pub(crate) han: f64,
    pub(crate) cap: f64,
}

/// Score of several subjects.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubjectRule {
    pub(crate) each: f64,
    pub(crate) cap: f64,
}

/// Total scores at which each class begins, and between which the steps rise.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Classes {
    pub(crate) rest: f64,
    pub(crate) moderate: f64,
    pub(crate) complex: f64,
    pub(crate) very_complex: f64,
    pub(crate) full: f64,
}

/// How many tokens a negator reaches.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reach {
    pub(crate) words: u32,
    pub(crate) han: u32,
}

pub(crate) static SCORING: LazyLock<Scoring> = LazyLock::new(|| {
    toml::from_str(include_str!("../lexicon/scoring.toml")).expect("lexicon/scoring.toml does not parse; this is a bug")
});

/// Shares of the range at which the classes begin. With 18 to 45 steps: 18, 25, 32 and 39.
const SHARES: [f64; 5] = [0.0, 7.0 / 27.0, 14.0 / 27.0, 21.0 / 27.0, 1.0];

/// The class of a total score.
#[must_use]
pub fn complexity(score: f64) -> Complexity {
    let classes = &SCORING.classes;
    if score >= classes.very_complex {
        Complexity::VeryComplex
    } else if score >= classes.complex {
        Complexity::Complex
    } else if score >= classes.moderate {
        Complexity::Moderate
    } else {
        Complexity::Simple
    }
}

/// Steps of a score in a range, `min..=max`.
#[must_use]
pub fn steps_in(score: f64, min: u32, max: u32) -> u32 {
    let classes = &SCORING.classes;
    let knots = [classes.rest, classes.moderate, classes.complex, classes.very_complex, classes.full];
    // The last knot at or below the score. Below the first one the steps have not begun to rise.
    let Some(below) = knots.iter().rposition(|knot| score >= *knot) else { return min };
    let share = match (knots.get(below + 1), SHARES.get(below + 1)) {
        (Some(next), Some(share)) => {
            SHARES[below] + (share - SHARES[below]) * (score - knots[below]) / (next - knots[below])
        }
        _ => 1.0,
    };
    steps_at(share, min, max)
}

/// Steps at a share of a range, rounded down so that a class begins exactly at its own first step.
fn steps_at(share: f64, min: u32, max: u32) -> u32 {
    let span = f64::from(max.saturating_sub(min));
    // The small addition makes 7/27 of 27 exactly 7.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and max - min")]
    let above = (share.clamp(0.0, 1.0) * span + 1e-9).floor() as u32;
    min + above.min(max.saturating_sub(min))
}

/// Fewest and most steps that a class gets in a range.
pub(crate) fn class_steps(class: Complexity, (min, max): (u32, u32)) -> (u32, u32) {
    let index = match class {
        Complexity::Simple => 0,
        Complexity::Moderate => 1,
        Complexity::Complex => 2,
        Complexity::VeryComplex => return (steps_at(SHARES[3], min, max), max),
    };
    // The last score of a class is just below the next class's share.
    (steps_at(SHARES[index], min, max), steps_at(SHARES[index + 1] - 1e-7, min, max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_begin_at_their_own_steps() {
        let classes = &SCORING.classes;
        let starts = [0.0, classes.moderate, classes.complex, classes.very_complex, classes.full];
        let steps: Vec<_> = starts.iter().map(|score| steps_in(*score, 18, 45)).collect();
        assert_eq!(steps, [18, 25, 32, 39, 45]);
        assert_eq!(steps_in(classes.moderate - 1e-6, 18, 45), 24);
        assert_eq!(steps_in(1e9, 25, 35), 35);
        assert_eq!(steps_in(0.0, 15, 15), 15);
        assert_eq!(class_steps(Complexity::Moderate, (18, 45)), (25, 31));
    }
}
