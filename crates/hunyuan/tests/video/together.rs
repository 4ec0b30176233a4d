//! Jobs that share passes: each has the bits of its single run, also while others join, leave, are stopped or fail.

#![expect(clippy::unwrap_used, reason = "a test whose helpers fail has failed")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::rc::Rc;

use hunyuan::{
    Checkpoint, Control, DenoiseRequest, Denoised, EasyCacheConfig, Embeddings, Engine, Error, Result, StepCacheConfig,
    Together,
};
use tch::Tensor;

use crate::fixture::{Fixture, decode, denoise, go_on, recorded, small};
use crate::fixture_v1_5;

const CACHED: StepCacheConfig = StepCacheConfig::EasyCache(EasyCacheConfig { threshold: 0.2, warmup_steps: 2 });

/// A request again: a request cannot be cloned, because its tensors are shared.
fn again(request: &DenoiseRequest) -> DenoiseRequest {
    let share = |embeddings: &Embeddings| {
        let all = embeddings.tensors().map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone()));
        Embeddings::new(all.collect::<Vec<_>>()).unwrap()
    };
    DenoiseRequest {
        embeddings: share(&request.embeddings),
        negative: request.negative.as_ref().map(|(negative, scale)| (share(negative), *scale)),
        image: None,
        initial_latents: request.initial_latents.as_ref().map(Tensor::shallow_clone),
        ..*request
    }
}

/// Takes rounds until nobody is left, with a request that joins before the round of its number; returns the ends by the requests'
/// order.
fn all(
    engine: &Engine,
    requests: &[(usize, &DenoiseRequest)],
    mut on_step: impl FnMut(usize, usize, Checkpoint) -> ControlFlow<()>,
) -> Vec<Result<Denoised>> {
    let mut together = engine.together();
    let mut ends = BTreeMap::new();
    let mut numbers = BTreeMap::new();
    let last = requests.iter().map(|(round, _)| *round).max().unwrap();
    for round in 0.. {
        for (index, (_, request)) in requests.iter().enumerate().filter(|(_, (joins, _))| *joins == round) {
            let item = together.add(Rc::new(again(request)), &Control::new()).unwrap();
            numbers.insert(item, index);
        }
        if together.is_empty() && round > last {
            break;
        }
        for ended in together.round(&[], &mut |end| on_step(numbers[&end.item], end.step, end.checkpoint())) {
            ends.insert(numbers[&ended.item], ended.outcome);
        }
    }
    ends.into_values().collect()
}

fn equal(done: &Result<Denoised>, single: &Denoised) -> bool {
    let done = done.as_ref().unwrap();
    done.latents.tensor.equal(&single.latents.tensor)
        && (done.counts.computed, done.counts.skipped) == (single.counts.computed, single.counts.skipped)
}

#[test]
fn those_that_join_late_and_leave_early_have_the_bits_of_single_runs() {
    let fixture = Fixture::open("base");
    let engine = fixture.engine();
    let mut cached = small(&fixture, 8, 3);
    cached.step_cache = CACHED;
    let (short, long, guided) = (small(&fixture, 3, 1), small(&fixture, 9, 2), {
        let mut guided = small(&fixture, 4, 4);
        guided.guidance = 3.0;
        guided
    });
    // The second is at step 2 when the third joins, and alone at the end.
    let requests = [(0, &short), (0, &long), (2, &cached), (4, &guided)];
    let done = all(&engine, &requests, |_, _, _| ControlFlow::Continue(()));
    for ((_, request), done) in requests.iter().zip(&done) {
        let single = denoise(&engine, request);
        assert!(equal(done, &single), "seed {}", request.seed);
        let frames = decode(&engine, &done.as_ref().unwrap().latents);
        assert!(frames.tensor().equal(decode(&engine, &single.latents).tensor()));
    }
    let companions: Vec<usize> = done.iter().map(|done| done.as_ref().unwrap().counts.companions).collect();
    assert!(companions.iter().all(|&companions| companions > 0), "{companions:?}");
    assert_eq!(companions[0], 1 + 1 + 2, "two steps with one other, then one with two, in which nobody skips");
}

#[test]
fn one_that_is_stopped_leaves_the_others_alone_and_resumes_alone_to_the_same_bits() {
    let fixture = Fixture::open("base");
    let engine = fixture.engine();
    let requests = [1, 2, 3].map(|seed| small(&fixture, 5, seed));
    let mut saved = None;
    let joined: Vec<_> = requests.iter().map(|request| (0, request)).collect();
    let done = all(&engine, &joined, |index, step, checkpoint| {
        if (index, step) != (1, 2) {
            return ControlFlow::Continue(());
        }
        saved = Some(checkpoint.to_bytes().unwrap());
        ControlFlow::Break(())
    });
    let single: Vec<Denoised> = requests.iter().map(|request| denoise(&engine, request)).collect();
    assert!(equal(&done[0], &single[0]) && equal(&done[2], &single[2]));
    assert!(matches!(done[1], Err(Error::Cancelled)));
    // Beside what a single run would have saved there, the checkpoint says that passes were shared.
    let saved = Checkpoint::from_bytes(&saved.unwrap()).unwrap();
    assert_eq!(saved.companions, 4);
    assert!(saved.latents.equal(&Checkpoint::from_bytes(&recorded(&engine, &requests[1]).0[1]).unwrap().latents));
    let resumed = engine.denoise(&requests[1], Some(&saved), &Control::new(), &mut go_on).unwrap();
    assert!(resumed.latents.tensor.equal(&single[1].latents.tensor));
    assert_eq!(resumed.counts.companions, 4, "and so does the run that went on from it");
}

#[test]
fn a_stop_of_one_takes_effect_between_steps_and_of_all_within_a_pass() {
    let fixture = Fixture::open("base");
    let engine = fixture.engine();
    let mut together = engine.together();
    let controls = [Control::new(), Control::new()];
    for (seed, control) in controls.iter().enumerate() {
        together.add(Rc::new(small(&fixture, 4, seed as u64)), control).unwrap();
    }
    assert!(together.round(&[], &mut go_on).is_empty());
    assert_eq!(controls[0].beats(), controls[1].beats(), "a shared pass is progress of both");
    controls[0].cancel();
    let left = together.round(&[], &mut go_on);
    assert!(matches!(left.as_slice(), [hunyuan::Ended { item: 0, outcome: Err(Error::Cancelled) }]), "{left:?}");
    // What waits sees the pass too, and does not stop it.
    let waits = Control::new();
    waits.cancel();
    assert!(together.round(std::slice::from_ref(&waits), &mut go_on).is_empty());
    assert!(waits.beats() > 1);
    controls[1].cancel();
    assert_eq!(together.round(&[], &mut go_on).len(), 1);
    assert!(together.is_empty());
}

#[test]
fn one_whose_values_leave_the_range_fails_alone() {
    let fixture = Fixture::open("base");
    let engine = fixture.engine();
    let fine = small(&fixture, 3, 1);
    let mut broken = small(&fixture, 3, 2);
    broken.initial_latents = Some(engine.initial_latents(&broken).unwrap() * f64::INFINITY);
    let done = all(&engine, &[(0, &broken), (0, &fine)], |_, _, _| ControlFlow::Continue(()));
    assert!(matches!(done[0], Err(Error::NotFinite { .. })));
    assert!(equal(&done[1], &denoise(&engine, &fine)));
}

#[test]
fn one_that_does_not_fit_is_refused_and_the_others_go_on() {
    let fixture = Fixture::open("base");
    let engine = fixture.engine();
    let request = small(&fixture, 2, 1);
    let mut together: Together = engine.together();
    together.add(Rc::new(again(&request)), &Control::new()).unwrap();
    let wide = DenoiseRequest { width: 64, ..small(&fixture, 2, 1) };
    let absurd = DenoiseRequest { width: 40, ..small(&fixture, 2, 1) };
    for refused in [wide, absurd] {
        assert!(matches!(together.add(Rc::new(refused), &Control::new()), Err(Error::Input { .. })));
    }
    let mut done = Vec::new();
    while !together.is_empty() {
        done.extend(together.round(&[], &mut go_on));
    }
    assert!(equal(&done[0].outcome, &denoise(&engine, &request)));
}

#[test]
fn the_networks_of_1_5_share_passes_too() {
    let fixture = fixture_v1_5::Fixture::open("v1_5", "base");
    let engine = fixture.engine();
    let requests = [1, 2, 3].map(|seed| DenoiseRequest { seed, steps: 3, ..again(&fixture.request()) });
    let joins = [(0, &requests[0]), (1, &requests[1]), (1, &requests[2])];
    let done = all(&engine, &joins, |_, _, _| ControlFlow::Continue(()));
    for (request, done) in requests.iter().zip(&done) {
        assert!(equal(done, &denoise(&engine, request)), "seed {}", request.seed);
    }
    assert!(done.iter().all(|done| done.as_ref().unwrap().counts.companions > 0));
}
