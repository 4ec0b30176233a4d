//! A request for several candidates as jobs: drafts of one prompt with different seeds, all accepted or none.

use domain::draft::candidate_seed;
use domain::{GroupId, JobId, RenderMode};
use store::jobs::{BatchOutcome, InsertOutcome, NewJob};

use crate::problem::{Answer, Problem};
use crate::state::App;

/// The jobs of a request; a single one where it asks for no candidates. The first keeps the request's seed and its
/// idempotency key, so that a repeated request finds it.
#[must_use]
pub(crate) fn spread(job: NewJob) -> Vec<NewJob> {
    let count = job.request.candidates;
    if count < 2 {
        return vec![job];
    }
    let (group_id, seed) = (GroupId::fresh(), job.request.seed.unwrap_or_default());
    (0..count)
        .map(|index| {
            let mut one = job.clone();
            one.group_id = Some(group_id);
            // Sent again, a candidate's request drafts this candidate alone.
            (one.request.candidates, one.request.mode) = (1, RenderMode::Draft);
            one.request.seed = Some(candidate_seed(seed, index));
            if index > 0 {
                one.id = JobId::fresh();
                one.seed_drawn = true;
                one.idempotency_key = job.idempotency_key.as_ref().map(|key| format!("{key}/candidate-{index}"));
            }
            one
        })
        .collect()
}

/// Inserts all candidates in one transaction; returns what happened to the first.
///
/// # Errors
/// The database is unavailable.
pub(crate) async fn insert(app: &App, jobs: &[NewJob]) -> Answer<InsertOutcome> {
    let inserted = app.store.insert_all_or_nothing(jobs).await.map_err(|error| Problem::from_store(&error))?;
    let outcomes = match inserted {
        BatchOutcome::Committed(outcomes) => outcomes,
        BatchOutcome::KeysReused(_) => return Ok(InsertOutcome::KeyReused),
    };
    for outcome in &outcomes {
        if let InsertOutcome::Created(job) = outcome {
            app.announcer.submitted(job.id, job.tenant_id);
        }
    }
    Ok(outcomes.into_iter().next().unwrap_or(InsertOutcome::KeyReused))
}
