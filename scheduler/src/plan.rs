//! Decides tier, steps and estimate of jobs that have no plan yet.
//!
//! The decision itself is [`optimizer::Planner`]'s, a pure function; this file feeds it waiting jobs and saves the plans.
//! Saving compares the leader's epoch, so a scheduler that lost its leadership cannot plan anything.

use domain::{Job, ModelManifest};
use store::planning::PlannedJob;
use store::{Epoch, StoreError};
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::state::Scheduler;

impl Scheduler {
    /// Plans every job that has no plan yet, notifies `work` after each batch, and returns how many jobs were planned.
    ///
    /// # Errors
    /// The database's, or the leadership is lost.
    pub(crate) async fn plan_waiting(&self, epoch: Epoch, work: &Notify) -> Result<usize, StoreError> {
        let mut planned = 0;
        loop {
            let jobs = self.store.unplanned(self.settings.scheduler.plan_batch).await?;
            let plans: Vec<_> = jobs.iter().filter_map(|job| self.plan_one(job)).collect();
            if plans.is_empty() {
                return Ok(planned);
            }
            let saved = self.store.save_plans(&plans, epoch).await?;
            planned += saved.len();
            if !saved.is_empty() {
                work.notify_one();
            }
            for plan in plans.iter().filter(|plan| saved.contains(&plan.job_id)) {
                self.metrics.planned(&plan.plan);
                info!(
                    job.id = %plan.job_id, tier = %plan.plan.tier, complexity = %plan.plan.complexity,
                    steps = plan.plan.steps, step_cache = %plan.plan.step_cache.mode, estimate_s = plan.plan.estimate_s,
                    "Optimization: job planned",
                );
            }
            // A full batch in which no job can be planned must not make this loop spin.
            if saved.is_empty() || jobs.len() < self.settings.scheduler.plan_batch as usize {
                return Ok(planned);
            }
        }
    }

    fn plan_one(&self, job: &Job) -> Option<PlannedJob> {
        let Some(manifest) = self.manifest_of(job) else {
            // The API knew the model when it accepted the job; a scheduler with other model folders cannot plan it.
            warn!(job.id = %job.id, model = job.request.model, "models.dirs has no folder of this model; the job waits");
            return None;
        };
        let planner = self.planner();
        let plan = planner.plan_stored(&job.request, manifest, &job.shape);
        // A job is ordered as if it had been submitted this much later. The delay is the job's own length divided by its
        // tier's weight: short jobs and jobs of favoured tiers overtake, and every job's turn comes.
        let order_delay_s = plan.estimate_s / self.settings.tiers.of(plan.tier).weight;
        let share_s = plan.estimate_s * planner.cost(manifest).to_pace_of(&manifest.cost_prior);
        Some(PlannedJob { job_id: job.id, plan, order_delay_s, share_s })
    }

    fn manifest_of(&self, job: &Job) -> Option<&ModelManifest> {
        self.models.get(job.request.model.as_ref()?)
    }
}
