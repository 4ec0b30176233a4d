//! Which of several candidates is continued, by what was measured on their drafts.
//!
//! Measurements are compared as ranks within one prompt, never as raw values: their scale depends on the prompt, the size and
//! the step. First comes a veto against drafts that are worthless whatever else they have: nearly one colour, much more
//! flicker than their fellows, or nearly still although the prompt asks for motion. Then the ranks are added up with the weights
//! below. Sharpness has half a weight, because noise and grain also raise it. A tie goes to the lower seed, so that the same
//! drafts always give the same choice.

use std::cmp::Ordering;

use domain::{DraftScores, Plan};

/// Brightness that varies less than this is one colour.
const CONTRAST_MIN: f64 = 0.02;
/// Flicker above this multiple of the candidates' median is a fault.
const FLICKER_MAX: f64 = 3.0;
/// Motion below this share of the candidates' median is a still picture, where the prompt asks for motion.
const MOTION_MIN: f64 = 0.25;
/// Weight of the rank of sharpness; the other ranks have 1.
const SHARPNESS_WEIGHT: f64 = 0.5;

/// One draft to compare.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    /// Its seed.
    pub seed: u64,
    /// Its measurements.
    pub scores: DraftScores,
}

/// Whether the prompt asks for motion, by its analysis.
#[must_use]
pub fn asks_for_motion(plan: &Plan) -> bool {
    plan.factors.iter().any(|factor| factor.factor == "motion" && factor.score > 0.0)
}

/// The place of each entry, 1 for the best, in the order of `entries`.
#[must_use]
pub fn places(entries: &[Entry], wants_motion: bool) -> Vec<u32> {
    let of = |value: fn(&DraftScores) -> f64| entries.iter().map(|entry| value(&entry.scores)).collect::<Vec<_>>();
    let (motion, flicker) = (of(|scores| scores.motion), of(|scores| scores.flicker));
    let (typical_motion, typical_flicker) = (median(&motion), median(&flicker));
    let mut points = vec![0.0; entries.len()];
    let mut add = |values: &[f64], weight: f64| {
        for (sum, rank) in points.iter_mut().zip(ranks(values)) {
            *sum += weight * rank;
        }
    };
    add(&of(|scores| -scores.flicker), 1.0);
    add(&of(|scores| scores.contrast), 1.0);
    add(&of(|scores| scores.sharpness), SHARPNESS_WEIGHT);
    add(&motion, if wants_motion { 1.0 } else { 0.0 });
    let is_vetoed = |at: usize| {
        let scores = &entries[at].scores;
        scores.contrast < CONTRAST_MIN
            || scores.flicker > FLICKER_MAX * typical_flicker
            || (wants_motion && scores.motion < MOTION_MIN * typical_motion)
    };
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by(|&a, &b| {
        let better = points[b].partial_cmp(&points[a]).unwrap_or(Ordering::Equal);
        is_vetoed(a).cmp(&is_vetoed(b)).then(better).then(entries[a].seed.cmp(&entries[b].seed))
    });
    let mut places = vec![0; entries.len()];
    for (place, at) in (1..).zip(order) {
        places[at] = place;
    }
    places
}

/// Rank of each value, 0 for the smallest; equal values share the mean of their ranks.
fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: f64| {
        values.iter().fold(0.0, |rank, other| match other.partial_cmp(&value) {
            Some(Ordering::Less) => rank + 1.0,
            Some(Ordering::Equal) => rank + 0.5,
            _ => rank,
        }) - 0.5
    };
    values.iter().map(|value| rank(*value)).collect()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
    match sorted.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seed: u64, motion: f64, flicker: f64, sharpness: f64, contrast: f64) -> Entry {
        Entry { seed, scores: DraftScores { motion, flicker, sharpness, contrast } }
    }

    #[test]
    fn more_contrast_and_less_flicker_win() {
        let entries = [entry(1, 0.1, 0.03, 0.01, 0.1), entry(2, 0.1, 0.02, 0.01, 0.2), entry(3, 0.1, 0.04, 0.01, 0.15)];
        // The first and the third are equal in sum; the lower seed wins.
        assert_eq!(places(&entries, false), [2, 1, 3]);
    }

    #[test]
    fn a_still_draft_loses_only_where_motion_is_wanted() {
        let entries =
            [entry(1, 0.001, 0.01, 0.02, 0.3), entry(2, 0.1, 0.02, 0.01, 0.2), entry(3, 0.12, 0.02, 0.01, 0.2)];
        assert_eq!(places(&entries, false)[0], 1);
        assert_eq!(places(&entries, true)[0], 3);
    }

    #[test]
    fn one_colour_and_strong_flicker_are_vetoed() {
        let entries = [entry(1, 0.1, 0.02, 9.0, 0.01), entry(2, 0.1, 0.02, 0.1, 0.1), entry(3, 0.1, 0.09, 9.0, 0.9)];
        assert_eq!(places(&entries, false)[1], 1);
    }

    #[test]
    fn a_tie_goes_to_the_lower_seed_and_nothing_has_no_places() {
        let same = |seed| entry(seed, 0.1, 0.02, 0.1, 0.2);
        assert_eq!(places(&[same(9), same(3), same(5)], true), [3, 1, 2]);
        assert!(places(&[], true).is_empty());
    }

    #[test]
    fn values_that_are_not_numbers_do_not_panic() {
        let odd = entry(1, f64::NAN, f64::NAN, f64::NAN, f64::NAN);
        let places = places(&[odd, entry(2, 0.1, 0.02, 0.1, 0.2)], true);
        assert_eq!(
            {
                let mut all = places;
                all.sort_unstable();
                all
            },
            [1, 2]
        );
    }
}
