//! Goal: cancel against completion, retry, hand-back and sweep lead to one terminal state each, in Postgres as in the
//! model.
//! Method: (1) The moves of user, scheduler, two workers and sweeper in random interleavings, each made in both and
//! compared; then the fleet ends the job, and every end has exactly one event. (2) Moves sent at the same moment on
//! separate connections: the row must be one that some order of them leads to in the model.
//!
//! `FLEET_INTERLEAVINGS` sets how many cases of each to run; `scripts/verify.d/interleavings` sets it to 10000.

use std::sync::Arc;

use domain::{JobStatus, Lifecycle};
use futures::future::join_all;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use crate::lifecycle::{Case, Move, comparable, model_of};
use crate::support::Fixture;

/// Cases that run concurrently. Each lane has its own database, since a sweep takes every lease that it finds.
const LANES: usize = 4;

fn case_count() -> usize {
    std::env::var("FLEET_INTERLEAVINGS").ok().and_then(|text| text.parse().ok()).unwrap_or(240)
}

/// A worker's runs of one job: claim it, perhaps store a checkpoint, end it in some way. Up to two runs, so that the second
/// finds what the first left behind.
fn worker(owner: u128) -> impl Strategy<Value = Vec<Move>> {
    let life = (0..3u8, 0..8u8).prop_map(move |(checkpoints, end)| {
        let mut moves = vec![Move::Claim { stale: 0, owner }];
        // The second of them is the step at which a draft pauses.
        moves.extend((0..checkpoints).map(|at| Move::Checkpoint { owner, step: 3 + i32::from(at) }));
        moves.push(match end {
            0 | 1 => Move::Complete { owner },
            2 => Move::HandBack { owner },
            3 => Move::Fail { owner, retry: true },
            4 => Move::Fail { owner, retry: false },
            5 | 6 => Move::Pause { owner },
            _ => Move::Stopped { owner },
        });
        moves
    });
    proptest::collection::vec(life, 1..3).prop_map(|lives| lives.concat())
}

/// Each actor's moves stay in order; moves of different actors are interleaved at random.
fn any_interleaving() -> impl Strategy<Value = (bool, Vec<Move>)> {
    let user = prop_oneof![
        Just(vec![Move::Proceed]),
        Just(vec![Move::Proceed, Move::Cancel, Move::Retry]),
        Just(vec![Move::Cancel]),
        Just(vec![Move::Cancel, Move::Retry]),
        Just(vec![Move::Cancel, Move::Retry, Move::Cancel]),
        Just(vec![Move::Retry]),
    ];
    let scheduler = prop_oneof![
        Just(vec![Move::Release; 2]),
        Just(vec![Move::Release; 4]),
        Just(vec![Move::Release, Move::Unrelease, Move::Release]),
        Just(vec![Move::Release, Move::Preempt, Move::Release, Move::Preempt]),
    ];
    let sweeper = (0..3usize, any::<bool>()).prop_map(|(times, expires)| {
        let mut moves = vec![Move::Lose; times];
        moves.extend(expires.then_some(Move::Expire));
        moves
    });
    let actors = (user, scheduler, worker(1), worker(2), sweeper);
    let turns = proptest::collection::vec(any::<prop::sample::Index>(), 32);
    (any::<bool>(), actors, turns).prop_map(|(is_draft, (user, scheduler, one, two, sweeper), turns)| {
        let mut waiting: Vec<_> = [user, scheduler, one, two, sweeper].into_iter().map(Vec::into_iter).collect();
        let mut moves = Vec::new();
        for turn in turns.iter().cycle() {
            waiting.retain(|actor| !actor.as_slice().is_empty());
            if waiting.is_empty() {
                break;
            }
            let at = turn.index(waiting.len());
            moves.extend(waiting[at].next());
        }
        (is_draft, moves)
    })
}

/// A runner whose cases are the same in every run; `stream` makes the lanes differ.
fn runner(stream: usize) -> TestRunner {
    let mut seed = [7; 32];
    seed[0] = u8::try_from(stream).expect("few lanes");
    TestRunner::new_with_rng(ProptestConfig::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
}

async fn terminal_events(f: &Fixture, case: &Case<'_>) -> usize {
    let kinds = f.event_kinds(case.job_id).await;
    kinds.iter().filter(|kind| ["completed", "failed", "cancelled"].contains(&kind.as_str())).count()
}

/// What the fleet does when all other actors are gone: it ends the job.
async fn end(case: &Case<'_>, mut model: Lifecycle) -> Result<Lifecycle, TestCaseError> {
    for step in
        [Move::Lose, Move::Expire, Move::Release, Move::Claim { stale: 0, owner: 3 }, Move::Complete { owner: 3 }]
    {
        model = case.step(model, &step).await?;
    }
    prop_assert!(model.status.is_terminal(), "{:?} does not end", model);
    Ok(model)
}

/// A job by itself, or a draft, and the model of it.
async fn begin(f: &Fixture, is_draft: bool) -> (Case<'_>, Lifecycle) {
    if is_draft { Case::new_draft(f).await } else { (Case::new(f).await, Lifecycle::default()) }
}

async fn one_after_another(f: &Fixture, is_draft: bool, moves: &[Move]) -> Result<(), TestCaseError> {
    let (case, mut model) = begin(f, is_draft).await;
    let mut ends = 0;
    for step in moves {
        let before = model.status;
        model = case.step(model, step).await?;
        ends += usize::from(!before.is_terminal() && model.status.is_terminal());
    }
    let before = model.status;
    model = end(&case, model).await?;
    ends += usize::from(!before.is_terminal());
    prop_assert_eq!(terminal_events(f, &case).await, ends, "every end has one event");
    let job = f.get(case.job_id).await;
    prop_assert_eq!(job.rendered.is_some(), model.status == JobStatus::Completed, "a video exactly when completed");
    Ok(())
}

/// Moves that may happen at the same moment.
fn any_meeting() -> impl Strategy<Value = (bool, Vec<Move>, Vec<Move>)> {
    let before = prop_oneof![
        4 => Just(vec![Move::Release, Move::Claim { stale: 0, owner: 1 }]),
        1 => Just(vec![Move::Release]),
        1 => Just(vec![Move::Release, Move::Claim { stale: 0, owner: 1 }, Move::Cancel]),
        1 => Just(vec![Move::Cancel]),
        2 => Just(vec![Move::Release, Move::Claim { stale: 0, owner: 1 }, Move::Checkpoint { owner: 1, step: 4 }]),
        2 => Just(vec![
            Move::Release,
            Move::Claim { stale: 0, owner: 1 },
            Move::Checkpoint { owner: 1, step: 4 },
            Move::Pause { owner: 1 },
        ]),
    ];
    let meeting = proptest::sample::subsequence(
        vec![
            Move::Cancel,
            Move::Complete { owner: 1 },
            Move::HandBack { owner: 1 },
            Move::Fail { owner: 1, retry: true },
            Move::Stopped { owner: 1 },
            Move::Checkpoint { owner: 1, step: 3 },
            Move::Lose,
            Move::Retry,
            Move::Claim { stale: 0, owner: 2 },
            Move::Unrelease,
            Move::Pause { owner: 1 },
            Move::Proceed,
            Move::Expire,
        ],
        2..=4,
    );
    (any::<bool>(), before, meeting)
}

/// Every final state, with the number of ends, that some order of the moves leads to. `known` is the state that the
/// messages refer to.
fn outcomes(model: &Lifecycle, known: &Lifecycle, case: &Case<'_>, moves: &[Move]) -> Vec<(Lifecycle, usize)> {
    if moves.is_empty() {
        return vec![(comparable(model.clone()), 0)];
    }
    let mut all = Vec::new();
    for at in 0..moves.len() {
        let mut rest = moves.to_vec();
        let step = rest.remove(at);
        // A sweep skips rows that another transaction holds at the moment, and returns to them later.
        if matches!(step, Move::Lose | Move::Expire) {
            all.extend(outcomes(model, known, case, &rest));
        }
        // Moves that name a release's number use the number from before the meeting.
        let by_number = matches!(step, Move::Claim { .. } | Move::Unrelease);
        let refused = by_number && model.dispatch_no != known.dispatch_no;
        let next = if refused { None } else { model_of(model.clone(), &case.tokens, &step) };
        let next = next.unwrap_or_else(|| model.clone());
        let ended = usize::from(!model.status.is_terminal() && next.status.is_terminal());
        all.extend(outcomes(&next, known, case, &rest).into_iter().map(|(last, ends)| (last, ends + ended)));
    }
    all
}

async fn at_the_same_moment(f: &Fixture, is_draft: bool, before: &[Move], moves: &[Move]) -> Result<(), TestCaseError> {
    let (case, mut model) = begin(f, is_draft).await;
    let mut ends = 0;
    for step in before {
        let status = model.status;
        model = case.step(model, step).await?;
        ends += usize::from(!status.is_terminal() && model.status.is_terminal());
    }
    let made = join_all(moves.iter().map(|step| case.make(&model, step))).await;
    for (step, made) in moves.iter().zip(&made) {
        let allowed = matches!(made, Ok(()) | Err(store::StoreError::LeaseLost { .. }));
        prop_assert!(allowed, "{:?} failed otherwise: {:?}", step, made);
    }
    let row = case.row().await;
    let ended = terminal_events(f, &case).await;
    let possible = outcomes(&model, &model, &case, moves);
    let reached = (comparable(row.clone()), ended - ends);
    prop_assert!(possible.contains(&reached), "{:?} with {} ends after {:?} meeting in {:?}", row, ended, moves, model);
    let status = row.status;
    end(&case, row).await?;
    let last = terminal_events(f, &case).await;
    prop_assert_eq!(last, ended + usize::from(!status.is_terminal()), "every end has one event");
    Ok(())
}

/// Runs `count` cases in lanes.
async fn in_lanes<S, F>(count: usize, first_stream: usize, strategy: fn() -> S, body: F)
where
    S: Strategy<Value: Send>,
    F: AsyncFn(&Fixture, &S::Value) -> Result<(), TestCaseError>,
{
    let body = Arc::new(body);
    let lane = |lane: usize| {
        let body = Arc::clone(&body);
        async move {
            let f = Fixture::new().await;
            let mut runner = runner(first_stream + lane);
            let strategy = strategy();
            for number in 0..count.div_ceil(LANES) {
                let moves = strategy.new_tree(&mut runner).expect("a case").current();
                if let Err(error) = body(&f, &moves).await {
                    panic!("lane {lane}, case {number}, {moves:?}: {error}");
                }
            }
        }
    };
    join_all((0..LANES).map(lane)).await;
}

#[tokio::test]
async fn random_interleavings_end_in_one_state_as_in_the_model() {
    in_lanes(case_count(), 0, any_interleaving, async |f: &Fixture, (is_draft, moves): &(bool, Vec<Move>)| {
        one_after_another(f, *is_draft, moves).await
    })
    .await;
}

#[tokio::test]
async fn moves_that_meet_are_made_in_some_order() {
    type Meeting = (bool, Vec<Move>, Vec<Move>);
    in_lanes(case_count(), LANES, any_meeting, async |f: &Fixture, (is_draft, before, moves): &Meeting| {
        at_the_same_moment(f, *is_draft, before, moves).await
    })
    .await;
}
