//! Decides tier, steps and estimate of jobs that have no plan yet.
//!
//! The decision itself is [`optimizer::Planner`]'s, a pure function; this file feeds it waiting jobs and saves the plans.
//! Saving compares the leader's epoch, so a scheduler that lost its leadership cannot plan anything.
//!
//! Three batches are under way at a time: one is read, one is planned, and one is saved. Only jobs of registered models are
//! read, so jobs that nobody can plan hold up no other job; [`crate::sweep`] fails them after a while.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use domain::JobId;
use optimizer::Planner;
use settings::TiersSettings;
use store::planning::{PlannedJob, UnplannedBatch, UnplannedJob};
use store::{Epoch, StoreError};
use tokio::sync::Notify;
use tracing::{debug, info, warn};

use crate::state::{Models, Scheduler};
use crate::texts::Texts;
use crate::timing::seconds;

/// Batches of one pass. A pass goes from the oldest job to the newest, so it is bounded: a job that was committed late with
/// an older id must not wait until a flood of submissions ends.
const PASS_BATCHES: usize = 100;

impl Scheduler {
    /// Plans every job that has no plan yet, notifies `work` after each batch, and returns how many jobs were planned.
    ///
    /// # Errors
    /// The database's, or the leadership is lost.
    pub(crate) async fn plan_waiting(&self, epoch: Epoch, work: &Notify) -> Result<usize, StoreError> {
        let mut planned = 0;
        loop {
            let pass = self.plan_pass(epoch, work).await?;
            planned += pass.planned;
            // A pass in which no job could be saved must not make this loop spin.
            if pass.whole || pass.planned == 0 {
                return Ok(planned);
            }
        }
    }

    async fn plan_pass(&self, epoch: Epoch, work: &Notify) -> Result<Pass, StoreError> {
        let (settings, planner) = (&self.settings, self.planner());
        let deadline_lead_s = seconds(settings.scheduler.deadline_lead_s);
        let (tiers, traced) = (settings.tiers.clone(), self.traces.is_on());
        let texts = Arc::clone(&self.texts);
        let deciding = Deciding { models: self.models(), planner, texts, tiers, deadline_lead_s, traced };
        let ids: Vec<String> = deciding.models.keys().cloned().collect();
        let deciding = Arc::new(deciding);
        let mut batch = self.read(&ids, None).await?;
        let (mut decided, mut planned) = (Decided::default(), 0);
        for _ in 0..PASS_BATCHES {
            let last = batch.last;
            let more = async {
                match last {
                    Some(last) => self.read(&ids, Some(last)).await,
                    None => Ok(UnplannedBatch::default()),
                }
            };
            let (saved, next, plans) =
                tokio::join!(self.save(&decided, epoch, work), more, decide(Arc::clone(&deciding), batch.jobs));
            planned += saved?;
            decided = plans;
            batch = next?;
            if last.is_none() {
                return Ok(Pass { planned, whole: true });
            }
        }
        planned += self.save(&decided, epoch, work).await?;
        Ok(Pass { planned, whole: false })
    }

    async fn read(&self, models: &[String], after: Option<JobId>) -> Result<UnplannedBatch, StoreError> {
        let batch = self.store.unplanned(models, after, self.settings.scheduler.plan_batch).await?;
        for error in &batch.unreadable {
            warn!(%error, "a job waits because this release cannot read it");
        }
        Ok(batch)
    }

    /// Saves plans and returns how many were saved.
    async fn save(&self, decided: &Decided, epoch: Epoch, work: &Notify) -> Result<usize, StoreError> {
        if decided.plans.is_empty() {
            return Ok(0);
        }
        let saved: HashSet<JobId> = self.store.save_plans(&decided.plans, epoch).await?.into_iter().collect();
        if saved.is_empty() {
            return Ok(0);
        }
        work.notify_one();
        for plan in decided.plans.iter().filter(|plan| saved.contains(&plan.job_id)) {
            self.metrics.planned(&plan.plan);
            let trace_id = self.trace(decided, plan);
            debug!(
                job.id = %plan.job_id, trace_id, tier = %plan.plan.tier, complexity = %plan.plan.complexity,
                steps = plan.plan.steps, step_cache = %plan.plan.step_cache.mode, estimate_s = plan.plan.estimate_s,
                "Optimization: job planned",
            );
        }
        info!(jobs = saved.len(), "Optimization: jobs planned");
        Ok(saved.len())
    }

    /// Records the planning of a job, from the moment when its batch was decided until its plan was saved, and returns the id of its trace.
    fn trace(&self, decided: &Decided, planned: &PlannedJob) -> Option<String> {
        let (traceparent, since) = (decided.traced.get(&planned.job_id)?, decided.since?);
        let span = self.traces.child_since(Some(traceparent), "plan", since);
        let (plan, trace_id) = (&planned.plan, span.trace_id()?);
        span.set("fleet.job.id", planned.job_id.to_string());
        span.set("fleet.tier", plan.tier.as_str());
        span.set("fleet.complexity", plan.complexity.as_str());
        span.set("fleet.steps", i64::from(plan.steps));
        span.set("fleet.estimate_s", plan.estimate_s);
        Some(trace_id)
    }
}

/// What a pass did.
struct Pass {
    /// Jobs whose plans were saved.
    planned: usize,
    /// Whether it reached the newest job.
    whole: bool,
}

/// The plans of a batch.
#[derive(Default)]
struct Decided {
    plans: Vec<PlannedJob>,
    /// W3C traceparents of the jobs that have one; empty while traces are off.
    traced: HashMap<JobId, String>,
    /// When planning began.
    since: Option<SystemTime>,
}

/// What plans are decided by. It stays the same during a pass.
struct Deciding {
    models: Arc<Models>,
    planner: Arc<Planner>,
    texts: Arc<Texts>,
    tiers: TiersSettings,
    deadline_lead_s: f64,
    /// Whether spans are recorded.
    traced: bool,
}

/// Decides plans away from the threads that serve connections: a batch takes milliseconds of computing.
async fn decide(deciding: Arc<Deciding>, jobs: Vec<UnplannedJob>) -> Decided {
    let work = move || {
        let since = deciding.traced.then(SystemTime::now);
        let plans = jobs.iter().filter_map(|job| deciding.plan(job)).collect();
        let traced = jobs.into_iter().filter(|_| deciding.traced).filter_map(|job| Some((job.id, job.traceparent?)));
        Decided { plans, traced: traced.collect(), since }
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        warn!(%error, "a batch of jobs was not planned; the next round tries again");
        Decided::default()
    })
}

impl Deciding {
    fn plan(&self, job: &UnplannedJob) -> Option<PlannedJob> {
        let manifest = self.models.get(&job.model_id)?;
        let plan = self.planner.plan_stored(&job.request, manifest, &job.shape);
        // A job is ordered as if it had been submitted this much later. The delay is the job's own length divided by its
        // tier's weight: short jobs and jobs of favoured tiers overtake, and every job's turn comes.
        let order_delay_s = plan.estimate_s / self.tiers.of(plan.tier).weight;
        // A draft counts only its own part; the rest counts when it is continued.
        let share_s = plan.estimate_s
            * plan.draft_share()
            * self.planner.cost(manifest, plan.tier).to_pace_of(&manifest.cost_prior);
        let (deadline_lead_s, adapters) = (self.deadline_lead_s, job.request.adapters_key());
        let batch_key = self.texts.key(&job.request, &job.shape, &plan, manifest);
        Some(PlannedJob { job_id: job.id, plan, order_delay_s, deadline_lead_s, share_s, adapters, batch_key })
    }
}
