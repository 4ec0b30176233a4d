//! How many steps the step cache will skip, estimated from runs with the same threshold and a similar number of steps.
//!
//! The share depends on the threshold and grows with the number of steps (smaller steps change less each). There is no
//! formula for it: the table keeps what was seen, and weights each row by how near its number of steps is.

use serde::{Deserialize, Serialize};

use super::records::CostRecord;
use crate::robust;

/// Steps that the cache always computes: the first five and the last.
const ALWAYS_COMPUTED: u32 = 6;
/// Number of runs with a threshold from which on their skips count in full; fewer count in part.
const RUNS_FULL: usize = 3;

/// What was seen at one threshold and number of steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SkipShare {
    /// Step-cache threshold.
    pub threshold: f64,
    /// Planned steps.
    pub steps: u32,
    /// Median share of the skippable steps that were skipped, 0 to 1.
    pub share: f64,
    /// Number of runs.
    pub runs: usize,
}

/// Skips seen so far. While it is empty, no step is expected to be skipped.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SkipTable(Vec<SkipShare>);

fn skippable(steps: u32) -> u32 {
    steps.saturating_sub(ALWAYS_COMPUTED)
}

impl SkipTable {
    /// Summarises records.
    #[must_use]
    pub fn of(records: &[CostRecord]) -> Self {
        let mut seen: Vec<(f64, u32, Vec<f64>)> = Vec::new();
        for record in records.iter().filter(|r| r.threshold > 0.0) {
            // Each size is a run of its own to the cache.
            let lower = record.lower.map(|lower| (lower.computed, lower.skipped));
            for (computed, skipped) in [Some((record.computed, record.skipped)), lower].into_iter().flatten() {
                let steps = computed + skipped;
                if skippable(steps) == 0 {
                    continue;
                }
                let share = f64::from(skipped) / f64::from(skippable(steps));
                match seen.iter_mut().find(|(t, s, _)| same(*t, record.threshold) && *s == steps) {
                    Some((_, _, shares)) => shares.push(share),
                    None => seen.push((record.threshold, steps, vec![share])),
                }
            }
        }
        let row = |(threshold, steps, shares): (f64, u32, Vec<f64>)| {
            let share = robust::median(&shares)?.clamp(0.0, 1.0);
            Some(SkipShare { threshold, steps, share, runs: shares.len() })
        };
        Self(seen.into_iter().filter_map(row).collect())
    }

    /// Rows of the table.
    #[must_use]
    pub fn rows(&self) -> &[SkipShare] {
        &self.0
    }

    /// Expected number of skipped steps, not a whole number; 0 before any run was seen.
    #[must_use]
    pub fn expected(&self, threshold: f64, steps: u32) -> f64 {
        let like: Vec<_> = self.0.iter().filter(|row| threshold > 0.0 && same(row.threshold, threshold)).collect();
        let runs: usize = like.iter().map(|row| row.runs).sum();
        if runs == 0 {
            return 0.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "run counts are far below 2^52")]
        let belief = if runs < RUNS_FULL { runs as f64 / (runs + 1) as f64 } else { 1.0 };
        let (mut sum, mut weights) = (0.0, 0.0);
        for row in like {
            let distance = f64::from(row.steps.abs_diff(steps));
            #[expect(clippy::cast_precision_loss, reason = "run counts are far below 2^52")]
            let weight = row.runs as f64 / (1.0 + distance * distance);
            sum += weight * row.share;
            weights += weight;
        }
        belief * f64::from(skippable(steps)) * sum / weights
    }
}

fn same(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}
