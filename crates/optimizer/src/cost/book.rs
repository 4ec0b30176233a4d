//! The cost models of all video models and worker classes of a fleet.

use std::collections::BTreeMap;

use domain::model::CostPrior;

use super::devices::on_devices;
use super::fit::{EstimateRules, fit_model};
use super::model::CostModel;
use super::records::CostRecord;

/// Newest runs of a video model of which the most frequent worker class stands for a run whose worker is not known yet. A fleet
/// whose workers were replaced is estimated by its new ones after five runs.
const CLASS_RUNS: usize = 9;

/// The cost models of a fleet, by video model and worker class.
#[derive(Debug, Clone, Default)]
pub struct CostBook {
    by_model: BTreeMap<String, BTreeMap<String, CostModel>>,
    /// The worker class of most of the newest runs, by video model.
    usual: BTreeMap<String, String>,
    /// The same among the runs on so many devices.
    usual_on: BTreeMap<String, BTreeMap<u32, String>>,
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
        let mut classes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut on: BTreeMap<(&str, u32), Vec<&str>> = BTreeMap::new();
        for record in records {
            groups.entry((&record.model_id, &record.worker_class)).or_default().push(record.clone());
            classes.entry(&record.model_id).or_default().push(&record.worker_class);
            on.entry((&record.model_id, record.devices)).or_default().push(&record.worker_class);
        }
        let priors: BTreeMap<&str, &CostPrior> = priors.into_iter().collect();
        let mut book = Self::default();
        for ((model_id, class), group) in groups {
            let Some(prior) = priors.get(model_id) else { continue };
            let devices = group.last().map_or(1, |newest| newest.devices);
            let model = fit_model(&on_devices(prior, devices), &group, rules);
            book.by_model.entry(model_id.to_owned()).or_default().insert(class.to_owned(), model);
        }
        for (model_id, classes) in classes {
            if let Some(class) = usual(&classes) {
                book.usual.insert(model_id.to_owned(), class.to_owned());
            }
        }
        for ((model_id, devices), classes) in on {
            if let Some(class) = usual(&classes) {
                book.usual_on.entry(model_id.to_owned()).or_default().insert(devices, class.to_owned());
            }
        }
        book
    }

    /// The cost model of the usual worker class among the runs on so many devices; `None` while there are none.
    #[must_use]
    pub fn on(&self, model_id: &str, devices: u32) -> Option<&CostModel> {
        self.by_model.get(model_id)?.get(self.usual_on.get(model_id)?.get(&devices)?)
    }

    /// The cost model of a worker class. For `None`, or a class that has no runs, the class of most of the newest runs; `None`
    /// while the video model has no runs at all ([`crate::Planner::cost`] then uses the prior).
    #[must_use]
    pub fn of(&self, model_id: &str, worker_class: Option<&str>) -> Option<&CostModel> {
        let classes = self.by_model.get(model_id)?;
        worker_class.and_then(|class| classes.get(class)).or_else(|| classes.get(self.usual.get(model_id)?))
    }

    /// Every pair with its cost model.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &CostModel)> {
        self.by_model.iter().flat_map(|(model_id, classes)| {
            classes.iter().map(move |(class, model)| (model_id.as_str(), class.as_str(), model))
        })
    }
}

/// The worker class of most of the newest runs.
fn usual<'a>(classes: &[&'a str]) -> Option<&'a str> {
    most_frequent(&classes[classes.len().saturating_sub(CLASS_RUNS)..])
}

/// The most frequent of the classes, oldest first; of several the one that was seen last.
fn most_frequent<'a>(classes: &[&'a str]) -> Option<&'a str> {
    let count = |class: &str| classes.iter().filter(|other| **other == class).count();
    classes.iter().copied().max_by_key(|class| count(class))
}
