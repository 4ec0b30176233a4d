//! The cost models of all video models and worker classes of a fleet.

use std::collections::BTreeMap;

use domain::model::CostPrior;

use super::fit::{EstimateRules, fit_model};
use super::model::CostModel;
use super::records::CostRecord;

/// The cost models of a fleet, by video model and worker class.
#[derive(Debug, Clone, Default)]
pub struct CostBook {
    by_model: BTreeMap<String, BTreeMap<String, CostModel>>,
}

impl CostBook {
    /// Fits every pair of video model and worker class in `records` (oldest first). A model without a prior is left out.
    #[must_use]
    pub fn fit<'a>(
        priors: impl IntoIterator<Item = (&'a str, &'a CostPrior)>,
        records: &[CostRecord],
        rules: EstimateRules,
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

    /// The cost model of a worker class. For `None`, or a class that has no runs, the class with the most runs; `None`
    /// while the video model has no runs at all ([`crate::Planner::cost`] then uses the prior).
    #[must_use]
    pub fn of(&self, model_id: &str, worker_class: Option<&str>) -> Option<&CostModel> {
        let classes = self.by_model.get(model_id)?;
        worker_class.and_then(|class| classes.get(class)).or_else(|| classes.values().max_by_key(|model| model.runs))
    }

    /// Every pair with its cost model.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &CostModel)> {
        self.by_model.iter().flat_map(|(model_id, classes)| {
            classes.iter().map(move |(class, model)| (model_id.as_str(), class.as_str(), model))
        })
    }
}
