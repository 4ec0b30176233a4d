//! The choice among candidates: once all drafts of a group are there, the best one is continued and the others end.
//!
//! The measurements come from the workers, the places from [`optimizer::judge`]; this file reads groups and writes choices. A
//! group that cannot be compared (a draft without measurements, a model that this scheduler does not know) is left to people.

use domain::{Candidate, Choice, GroupId, Job, JobStatus, Judge};
use optimizer::Drafted;
use optimizer::judge::{Entry, asks_for_motion, places};
use store::jobs::{Continuation, ContinueOutcome, Scope};
use store::{Epoch, StoreError};
use tracing::{debug, info};

use crate::state::Scheduler;

/// Groups that one sweep decides at most; the next sweep continues.
const GROUPS_MAX: u32 = 50;

impl Scheduler {
    /// Decides the groups whose drafts are complete.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn judge(&self, epoch: Epoch) -> Result<(), StoreError> {
        for group_id in self.store.groups_to_judge(GROUPS_MAX).await? {
            self.judge_group(group_id, epoch).await?;
        }
        Ok(())
    }

    async fn judge_group(&self, group_id: GroupId, epoch: Epoch) -> Result<(), StoreError> {
        let jobs = self.store.group(Scope::Fleet, group_id).await?;
        let Some((best, choice)) = choose(&jobs) else { return Ok(()) };
        let Some(how) = self.continuation(best, choice, epoch) else {
            debug!(group.id = %group_id, "candidates of a model that is not registered wait");
            return Ok(());
        };
        let outcome = self.store.continue_draft(Scope::Fleet, best.id, &how).await?;
        if let ContinueOutcome::Continued { others } = outcome {
            info!(group.id = %group_id, job.id = %best.id, ended = others.len(), "candidate chosen");
        }
        Ok(())
    }

    fn continuation(&self, job: &Job, choice: Choice, epoch: Epoch) -> Option<Continuation> {
        let models = self.models();
        let manifest = models.get(job.request.model.as_deref()?)?;
        let (plan, draft, planner) = (job.plan.as_ref()?, job.draft?, self.planner());
        let drafted = Drafted { request: &job.request, shape: &job.shape, plan, step: draft.step };
        let plan = planner.continued(&drafted, manifest, None);
        let pace = planner.cost(manifest, plan.tier).to_pace_of(&manifest.cost_prior);
        let share_s = plan.estimate_s * (1.0 - plan.draft_share()) * pace;
        Some(Continuation { plan, share_s, choice: Some(choice), epoch: Some(epoch) })
    }
}

/// The best of the drafted jobs and the record of the choice; `None` when they cannot be compared.
fn choose(jobs: &[Job]) -> Option<(&Job, Choice)> {
    let drafted: Vec<&Job> = jobs.iter().filter(|job| job.status == JobStatus::Drafted).collect();
    let entries = drafted
        .iter()
        .map(|job| Some(Entry { seed: job.request.seed.unwrap_or_default(), scores: job.draft?.scores? }))
        .collect::<Option<Vec<_>>>()?;
    let wants_motion = drafted.first()?.plan.as_ref().is_some_and(asks_for_motion);
    let places = places(&entries, wants_motion);
    let place_of = |job: &Job| drafted.iter().position(|other| other.id == job.id).map(|at| places[at]);
    let best = drafted.iter().copied().find(|job| place_of(job) == Some(1))?;
    let candidate = |job: &Job| Candidate {
        job_id: job.id,
        seed: job.request.seed.unwrap_or_default(),
        draft: job.draft,
        rank: place_of(job),
    };
    Some((best, Choice { by: Judge::Measures, candidates: jobs.iter().map(candidate).collect() }))
}
