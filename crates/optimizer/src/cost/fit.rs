//! Fitting the cost model to the fleet's own records.
//!
//! With no record the prior speaks. With a few, its proportions are kept and its pace is set by the median run. With
//! [`FitRules::runs_min`] or more, each part is fitted by a robust regression that starts from that scaled prior; the
//! prior then only decides what the records leave open (sizes never rendered, guidance never used). Many runs give the
//! proportions, but the machine may since have become slower or faster as a whole (a neighbour, a hot card, a new
//! driver), so the newest few set the pace.

use std::collections::BTreeMap;

use domain::model::CostPrior;
use serde::{Deserialize, Serialize};

use super::{CostModel, CostRecord, CostSource, SkipTable};
use crate::robust::{self, Belief, Row};

/// Newest runs whose median sets the pace: three of them may be far off, and a machine that changed is known after four.
const PACE_RUNS: usize = 7;
/// How far the newest runs may move the pace, either way.
const PACE_MAX: f64 = 4.0;

/// When own records win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FitRules {
    /// Runs from which on the regression replaces the scaled prior.
    pub runs_min: usize,
    /// Newest runs that are used, so that a changed machine is learnt and old news forgotten.
    pub runs_max: usize,
}

impl Default for FitRules {
    fn default() -> Self {
        Self { runs_min: 8, runs_max: 400 }
    }
}

/// Fits one model on one worker class. `records` are of that pair alone, oldest first.
#[must_use]
pub fn fit_model(prior: &CostPrior, records: &[CostRecord], rules: FitRules) -> CostModel {
    let believed = CostModel::from_prior(prior);
    let newest = &records[records.len().saturating_sub(rules.runs_max)..];
    if newest.is_empty() {
        return believed;
    }
    let scaled = scale(&believed, newest);
    let mut model = if newest.len() < rules.runs_min { scaled } else { in_pace(regress(&scaled, newest), newest) };
    model.skips = SkipTable::of(newest);
    model.runs = newest.len();
    model
}

/// The prior's proportions at the median pace of the records, part by part.
fn scale(prior: &CostModel, records: &[CostRecord]) -> CostModel {
    let pace = |seconds: &dyn Fn(&CostRecord) -> (f64, f64)| {
        let ratios: Vec<f64> = records.iter().map(seconds).filter(|(_, b)| *b > 0.0).map(|(a, b)| a / b).collect();
        robust::median(&ratios)
    };
    let step = pace(&|r| (r.denoise_s, prior.denoise_s(r.tokens, r.passes, r.computed, r.skipped))).unwrap_or(1.0);
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
        // A prior of nothing has no proportions to keep: take the seconds as they are.
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
        let (ratio, passes) = (scaled.ratio(r.tokens), f64::from(r.passes));
        let computed = passes * f64::from(r.computed) * ratio;
        Row { x: [computed, computed * ratio, passes * f64::from(r.skipped) * ratio, 1.0], y: r.denoise_s }
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

/// The model at the pace of the newest runs.
fn in_pace(mut model: CostModel, records: &[CostRecord]) -> CostModel {
    let newest = &records[records.len().saturating_sub(PACE_RUNS)..];
    let pace = |r: &CostRecord| r.total_s() / model.run_s(r.tokens, r.passes, r.computed, r.skipped, r.hit);
    let Some(pace) = robust::median(&newest.iter().map(pace).collect::<Vec<_>>()) else { return model };
    let pace = pace.clamp(1.0 / PACE_MAX, PACE_MAX);
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

/// Median of |estimate - run| / run over records, 0 to 1 and above; `None` without records. The estimate is the one a
/// plan would have given: skips are expected, not known.
#[must_use]
pub fn median_relative_error(model: &CostModel, records: &[CostRecord]) -> Option<f64> {
    let error = |r: &CostRecord| (model.estimate_s(&r.work(), r.hit) - r.total_s()).abs() / r.total_s();
    robust::median(&records.iter().map(error).collect::<Vec<_>>())
}

/// The cost models of a fleet.
#[derive(Debug, Clone, Default)]
pub struct CostBook {
    by_model: BTreeMap<String, BTreeMap<String, CostModel>>,
}

impl CostBook {
    /// Fits every pair of model and worker class in `records` (oldest first). A model without a prior is left out.
    #[must_use]
    pub fn fit<'a>(
        priors: impl IntoIterator<Item = (&'a str, &'a CostPrior)>,
        records: &[CostRecord],
        rules: FitRules,
    ) -> Self {
        let mut groups: BTreeMap<(&str, &str), Vec<CostRecord>> = BTreeMap::new();
        for record in records {
            groups.entry((&record.model_id, &record.worker_class)).or_default().push(record.clone());
        }
        let priors: BTreeMap<&str, &CostPrior> = priors.into_iter().collect();
        let mut book = Self::default();
        for ((model_id, class), group) in groups {
            let Some(prior) = priors.get(model_id) else { continue };
            let model = fit_model(prior, &group, rules);
            book.by_model.entry(model_id.to_owned()).or_default().insert(class.to_owned(), model);
        }
        book
    }

    /// The model to estimate with: that of the class, else (class unknown or never seen) the class with most runs, else
    /// `None`, and the caller takes [`CostModel::from_prior`].
    #[must_use]
    pub fn of(&self, model_id: &str, worker_class: Option<&str>) -> Option<&CostModel> {
        let classes = self.by_model.get(model_id)?;
        worker_class.and_then(|class| classes.get(class)).or_else(|| classes.values().max_by_key(|model| model.runs))
    }

    /// Every pair with its model.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &CostModel)> {
        self.by_model.iter().flat_map(|(model_id, classes)| {
            classes.iter().map(move |(class, model)| (model_id.as_str(), class.as_str(), model))
        })
    }
}
