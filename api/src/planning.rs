//! The API's forecast of a plan, by the same pure function that the scheduler plans with.
//!
//! The plan that counts is the scheduler's and lies in the row; this one answers questions before there is a row
//! (`analyze`, the tier selector) and in the moment between submission and planning.

use domain::model::RenderShape;
use domain::{ModelManifest, Plan, VideoRequest};
use optimizer::{CostBook, CostModel, Learned, Profiles, Switches};
use settings::Settings;

/// Everything that planning depends on, besides the request.
#[derive(Debug, Clone)]
pub struct Planner {
    /// The tiers.
    pub profiles: Profiles,
    /// Which optimisations are on.
    pub switches: Switches,
    /// What the fleet's own runs say of their time.
    pub costs: CostBook,
    /// What they say of the steps they needed.
    pub learned: Learned,
}

impl Planner {
    /// A planner that has learnt nothing yet.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            profiles: settings.profiles(),
            switches: settings.switches(),
            costs: CostBook::default(),
            learned: Learned::default(),
        }
    }

    /// Plans a validated request for the worker class with the most runs.
    #[must_use]
    pub fn plan(&self, request: &VideoRequest, shape: &RenderShape, manifest: &ModelManifest) -> Plan {
        let prior;
        let cost = match self.costs.of(&manifest.id, None) {
            Some(fitted) => fitted,
            None => {
                prior = CostModel::from_prior(&manifest.cost_prior);
                &prior
            }
        };
        optimizer::plan(request, shape, manifest, &self.profiles, self.switches, cost, &self.learned)
    }
}
