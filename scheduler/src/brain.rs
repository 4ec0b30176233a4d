//! What finished runs teach: how long a run takes here, and how few steps are enough.
//!
//! Times are fitted anew to the newest runs, so every scheduler that leads comes to the same result. Steps move slowly and
//! each run teaches once, so what was learnt of them lies in the database, where API replicas read it and admins freeze or
//! reset it.

use std::sync::Arc;

use domain::{ModelManifest, VideoRequest};
use optimizer::{ConvergenceRecord, CostBook, CostRecord, Learned, RunFacts};
use store::stats::MeasuredRun;
use store::{Epoch, Learning, StoreError};

use crate::Scheduler;

/// Newest runs of a model that are looked at.
const RUNS: u32 = 2_000;
/// Newest runs that estimates are rated by: what they would be worth now, not on last week's machine.
const RATED: usize = 100;

/// What was learnt.
#[derive(Debug, Clone, Default)]
pub(crate) struct Brain {
    /// Time of a run, by model and worker class.
    pub(crate) costs: CostBook,
    /// Steps that can be spared.
    pub(crate) learned: Learned,
}

impl Scheduler {
    /// Looks at the newest runs and thinks again.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn reflect(&self, epoch: Epoch) -> Result<(), StoreError> {
        let before = self.brain();
        let read: Learning<Learned> = self.store.learning().await?;
        let mut next = read.clone();
        let mut records = Vec::new();
        for manifest in self.models.values() {
            let mut runs = self.store.recent_runs(&manifest.id, RUNS).await?;
            // The store answers the newest first; learning goes the other way.
            runs.reverse();
            let own: Vec<_> = runs.iter().filter_map(|run| cost_record(manifest, run)).collect();
            self.rate_estimates(&before, &manifest.id, &own);
            records.extend(own);
            self.learn_steps(manifest, &runs, &read, &mut next);
        }
        let priors = self.models.values().map(|manifest| (manifest.id.as_str(), &manifest.cost_prior));
        let costs = CostBook::fit(priors, &records, self.settings.fit_rules());
        let moved = next != read;
        // Changed meanwhile, by an admin or a new leader: what is there counts, and the same runs teach it next time.
        let kept = if !moved || self.store.save_learning(&next, epoch).await? { next } else { read };
        self.show(&kept.learned);
        self.learn(Brain { costs, learned: kept.learned });
        Ok(())
    }

    fn rate_estimates(&self, before: &Arc<Brain>, model_id: &str, own: &[CostRecord]) {
        if let Some(model) = before.costs.of(model_id, None)
            && let Some(error) = optimizer::cost::median_relative_error(model, &own[own.len().saturating_sub(RATED)..])
        {
            self.metrics.estimate_error_ratio.with_label_values(&[model_id]).set(error);
        }
    }

    fn learn_steps(
        &self,
        manifest: &ModelManifest,
        runs: &[MeasuredRun],
        read: &Learning<Learned>,
        next: &mut Learning<Learned>,
    ) {
        if !self.settings.optimization.learning {
            return;
        }
        let fresh = |run: &&MeasuredRun| read.taught_until.is_none_or(|until| run.finished_at > until);
        let lesson =
            |run: &MeasuredRun| ConvergenceRecord::of(run.requested, manifest, &run.plan, &run.record, &self.profiles);
        let lessons: Vec<_> = runs.iter().filter(fresh).filter_map(lesson).collect();
        next.learned = next.learned.learn(&lessons, &self.settings.learn_rules());
        next.taught_until = next.taught_until.max(runs.last().map(|run| run.finished_at));
    }

    fn show(&self, learned: &Learned) {
        self.metrics.learned_steps_lower.reset();
        for group in &learned.groups {
            let labels = [group.model_id.as_str(), group.requested.as_str(), group.complexity.as_str()];
            self.metrics.learned_steps_lower.with_label_values(&labels).set(i64::from(group.lower_by));
        }
    }
}

fn cost_record(manifest: &ModelManifest, run: &MeasuredRun) -> Option<CostRecord> {
    let request = VideoRequest { true_cfg_scale: run.true_cfg_scale, ..VideoRequest::new("") };
    CostRecord::of(&RunFacts {
        model_id: &manifest.id,
        worker_class: &run.record.device,
        request: &request,
        tokens: run.shape.tokens(&manifest.geometry),
        plan: &run.plan,
        record: &run.record,
    })
}
