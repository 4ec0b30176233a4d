//! Learning from finished runs: how long a run takes on this fleet, and how few steps are enough.
//!
//! Times are fitted to the newest runs each time, so every leader gets the same result. Steps change slowly and each run is counted
//! once, so what was learned about them is stored in the database, where API replicas read it and admins freeze or reset it.

use domain::ModelManifest;
use optimizer::{CostBook, CostRecord, Learned, Planner, RunFacts};
use store::stats::MeasuredRun;
use store::{Epoch, Learning, StoreError};

use crate::state::Scheduler;

/// Number of a model's newest runs that are read.
const RUNS: u32 = 2_000;
/// Number of newest runs against which estimates are rated. It is small, so that the rating reflects the present.
const RATED: usize = 100;

impl Scheduler {
    /// Reads the newest runs and replaces the planner by one that has learned from them.
    ///
    /// # Errors
    /// An error of the database.
    pub(crate) async fn reflect(&self, epoch: Epoch) -> Result<(), StoreError> {
        let before = self.planner();
        let read: Learning<Learned> = self.store.learning().await?;
        let mut next = read.clone();
        let mut records = Vec::new();
        let models = self.models();
        for manifest in models.values() {
            let mut runs = self.store.recent_runs(&manifest.id, RUNS).await?;
            // The store returns the newest first; learning needs the oldest first.
            runs.reverse();
            let own: Vec<_> = runs.iter().filter_map(|run| cost_record(manifest, run)).collect();
            self.rate_estimates(&before, &manifest.id, &own);
            records.extend(own);
            self.learn_steps(&before, manifest, &runs, &read, &mut next);
        }
        let priors = models.values().map(|manifest| (manifest.id.as_str(), &manifest.cost_prior));
        let costs = CostBook::fit(priors, &records, self.settings.estimate_rules());
        let moved = next != read;
        // `save_learning` returns false if an admin or a new leader has changed the row since it was read. The row then takes
        // precedence, and the same runs are learned from next time.
        let kept = if !moved || self.store.save_learning(&next, epoch).await? { next } else { read };
        self.show(&kept.learned);
        self.change_planner(|planner| {
            planner.costs = costs;
            planner.learned = kept.learned;
        });
        Ok(())
    }

    fn rate_estimates(&self, before: &Planner, model_id: &str, own: &[CostRecord]) {
        if let Some(model) = before.costs.of(model_id, None)
            && let Some(error) = optimizer::cost::median_relative_error(model, &own[own.len().saturating_sub(RATED)..])
        {
            self.metrics.estimate_error_ratio.with_label_values(&[model_id]).set(error);
        }
    }

    fn learn_steps(
        &self,
        planner: &Planner,
        manifest: &ModelManifest,
        runs: &[MeasuredRun],
        read: &Learning<Learned>,
        next: &mut Learning<Learned>,
    ) {
        if !planner.switches.learned_steps {
            return;
        }
        let fresh = |run: &&MeasuredRun| read.taught_until.is_none_or(|until| run.finished_at > until);
        let lesson = |run: &MeasuredRun| planner.lesson(manifest, run.request.quality_tier, &run.plan, &run.record);
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
    CostRecord::of(&RunFacts {
        model_id: &manifest.id,
        worker_class: &run.record.device,
        request: &run.request,
        tokens: run.shape.tokens(&manifest.geometry),
        plan: &run.plan,
        record: &run.record,
    })
}
