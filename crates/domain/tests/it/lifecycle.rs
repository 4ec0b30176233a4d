//! Goal: no order of events brings a job into a state that the rules do not allow.
//! Method: random sequences of every transition, legal or not, from several owners; invariants checked after each.

use domain::lifecycle::AttemptLimits;
use domain::{FailureAction, InvalidTransition, JobStatus, LeaseToken, Lifecycle};
use proptest::prelude::*;
use uuid::Uuid;

const LIMITS: AttemptLimits = AttemptLimits { attempts_max: 3, attempts_total_max: 6 };

#[derive(Debug, Clone)]
enum Move {
    Release,
    Unrelease,
    Claim { dispatch_no: i32, owner: u128 },
    Checkpoint { owner: u128, step: i32 },
    Complete { owner: u128 },
    HandBack { owner: u128 },
    Fail { owner: u128, retry: bool },
    Lose,
    Cancel,
    Retry,
    Pause { owner: u128 },
    Proceed,
    Expire,
}

fn any_move() -> impl Strategy<Value = Move> {
    let owner = 1..4u128;
    prop_oneof![
        4 => Just(Move::Release),
        1 => Just(Move::Unrelease),
        4 => (0..6i32, owner.clone()).prop_map(|(dispatch_no, owner)| Move::Claim { dispatch_no, owner }),
        2 => (owner.clone(), 0..20i32).prop_map(|(owner, step)| Move::Checkpoint { owner, step }),
        1 => owner.clone().prop_map(|owner| Move::Complete { owner }),
        1 => owner.clone().prop_map(|owner| Move::HandBack { owner }),
        2 => (owner.clone(), any::<bool>()).prop_map(|(owner, retry)| Move::Fail { owner, retry }),
        3 => owner.prop_map(|owner| Move::Pause { owner }),
        2 => Just(Move::Proceed),
        1 => Just(Move::Expire),
        1 => Just(Move::Lose),
        1 => Just(Move::Cancel),
        1 => Just(Move::Retry),
    ]
}

fn token(owner: u128) -> LeaseToken {
    LeaseToken(Uuid::from_u128(owner))
}

fn apply(job: Lifecycle, step: &Move) -> Result<Lifecycle, InvalidTransition> {
    match *step {
        Move::Release => job.release(),
        Move::Unrelease => job.unrelease(),
        Move::Claim { dispatch_no, owner } => job.claim(dispatch_no, token(owner)),
        Move::Checkpoint { owner, step } => job.checkpoint(token(owner), step),
        Move::Complete { owner } => job.complete(token(owner)),
        Move::HandBack { owner } => job.hand_back(token(owner)),
        Move::Fail { owner, retry } => {
            let action = if retry { FailureAction::Retry } else { FailureAction::Fail };
            job.fail(token(owner), action, LIMITS)
        }
        Move::Lose => job.lose(LIMITS),
        Move::Cancel => job.cancel(),
        Move::Retry => job.retry(),
        Move::Pause { owner } => job.pause(token(owner)),
        Move::Proceed => job.proceed(),
        Move::Expire => job.expire(),
    }
}

proptest! {
    #[test]
    fn every_reachable_state_keeps_the_rules(
        pause_at in proptest::option::of(0..10i32),
        moves in proptest::collection::vec(any_move(), 0..60),
    ) {
        let mut job = Lifecycle { pause_at, ..Lifecycle::default() };
        for step in &moves {
            let before = job.clone();
            let Ok(after) = apply(job.clone(), step) else { continue };
            // A lease exists exactly while running.
            prop_assert_eq!(after.lease.is_some(), after.status == JobStatus::Running);
            prop_assert!(after.attempts >= 0 && after.attempts <= LIMITS.attempts_max);
            prop_assert!(after.attempts_total >= 0 && after.attempts_total <= LIMITS.attempts_total_max);
            // Only a user brings an ended job back.
            if before.status.is_terminal() {
                prop_assert!(matches!(step, Move::Retry), "{:?} moved an ended job", step);
            }
            // A requested cancel is never forgotten when a job leaves running.
            if before.cancel_requested && after.status != before.status && !matches!(step, Move::Retry) {
                prop_assert_eq!(after.status, JobStatus::Cancelled);
            }
            // A job pauses once, at the step that was planned, and leaves the pause only by a decision.
            if after.status == JobStatus::Drafted && before.status != JobStatus::Drafted {
                prop_assert!(before.pause_at.is_some_and(|step| after.checkpoint_step >= step));
                prop_assert_eq!(after.pause_at, None);
            }
            if before.status == JobStatus::Drafted {
                prop_assert!(matches!(step, Move::Proceed | Move::Expire | Move::Cancel), "{:?}", step);
            }
            // Progress is never lost, and releases are counted.
            prop_assert!(after.checkpoint_step >= before.checkpoint_step);
            prop_assert_eq!(after.dispatch_no - before.dispatch_no, i32::from(matches!(step, Move::Release)));
            job = after;
        }
    }

    #[test]
    fn only_the_holder_writes_to_a_running_job(owner in 1..4u128, other in 1..4u128) {
        prop_assume!(owner != other);
        let running = Lifecycle::default().release().and_then(|job| job.claim(1, token(owner))).expect("legal");
        let stale = token(other);
        prop_assert_eq!(running.clone().complete(stale), Err(InvalidTransition::StaleLease));
        prop_assert_eq!(running.clone().hand_back(stale), Err(InvalidTransition::StaleLease));
        prop_assert_eq!(running.clone().checkpoint(stale, 3), Err(InvalidTransition::StaleLease));
        prop_assert_eq!(running.fail(stale, FailureAction::Retry, LIMITS), Err(InvalidTransition::StaleLease));
    }
}

#[test]
fn a_message_of_an_earlier_release_cannot_claim() {
    let again =
        Lifecycle::default().release().and_then(Lifecycle::unrelease).and_then(Lifecycle::release).expect("legal");
    assert_eq!(again.clone().claim(1, token(1)), Err(InvalidTransition::StaleDispatch));
    assert!(again.claim(2, token(1)).is_ok());
}

#[test]
fn a_hand_back_costs_no_attempt_and_a_loss_costs_one() {
    let running = Lifecycle::default().release().and_then(|job| job.claim(1, token(1))).expect("legal");
    assert_eq!(running.clone().hand_back(token(1)).expect("held").attempts, 0);
    assert_eq!(running.lose(LIMITS).expect("running").attempts, 1);
}

#[test]
fn a_job_that_kills_its_workers_ends_failed() {
    let mut job = Lifecycle::default();
    for attempt in 1..=LIMITS.attempts_max {
        job =
            job.release().and_then(|job| job.claim(attempt, token(1))).and_then(|job| job.lose(LIMITS)).expect("legal");
    }
    assert_eq!(job.status, JobStatus::Failed);
}

#[test]
fn a_newer_checkpoint_earns_new_attempts_up_to_the_hard_cap() {
    let mut job = Lifecycle::default();
    let mut claims = 0;
    while job.status != JobStatus::Failed {
        claims += 1;
        job = job
            .release()
            .and_then(|job| job.claim(claims, token(1)))
            .and_then(|job| job.checkpoint(token(1), claims))
            .and_then(|job| job.lose(LIMITS))
            .expect("legal");
    }
    assert_eq!(claims, LIMITS.attempts_total_max);
}

#[test]
fn a_draft_pauses_at_its_checkpoint_and_goes_on_with_new_attempts() {
    let draft = Lifecycle { pause_at: Some(6), ..Lifecycle::default() };
    let running = draft.release().and_then(|job| job.claim(1, token(1))).expect("legal");
    assert!(running.clone().pause(token(1)).is_err(), "nothing is stored yet");
    let drafted = running.checkpoint(token(1), 6).and_then(|job| job.pause(token(1))).expect("its draft is stored");
    assert_eq!((drafted.status, drafted.lease, drafted.checkpoint_step), (JobStatus::Drafted, None, 6));
    assert!(drafted.clone().release().is_err(), "a draft takes no worker");
    let going = drafted.clone().proceed().expect("it can be continued");
    assert_eq!((going.status, going.attempts_total, going.checkpoint_step), (JobStatus::Queued, 0, 6));
    assert_eq!(drafted.expire().expect("nobody wanted it").status, JobStatus::Cancelled);
}

#[test]
fn a_cancel_during_the_first_steps_ends_the_draft() {
    let draft = Lifecycle { pause_at: Some(6), ..Lifecycle::default() };
    let running = draft
        .release()
        .and_then(|job| job.claim(1, token(1)))
        .and_then(|job| job.checkpoint(token(1), 6))
        .and_then(Lifecycle::cancel)
        .expect("legal");
    assert_eq!(running.pause(token(1)).expect("held").status, JobStatus::Cancelled);
}
