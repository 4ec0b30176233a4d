//! Goal: SQL allows exactly what `domain::Lifecycle` allows.
//! Method: random moves, legal or not, by several owners, applied to the model and to Postgres side by side. After each
//! move the row must equal the model. A move that the model refuses must not change the row.

use domain::{
    CheckpointRef, Failure, FailureAction, JobId, JobStatus, LeaseToken, Lifecycle, Plan, PoolId, TenantId, WorkerId,
};
use proptest::prelude::*;
use store::deadlines::Preemption;
use store::jobs::Scope;
use store::{Lease, StoreError};
use uuid::Uuid;

use crate::support::{Fixture, LIMITS, POLICY, draft, draft_plan, new_job, plan, record, rendered, same_plan};

#[derive(Debug, Clone)]
pub(crate) enum Move {
    Release,
    Unrelease,
    Claim { stale: i32, owner: u128 },
    Checkpoint { owner: u128, step: i32 },
    DropCheckpoint { owner: u128 },
    Complete { owner: u128 },
    HandBack { owner: u128 },
    Fail { owner: u128, retry: bool },
    Stopped { owner: u128 },
    Lose,
    Cancel,
    Retry,
    Pause { owner: u128 },
    Proceed,
    Expire,
    Preempt,
}

/// How often a run may be preempted here.
pub(crate) const PREEMPTIONS_MAX: i32 = 2;

fn any_move() -> impl Strategy<Value = Move> {
    let owner = 1..3u128;
    prop_oneof![
        6 => Just(Move::Release),
        1 => Just(Move::Unrelease),
        // Mostly the current number.
        6 => (0..5i32, owner.clone()).prop_map(|(stale, owner)| Move::Claim { stale: (stale - 3).max(0), owner }),
        3 => (owner.clone(), 0..20i32).prop_map(|(owner, step)| Move::Checkpoint { owner, step }),
        1 => owner.clone().prop_map(|owner| Move::DropCheckpoint { owner }),
        1 => owner.clone().prop_map(|owner| Move::Complete { owner }),
        2 => owner.clone().prop_map(|owner| Move::HandBack { owner }),
        3 => (owner.clone(), any::<bool>()).prop_map(|(owner, retry)| Move::Fail { owner, retry }),
        1 => owner.clone().prop_map(|owner| Move::Stopped { owner }),
        3 => owner.prop_map(|owner| Move::Pause { owner }),
        2 => Just(Move::Proceed),
        1 => Just(Move::Expire),
        3 => Just(Move::Preempt),
        2 => Just(Move::Lose),
        1 => Just(Move::Cancel),
        2 => Just(Move::Retry),
    ]
}

fn action(retry: bool) -> FailureAction {
    if retry { FailureAction::Retry } else { FailureAction::Fail }
}

/// The model's result; `None` when it refuses the move.
pub(crate) fn model_of(job: Lifecycle, tokens: &Tokens, step: &Move) -> Option<Lifecycle> {
    let dispatch_no = job.dispatch_no;
    match *step {
        Move::Release => job.release(),
        Move::Unrelease => job.unrelease(),
        Move::Claim { stale, owner } => job.claim(dispatch_no - stale, tokens.of(owner)),
        Move::Checkpoint { owner, step } => job.checkpoint(tokens.of(owner), step),
        Move::DropCheckpoint { owner } => job.drop_checkpoint(tokens.of(owner)),
        Move::Complete { owner } => job.complete(tokens.of(owner)),
        Move::HandBack { owner } => job.hand_back(tokens.of(owner)),
        Move::Fail { owner, retry } => job.fail(tokens.of(owner), action(retry), LIMITS),
        Move::Stopped { owner } => job.stopped(tokens.of(owner)),
        Move::Lose => job.lose(LIMITS),
        Move::Cancel => job.cancel(),
        Move::Retry => job.retry(),
        Move::Pause { owner } => job.pause(tokens.of(owner)),
        Move::Proceed => job.proceed(),
        Move::Expire => job.expire(),
        Move::Preempt => job.preempt(PREEMPTIONS_MAX),
    }
    .ok()
}

/// Every owner's token; fixed within a case, so that an owner may return with an old one.
pub(crate) struct Tokens(pub(crate) Uuid);

impl Tokens {
    fn of(&self, owner: u128) -> LeaseToken {
        LeaseToken(Uuid::from_u128(self.0.as_u128() ^ owner))
    }
}

/// One job and the actors that move it.
pub(crate) struct Case<'a> {
    f: &'a Fixture,
    pub(crate) job_id: JobId,
    pool: PoolId,
    pub(crate) tokens: Tokens,
}

impl<'a> Case<'a> {
    /// A fresh planned job, the only one of its pool.
    pub(crate) async fn new(f: &'a Fixture) -> Self {
        Self::planned(f, plan()).await
    }

    /// The same as a draft that pauses after four steps, and the model of it.
    pub(crate) async fn new_draft(f: &'a Fixture) -> (Self, Lifecycle) {
        (Self::planned(f, draft_plan(4)).await, Lifecycle { pause_at: Some(4), ..Lifecycle::default() })
    }

    async fn planned(f: &'a Fixture, plan: Plan) -> Self {
        let model_id = format!("m{}", Uuid::new_v4().simple());
        let job = f.insert(new_job(TenantId::DEFAULT, &model_id)).await;
        f.plan_all(&[job.id], plan).await;
        let pool = PoolId::of_worker(&model_id, 1 << 30);
        Self { f, job_id: job.id, pool, tokens: Tokens(Uuid::new_v4()) }
    }

    fn lease(&self, owner: u128) -> Lease {
        Lease { job_id: self.job_id, token: self.tokens.of(owner) }
    }

    /// Makes the move in SQL. Whether it was refused shows in the row; stale leases must return an error.
    pub(crate) async fn make(&self, before: &Lifecycle, step: &Move) -> Result<(), StoreError> {
        let store = &self.f.store;
        match *step {
            Move::Release => store.release(&self.pool, 5, self.f.epoch).await.map(|_| ()),
            Move::Unrelease => store.unrelease(self.job_id, before.dispatch_no).await.map(|_| ()),
            Move::Claim { stale, owner } => {
                let (token, worker) = (self.tokens.of(owner), WorkerId::fresh());
                // A lease that expires at once, so that the sweep may take it at any time.
                store.claim(self.job_id, before.dispatch_no - stale, token, worker, 0.0).await.map(|_| ())
            }
            Move::Checkpoint { owner, step } => {
                let key = format!("{}/{}/checkpoint-{step}.safetensors", self.job_id, self.tokens.of(owner));
                let step = u32::try_from(step).expect("0 or more");
                let checkpoint = CheckpointRef { key, step, checksum: "c".into(), resumes: 0 };
                store.save_checkpoint(self.lease(owner), &checkpoint).await.map(|_| ())
            }
            Move::DropCheckpoint { owner } => store.drop_checkpoint(self.lease(owner)).await.map(|_| ()),
            Move::Complete { owner } => {
                let lease = self.lease(owner);
                store.complete(lease, &rendered(lease), &record()).await.map(|_| ())
            }
            Move::HandBack { owner } => store.hand_back(self.lease(owner), 1.0).await.map(|_| ()),
            Move::Fail { owner, retry } => {
                let failure = Failure { code: "test".into(), reason: "the test made it fail".into() };
                store.fail(self.lease(owner), &failure, action(retry), POLICY, 1.0).await.map(|_| ())
            }
            Move::Stopped { owner } => store.stopped(self.lease(owner), 1.0).await.map(|_| ()),
            Move::Lose => store.expire_leases(0.0, POLICY, 100, self.f.epoch).await.map(|_| ()),
            Move::Cancel => store.cancel(Scope::Fleet, self.job_id).await.map(|_| ()),
            Move::Retry => store.retry(Scope::Fleet, self.job_id).await.map(|_| ()),
            Move::Pause { owner } => store.pause(self.lease(owner), &draft(4), 1.0).await.map(|_| ()),
            Move::Proceed => store.continue_draft(Scope::Fleet, self.job_id, &same_plan()).await.map(|_| ()),
            Move::Expire => store.expire_drafts(0.0, 100, self.f.epoch).await.map(|_| ()),
            Move::Preempt => self.preempt(before).await.map(|_| ()),
        }
    }

    /// Asks the job for its slot, for another job that must start at once.
    async fn preempt(&self, before: &Lifecycle) -> Result<bool, StoreError> {
        let urgent = self.f.urgent(self.pool.model_id()).await;
        let wish = Preemption {
            job_id: self.job_id,
            token: before.lease.unwrap_or(self.tokens.of(1)),
            urgent,
            pool: self.pool.clone(),
            displace_max: 0,
            preemptions_max: PREEMPTIONS_MAX,
        };
        let done = self.f.store.preempt(&wish, self.f.epoch).await?;
        // It must not be released in this job's place later.
        self.f.store.cancel(Scope::Fleet, urgent).await?;
        Ok(done.is_some())
    }

    /// Makes the move in both. They must agree on whether it is allowed and on the resulting state.
    pub(crate) async fn step(&self, model: Lifecycle, step: &Move) -> Result<Lifecycle, TestCaseError> {
        let made = self.make(&model, step).await;
        let row = self.row().await;
        let next = model_of(model.clone(), &self.tokens, step);
        if next.is_some() {
            prop_assert!(made.is_ok(), "{:?} was refused: {:?} in {:?}", step, made, model);
        } else {
            let stale = matches!(made, Ok(()) | Err(StoreError::LeaseLost { .. }));
            prop_assert!(stale, "{:?} failed otherwise: {:?}", step, made);
        }
        let next = next.unwrap_or(model);
        prop_assert_eq!(comparable(row), comparable(next.clone()), "after {:?}", step);
        Ok(next)
    }

    /// The row in the model's form.
    pub(crate) async fn row(&self) -> Lifecycle {
        type Row = (String, i32, Option<Uuid>, i32, i32, i32, bool, Option<i32>, bool, i32);
        let row: Row = sqlx::query_as(
            "SELECT status, dispatch_no, lease_token, attempts, attempts_total, checkpoint_step,
                 cancel_requested_at IS NOT NULL, draft_until, preempt_requested_at IS NOT NULL, preemptions
             FROM jobs WHERE id = $1",
        )
        .bind(self.job_id.0)
        .fetch_one(&self.f.pool)
        .await
        .expect("row");
        Lifecycle {
            status: row.0.parse().expect("a status"),
            dispatch_no: row.1,
            lease: row.2.map(LeaseToken),
            attempts: row.3,
            attempts_total: row.4,
            checkpoint_step: row.5,
            cancel_requested: row.6,
            pause_at: row.7,
            preempt_requested: row.8,
            preemptions: row.9,
        }
    }
}

/// A completed job's checkpoint is dropped, which the model does not cover.
pub(crate) fn comparable(mut job: Lifecycle) -> Lifecycle {
    if job.status == JobStatus::Completed {
        job.checkpoint_step = 0;
    }
    job
}

async fn run_case(f: &Fixture, is_draft: bool, moves: &[Move]) -> Result<(), TestCaseError> {
    let (case, mut model) =
        if is_draft { Case::new_draft(f).await } else { (Case::new(f).await, Lifecycle::default()) };
    for step in moves {
        model = case.step(model, step).await?;
    }
    Ok(())
}

#[test]
fn postgres_moves_jobs_exactly_as_the_model_does() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let f = runtime.block_on(Fixture::new());
    let config = ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(is_draft in any::<bool>(), moves in proptest::collection::vec(any_move(), 1..50))| {
        runtime.block_on(run_case(&f, is_draft, &moves))?;
    });
    // Rows hold a lease exactly while they run.
    let odd: i64 = runtime
        .block_on(
            sqlx::query_scalar("SELECT count(*) FROM jobs WHERE (status = 'running') <> (lease_token IS NOT NULL)")
                .fetch_one(&f.pool),
        )
        .expect("count");
    assert_eq!(odd, 0);
}
