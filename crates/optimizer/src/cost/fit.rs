//! Fitting the cost model to the fleet's own records.
//!
//! 1. Without records the prior is used as it is.
//! 2. With a few, the prior's proportions are kept and the runs set the speed.
//! 3. From [`EstimateRules::runs_min`] on, a robust regression fits each part, starting from that scaled prior. The prior
//!    then only decides what the records leave open (sizes never rendered, guidance never used).
//! 4. In both cases the newest few runs set the speed, since the machine may have become slower or faster as a whole (a
//!    neighbour, a hot card, a new driver, another card). By how much is not bounded: a fleet may move from a CPU to a GPU.

use domain::model::CostPrior;

use super::model::{CostModel, CostSource};
use super::records::{CostRecord, StageSteps};
use super::skips::SkipTable;
use super::swap;
use crate::robust::{self, Belief, Row};

/// Newest runs whose median sets the speed. Up to three of them may be outliers, and a change of the machine shows after
/// four.
const PACE_RUNS: usize = 7;

/// When the fleet's own records replace the prior.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EstimateRules {
    /// Number of runs from which on the regression replaces the scaled prior.
    pub runs_min: usize,
    /// Number of newest runs that are used; older ones may be from another machine.
    pub runs_max: usize,
}

impl Default for EstimateRules {
    fn default() -> Self {
        Self { runs_min: 10, runs_max: 400 }
    }
}

/// Fits one video model on one worker class. `records` are of that pair alone, oldest first.
#[must_use]
pub fn fit_model(prior: &CostPrior, records: &[CostRecord], rules: EstimateRules) -> CostModel {
    let prior_model = CostModel::from_prior(prior);
    let newest = &records[records.len().saturating_sub(rules.runs_max)..];
    if newest.is_empty() {
        return prior_model;
    }
    let scaled = scale(&prior_model, newest);
    let fitted = if newest.len() < rules.runs_min { scaled } else { regress(&scaled, newest) };
    let mut model = in_pace(fitted, newest);
    model.skips = SkipTable::of(newest);
    model.swap_s = swap::measured(newest);
    model.interpolate_mpx_s = interpolation(newest).unwrap_or(prior.interpolate_mpx_s);
    model.runs = newest.len();
    model
}

/// Seconds that a million interpolated pixels took, by the median of the newest runs that have some.
fn interpolation(records: &[CostRecord]) -> Option<f64> {
    let newest = records.iter().rev().filter(|r| r.interpolated_mpx > 0.0).take(PACE_RUNS);
    robust::median(&newest.map(|r| r.interpolate_s / r.interpolated_mpx).collect::<Vec<_>>())
}

/// The prior's proportions at the records' median speed, part by part.
fn scale(prior: &CostModel, records: &[CostRecord]) -> CostModel {
    let pace = |seconds: &dyn Fn(&CostRecord) -> (f64, f64)| {
        let ratios: Vec<f64> = records.iter().map(seconds).filter(|(_, b)| *b > 0.0).map(|(a, b)| a / b).collect();
        robust::median(&ratios)
    };
    let modelled =
        |r: &CostRecord| prior.denoise_s(r.tokens, r.passes, r.computed, r.skipped) + prior.lower_s(r.lower, r.passes);
    let step = pace(&|r| (r.denoise_s, modelled(r))).unwrap_or(1.0);
    let tail = pace(&|r| (r.tail_s, prior.tail_once_s + prior.tail_s * prior.ratio(r.tokens)));
    let encodes = |hit: bool| {
        let seconds: Vec<f64> = records.iter().filter(|r| r.hit == hit).map(|r| r.encode_s).collect();
        robust::median(&seconds)
    };
    let mut model = prior.clone();
    model.linear_s *= step;
    model.square_s *= step;
    model.encode_miss_s = encodes(false).unwrap_or(prior.encode_miss_s * step);
    model.encode_hit_s = encodes(true).unwrap_or(prior.encode_hit_s);
    match tail {
        Some(pace) => model.tail_s *= pace,
        // A prior of 0 s has no proportions to keep, so the measured seconds are used as they are.
        None => {
            model.tail_once_s = robust::median(&records.iter().map(|r| r.tail_s).collect::<Vec<_>>()).unwrap_or(0.0);
        }
    }
    model.source = CostSource::Scaled;
    model
}

fn regress(scaled: &CostModel, records: &[CostRecord]) -> CostModel {
    let step_s = (scaled.linear_s + scaled.square_s).max(1e-9);
    let steps = |r: &CostRecord| {
        let full = StageSteps { tokens: r.tokens, computed: r.computed, skipped: r.skipped };
        let mut x = [0.0, 0.0, 0.0, 1.0];
        for stage in [Some(full), r.lower].into_iter().flatten() {
            let (ratio, passes) = (scaled.ratio(stage.tokens), f64::from(r.passes));
            let computed = passes * f64::from(stage.computed) * ratio;
            x[0] += computed;
            x[1] += computed * ratio;
            x[2] += passes * f64::from(stage.skipped) * ratio;
        }
        Row { x, y: r.denoise_s }
    };
    let belief = Belief {
        mean: [scaled.linear_s, scaled.square_s, 0.0, 0.0],
        spread: [scaled.linear_s.max(0.1 * step_s), scaled.square_s.max(0.1 * step_s), 0.2 * step_s, step_s],
    };
    let denoise = robust::fit(&records.iter().map(steps).collect::<Vec<_>>(), &belief);

    let tails: Vec<_> = records.iter().map(|r| Row { x: [1.0, scaled.ratio(r.tokens)], y: r.tail_s }).collect();
    let tail_s = (scaled.tail_once_s + scaled.tail_s).max(1e-9);
    let belief = Belief { mean: [scaled.tail_once_s, scaled.tail_s], spread: [tail_s, tail_s] };
    let tail = robust::fit(&tails, &belief);
    CostModel {
        linear_s: denoise[0],
        square_s: denoise[1],
        skip_s: denoise[2],
        once_s: denoise[3],
        tail_once_s: tail[0],
        tail_s: tail[1],
        source: CostSource::Fitted,
        ..scaled.clone()
    }
}

/// The model at the speed of the newest runs.
fn in_pace(mut model: CostModel, records: &[CostRecord]) -> CostModel {
    let newest = &records[records.len().saturating_sub(PACE_RUNS)..];
    let modelled = |r: &CostRecord| {
        model.run_s(r.tokens, r.passes, r.computed, r.skipped, r.hit) + model.lower_s(r.lower, r.passes)
    };
    let pace = |r: &CostRecord| r.total_s() / modelled(r);
    let Some(pace) = robust::median(&newest.iter().map(pace).collect::<Vec<_>>()) else { return model };
    if pace <= 0.0 {
        return model;
    }
    for seconds in [
        &mut model.linear_s,
        &mut model.square_s,
        &mut model.skip_s,
        &mut model.once_s,
        &mut model.encode_miss_s,
        &mut model.encode_hit_s,
        &mut model.tail_once_s,
        &mut model.tail_s,
    ] {
        *seconds *= pace;
    }
    model
}

/// Median of |estimate - run| / run over records, 0 or more; `None` without records. The estimate is the one that a plan
/// would have given: the skipped steps are expected, not known.
#[must_use]
pub fn median_relative_error(model: &CostModel, records: &[CostRecord]) -> Option<f64> {
    let error = |r: &CostRecord| (model.estimate_s(&r.work(), r.hit) - r.total_s()).abs() / r.total_s();
    robust::median(&records.iter().map(error).collect::<Vec<_>>())
}
