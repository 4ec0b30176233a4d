//! Goal: in whatever order cancel, completion, retry, hand-back and sweep meet, a job ends in one state.
//! Method: explicit-state exploration. Each actor has a few moves. Every order of all moves is walked, states that were
//! reached before are walked once, and the orders through each are counted. Every claim has its own token, and a worker
//! keeps believing in its lease after it was lost, so late writes are part of every order.

use std::collections::HashMap;

use domain::lifecycle::AttemptLimits;
use domain::{FailureAction, InvalidTransition, JobStatus, LeaseToken, Lifecycle};
use uuid::Uuid;

const LIMITS: AttemptLimits = AttemptLimits { attempts_max: 2, attempts_total_max: 3 };
const WORKERS: usize = 2;
const PREEMPTIONS_MAX: i32 = 1;

/// How many moves each actor has left.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Budget {
    cancels: u8,
    retries: u8,
    releases: u8,
    unreleases: u8,
    sweeps: u8,
    proceeds: u8,
    expiries: u8,
    preempts: u8,
}

/// A worker from its own point of view: the token of the claim that it believes in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Worker {
    claims: u8,
    checkpoints: u8,
    believes: Option<u128>,
}

/// The fields of [`Lifecycle`], which is not hashable itself.
type JobKey = ((JobStatus, i32, Option<LeaseToken>, i32), (i32, i32, bool, Option<i32>), (bool, i32));

#[derive(Debug, Clone)]
struct World {
    job: Lifecycle,
    budget: Budget,
    workers: [Worker; WORKERS],
    /// Claims granted minus hand-backs since the job was submitted or retried: the value that attempts must have.
    spent: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    Cancel,
    Retry,
    Release,
    Unrelease,
    Sweep,
    /// With the current release's message, or the one before it.
    Claim(usize, i32),
    Checkpoint(usize),
    Complete(usize),
    HandBack(usize),
    Fail(usize, FailureAction),
    Stopped(usize),
    Pause(usize),
    Proceed,
    Expire,
    Preempt,
}

impl World {
    fn new() -> Self {
        let worker = Worker { claims: 2, checkpoints: 1, believes: None };
        Self {
            job: Lifecycle::default(),
            budget: Budget {
                cancels: 2,
                retries: 1,
                releases: 3,
                unreleases: 1,
                sweeps: 2,
                proceeds: 0,
                expiries: 0,
                preempts: 0,
            },
            workers: [worker.clone(), worker],
            spent: 0,
        }
    }

    /// A draft that pauses after its first checkpoint. Fewer of the other moves, so that the walk stays short.
    fn of_a_draft() -> Self {
        let budget = Budget {
            cancels: 1,
            retries: 1,
            releases: 3,
            unreleases: 0,
            sweeps: 1,
            proceeds: 1,
            expiries: 1,
            preempts: 0,
        };
        let job = Lifecycle { pause_at: Some(1), ..Lifecycle::default() };
        Self { job, budget, ..Self::new() }
    }

    /// A run that the scheduler asks for its slot, more often than it may. Fewer of the other moves, as above.
    fn of_a_preempted_run() -> Self {
        let budget = Budget {
            cancels: 1,
            retries: 1,
            releases: 3,
            unreleases: 0,
            sweeps: 1,
            proceeds: 0,
            expiries: 0,
            preempts: 3,
        };
        Self { budget, ..Self::new() }
    }

    fn key(&self) -> (JobKey, Budget, [Worker; WORKERS], i32) {
        let job = self.job.clone();
        let job = (
            (job.status, job.dispatch_no, job.lease, job.attempts),
            (job.attempts_total, job.checkpoint_step, job.cancel_requested, job.pause_at),
            (job.preempt_requested, job.preemptions),
        );
        (job, self.budget.clone(), self.workers.clone(), self.spent)
    }

    /// Moves that some actor may try next, whether or not the job allows them.
    fn moves(&self) -> Vec<Move> {
        let Budget { cancels, retries, releases, unreleases, sweeps, proceeds, expiries, preempts } = self.budget;
        let of_all = [
            (cancels, Move::Cancel),
            (retries, Move::Retry),
            (releases, Move::Release),
            (unreleases, Move::Unrelease),
            (sweeps, Move::Sweep),
            (proceeds, Move::Proceed),
            (expiries, Move::Expire),
            (preempts, Move::Preempt),
        ];
        let mut moves: Vec<_> = of_all.into_iter().filter(|(left, _)| *left > 0).map(|(_, step)| step).collect();
        for (index, worker) in self.workers.iter().enumerate() {
            match worker.believes {
                None if worker.claims > 0 => moves.extend([Move::Claim(index, 0), Move::Claim(index, 1)]),
                None => {}
                Some(_) => {
                    if worker.checkpoints > 0 {
                        moves.push(Move::Checkpoint(index));
                    }
                    moves.extend([
                        Move::Complete(index),
                        Move::HandBack(index),
                        Move::Fail(index, FailureAction::Retry),
                        Move::Fail(index, FailureAction::Fail),
                        Move::Stopped(index),
                    ]);
                    if self.job.pause_at.is_some() {
                        moves.push(Move::Pause(index));
                    }
                }
            }
        }
        moves
    }

    fn believed(&self, worker: usize) -> LeaseToken {
        LeaseToken(Uuid::from_u128(self.workers[worker].believes.expect("only a worker with a token makes this move")))
    }

    /// A token that no other claim has.
    fn fresh_token(&self, worker: usize) -> u128 {
        (worker as u128 + 1) * 100 + u128::from(self.workers[worker].claims)
    }

    fn attempt(&self, step: Move) -> Result<Lifecycle, InvalidTransition> {
        let job = self.job.clone();
        match step {
            Move::Cancel => job.cancel(),
            Move::Retry => job.retry(),
            Move::Release => job.release(),
            Move::Unrelease => job.unrelease(),
            Move::Sweep => job.lose(LIMITS),
            Move::Claim(worker, behind) => {
                let dispatch_no = job.dispatch_no - behind;
                job.claim(dispatch_no, LeaseToken(Uuid::from_u128(self.fresh_token(worker))))
            }
            Move::Checkpoint(worker) => {
                let next = job.checkpoint_step + 1;
                job.checkpoint(self.believed(worker), next)
            }
            Move::Complete(worker) => job.complete(self.believed(worker)),
            Move::HandBack(worker) => job.hand_back(self.believed(worker)),
            Move::Fail(worker, action) => job.fail(self.believed(worker), action, LIMITS),
            Move::Stopped(worker) => job.stopped(self.believed(worker)),
            Move::Pause(worker) => job.pause(self.believed(worker)),
            Move::Proceed => job.proceed(),
            Move::Expire => job.expire(),
            Move::Preempt => job.preempt(PREEMPTIONS_MAX),
        }
    }

    /// The world after a move was tried: the actor has moved either way, the job only if the move was allowed.
    fn after(&self, step: Move) -> Self {
        let mut next = self.clone();
        let tried = self.attempt(step);
        match step {
            Move::Cancel => next.budget.cancels -= 1,
            Move::Retry => next.budget.retries -= 1,
            Move::Release => next.budget.releases -= 1,
            Move::Unrelease => next.budget.unreleases -= 1,
            Move::Sweep => next.budget.sweeps -= 1,
            Move::Proceed => next.budget.proceeds -= 1,
            Move::Expire => next.budget.expiries -= 1,
            Move::Preempt => next.budget.preempts -= 1,
            Move::Claim(worker, _) => {
                next.workers[worker].believes = tried.is_ok().then(|| self.fresh_token(worker));
                next.workers[worker].claims -= 1;
                next.spent += i32::from(tried.is_ok());
            }
            Move::Checkpoint(worker) => next.workers[worker].checkpoints -= 1,
            Move::HandBack(worker) => {
                next.workers[worker].believes = None;
                next.spent -= i32::from(tried.is_ok());
            }
            Move::Complete(worker) | Move::Fail(worker, _) | Move::Stopped(worker) | Move::Pause(worker) => {
                next.workers[worker].believes = None;
            }
        }
        if let Ok(job) = tried {
            self.check(step, &job);
            if matches!(step, Move::Retry | Move::Proceed) {
                next.spent = 0;
            }
            next.job = job;
        }
        next
    }

    /// What holds after every allowed move, in whatever order.
    fn check(&self, step: Move, after: &Lifecycle) {
        let before = &self.job;
        assert_eq!(after.lease.is_some(), after.status == JobStatus::Running, "{step:?} from {self:?}");
        if before.status.is_terminal() {
            assert_eq!(step, Move::Retry, "{step:?} moved an ended job: {self:?}");
        }
        if after.status == JobStatus::Completed {
            assert!(!before.cancel_requested, "a cancel that was granted was lost: {self:?}");
            assert!(matches!(step, Move::Complete(worker) if before.lease == Some(self.believed(worker))));
        }
        if before.cancel_requested && step != Move::Retry && after.status != before.status {
            assert_eq!(after.status, JobStatus::Cancelled, "{step:?} from {self:?}");
        }
        // A preemption moves nothing by itself and is bounded; a new claim is not preempted yet.
        assert!(step != Move::Preempt || (after.status == before.status && after.lease == before.lease));
        assert!(after.preemptions <= PREEMPTIONS_MAX);
        assert!(!matches!(step, Move::Claim(..)) || !after.preempt_requested);
        assert!(after.attempts <= LIMITS.attempts_max && after.attempts_total <= LIMITS.attempts_total_max);
    }

    /// In every state the fleet alone can bring the job to an end: the sweep takes the job of a dead worker, the scheduler
    /// releases it, a worker renders it, and a draft that nobody continues expires. What the user asked for last decides which end.
    fn check_it_can_end(&self) {
        let mut job = self.job.clone();
        assert_eq!(job.attempts_total, self.spent, "a hand-back is free, every other claim counts: {self:?}");
        let fresh = LeaseToken(Uuid::from_u128(9));
        if job.status == JobStatus::Running {
            job = job.lose(LIMITS).expect("a running job can be lost");
        }
        if job.status == JobStatus::Drafted {
            job = job.expire().expect("a draft can expire");
        }
        if job.status == JobStatus::Queued {
            job = job.release().expect("a waiting job can be released");
        }
        if job.status == JobStatus::Scheduled {
            let dispatch_no = job.dispatch_no;
            job = job.claim(dispatch_no, fresh).and_then(|job| job.complete(fresh)).expect("it can be rendered");
        }
        assert!(job.status.is_terminal(), "{self:?} leads nowhere");
        if self.job.cancel_requested {
            assert_eq!(job.status, JobStatus::Cancelled, "{self:?}");
        }
    }
}

/// Number of orders from a world to a state without moves, by the job's final state.
type Orders = HashMap<JobStatus, u128>;
type Known = HashMap<(JobKey, Budget, [Worker; WORKERS], i32), Orders>;

fn explore(world: &World, known: &mut Known) -> Orders {
    let key = world.key();
    if let Some(orders) = known.get(&key) {
        return orders.clone();
    }
    world.check_it_can_end();
    let moves = world.moves();
    let mut orders = Orders::new();
    if moves.is_empty() {
        orders.insert(world.job.status, 1);
    }
    for step in moves {
        for (status, count) in explore(&world.after(step), known) {
            *orders.entry(status).or_default() += count;
        }
    }
    known.insert(key, orders.clone());
    orders
}

#[test]
#[expect(clippy::print_stdout, reason = "the counts are the interesting output of this test")]
fn every_order_of_all_actors_moves_keeps_the_rules_and_can_end_in_one_state() {
    let mut known = Known::new();
    let mut orders = explore(&World::new(), &mut known);
    for world in [World::of_a_draft(), World::of_a_preempted_run()] {
        for (status, count) in explore(&world, &mut known) {
            *orders.entry(status).or_default() += count;
        }
    }
    let all: u128 = orders.values().sum();
    println!("{} states, {all} orders of moves; by last state: {orders:?}", known.len());
    assert!(
        known.len() > 10_000 && all > 10_000,
        "the exploration covers little: {} states, {all} orders",
        known.len()
    );
    // Each end must be reached by some order, or the actors' moves are incomplete.
    for status in [JobStatus::Completed, JobStatus::Failed, JobStatus::Cancelled] {
        assert!(orders.contains_key(&status), "no order ends {status}");
    }
}
