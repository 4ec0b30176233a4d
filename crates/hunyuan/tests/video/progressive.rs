//! Runs with early steps at a lower resolution: the change against an independent computation, and cuts, drafts and batches
//! around it.

use std::{collections::BTreeMap, ops::ControlFlow};

use hunyuan::{Checkpoint, Control, DenoiseRequest, DraftPart, EasyCacheConfig, Error, Progressive, StepCacheConfig};
use tch::Tensor;

use crate::fixture::{Fixture, denoise, distance, go_on, narrowed, recorded, small};
use crate::fixture_v1_5;

/// Values are of order one, and the reference computes in double precision.
const AGREEMENT: f64 = 1e-5;

/// Skips within each resolution, with these random weights.
const CACHED: StepCacheConfig = StepCacheConfig::EasyCache(EasyCacheConfig { threshold: 0.5, warmup_steps: 2 });

/// Four of eight steps of 32x48 at 16x16.
fn early() -> Progressive {
    Progressive { width: 16, height: 16, steps: 4, shift: 2.9 }
}

fn progressive(fixture: &Fixture) -> DenoiseRequest {
    DenoiseRequest { progressive: Some(early()), ..small(fixture, 8, 3) }
}

#[test]
fn noise_levels_and_the_change_agree_with_the_reference() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/progressive/reference.safetensors");
    let reference: BTreeMap<String, Tensor> = Tensor::read_safetensors(path).unwrap().into_iter().collect();
    let fixture = Fixture::open("base");
    let engine = fixture.engine();
    let request = progressive(&fixture);
    let given = DenoiseRequest { initial_latents: Some(reference["noise"].shallow_clone()), ..request };
    let schedule = engine.schedule(&given).unwrap();
    let starts: Vec<f32> = (0..8).map(|step| schedule.start_time(step) / 1000.0).collect();
    assert!(distance(&Tensor::from_slice(&starts), &reference["starts"]) <= AGREEMENT, "{starts:?}");
    assert!(distance(&Tensor::from_slice(schedule.sigmas()), &reference["sigmas"]) <= AGREEMENT);

    // A step moves by (end - start) velocity, so latents and velocity of a step give those before it.
    let mut before = Vec::new();
    engine
        .denoise(&given, None, &Control::new(), &mut |end| {
            let moved = f64::from(schedule.sigmas()[end.step]) - f64::from(starts[end.step - 1]);
            before.push((end.latents() - end.velocity().unwrap() * moved, end.latents().shallow_clone()));
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(distance(&before[0].0, &reference["low_band"]) <= AGREEMENT);
    // The change is linear in the latents and in the noise, each of which the reference has on its own.
    let (lower, raised) = (&before[3].1, &before[4].0);
    assert_eq!((lower.size(), raised.size()), (vec![1, 4, 2, 2, 2], vec![1, 4, 2, 6, 4]));
    let embedded = reference["lifting_rows"].matmul(lower).matmul(&reference["lifting_columns"].tr());
    let wanted = embedded * f64::try_from(&reference["gain"]).unwrap() + &reference["raised_noise"];
    assert!(distance(raised, &wanted) <= AGREEMENT, "{:.1e}", distance(raised, &wanted));
}

#[test]
fn a_resume_from_any_step_gives_the_same_bits_also_across_the_change() {
    let fixture = Fixture::open("base");
    let engine = fixture.engine();
    let cached = DenoiseRequest {
        steps: 16,
        step_cache: CACHED,
        progressive: Some(Progressive { steps: 8, ..early() }),
        ..progressive(&fixture)
    };
    for request in [progressive(&fixture), cached] {
        let (checkpoints, whole) = recorded(&engine, &request);
        let lower = request.progressive.unwrap().steps;
        assert_eq!(whole.counts.lower.iter().sum::<usize>(), lower);
        assert_eq!(whole.counts.velocity_change.len(), request.steps - 2, "none across the change");
        for (index, bytes) in checkpoints.iter().enumerate() {
            let saved = Checkpoint::from_bytes(bytes).unwrap();
            let size = if index < lower { [2, 2] } else { [6, 4] };
            assert_eq!(saved.latents.size()[3..], size, "step {}", saved.step);
            let resumed = engine.denoise(&request, Some(&saved), &Control::new(), &mut go_on).unwrap();
            assert!(resumed.latents.tensor.equal(&whole.latents.tensor), "from step {}", saved.step);
            assert_eq!(resumed.counts, whole.counts);
        }
        if request.step_cache != StepCacheConfig::Off {
            let [computed, skipped] = whole.counts.lower;
            assert!(skipped > 0 && computed >= 3, "{:?}: warm-up and last step of the lower resolution", whole.counts);
            assert!(whole.counts.skipped > skipped, "{:?}: the full resolution skips, too", whole.counts);
        }
    }
}

#[test]
fn the_expected_video_of_the_last_step_before_the_change_has_the_lower_size() {
    let fixture = Fixture::open("base");
    let engine = fixture.engine();
    let request = progressive(&fixture);
    let mut sizes = Vec::new();
    engine
        .denoise(&request, None, &Control::new(), &mut |end| {
            let estimate = end.estimate().unwrap().unwrap();
            assert_eq!(estimate.size(), end.latents().size());
            sizes.push(estimate.size()[3]);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(sizes, [2, 2, 2, 2, 6, 6, 6, 6]);
    // A draft that pauses exactly there.
    let (checkpoints, _) = recorded(&engine, &request);
    let requests = [request];
    let mut session = engine.begin(&requests, &Control::new()).unwrap();
    session.resume(&Checkpoint::from_bytes(&checkpoints[3]).unwrap()).unwrap();
    assert_eq!(session.estimate().unwrap().unwrap().size()[3..], [2, 2]);
}

#[test]
fn a_draft_of_the_lower_resolution_is_continued_with_more_steps_wherever_it_was_cut() {
    let fixture = Fixture::open("base");
    let engine = fixture.engine();
    let (drafts, _) = recorded(&engine, &progressive(&fixture));
    // Before the change, exactly at it, and after it.
    for after in [3, 4, 5] {
        let request = DenoiseRequest {
            draft: Some(DraftPart { steps: 8, after, step_cache: StepCacheConfig::Off, lower_steps: Some(4) }),
            progressive: Some(Progressive { steps: after.min(4), ..early() }),
            ..small(&fixture, 12, 3)
        };
        let (checkpoints, whole) = recorded(&engine, &request);
        assert_eq!(checkpoints.len(), after + 12 - after * 12 / 8);
        for bytes in checkpoints.iter().chain([&drafts[after - 1]]) {
            let saved = Checkpoint::from_bytes(bytes).unwrap();
            let resumed = engine.denoise(&request, Some(&saved), &Control::new(), &mut go_on).unwrap();
            assert!(resumed.latents.tensor.equal(&whole.latents.tensor), "draft of {after}, from step {}", saved.step);
            assert_eq!(resumed.counts, whole.counts);
        }
    }
}

#[test]
fn a_batch_changes_each_run_at_its_own_step() {
    let fixture = Fixture::open("base");
    let engine = fixture.engine();
    let build = || -> Vec<DenoiseRequest> {
        let mut requests: Vec<DenoiseRequest> = (0..4).map(|seed| small(&fixture, 6, seed)).collect();
        requests[1].progressive = Some(Progressive { steps: 2, ..early() });
        requests[2].progressive = Some(Progressive { steps: 3, ..early() });
        requests[3].progressive = requests[1].progressive;
        requests[3].embeddings = narrowed(&requests[3].embeddings, 1, 2, 7);
        requests
    };
    let together = engine.denoise_batch(&build(), &Control::new(), &mut go_on).unwrap();
    for (request, batched) in build().iter().zip(&together) {
        let single = denoise(&engine, request);
        assert!(batched.latents.tensor.equal(&single.latents.tensor), "seed {}", request.seed);
        assert_eq!(batched.counts.lower, single.counts.lower);
    }
    assert!(distance(&together[1].latents.tensor, &denoise(&engine, &small(&fixture, 6, 1)).latents.tensor) > 1e-3);
}

#[test]
fn a_longer_first_part_is_another_video_and_each_resolution_is_part_of_the_identity() {
    let fixture = Fixture::open("base");
    let engine = fixture.engine();
    let plain = small(&fixture, 8, 3);
    let (checkpoints, _) = recorded(&engine, &progressive(&fixture));
    let saved = Checkpoint::from_bytes(&checkpoints[5]).unwrap();
    let longer = DenoiseRequest { progressive: Some(Progressive { steps: 5, ..early() }), ..small(&fixture, 8, 3) };
    for other in [&plain, &longer] {
        let error = engine.denoise(other, Some(&saved), &Control::new(), &mut go_on).unwrap_err();
        assert!(error.to_string().contains("cannot be resumed: progressive is"), "{error}");
    }
    let ends = [&plain, &longer, &progressive(&fixture)].map(|request| denoise(&engine, request).latents.tensor);
    assert!(distance(&ends[0], &ends[1]) > 1e-3 && distance(&ends[1], &ends[2]) > 1e-3);
}

#[test]
fn what_cannot_begin_at_a_lower_resolution_is_refused() {
    let fixture = Fixture::open("base");
    let engine = fixture.engine();
    let refused = |edit: &dyn Fn(&mut DenoiseRequest)| {
        let mut request = progressive(&fixture);
        edit(&mut request);
        match engine.denoise(&request, None, &Control::new(), &mut go_on).unwrap_err() {
            Error::Input { field, reason } => format!("{field}: {reason}"),
            other => panic!("{other}"),
        }
    };
    let early_is = |other: Progressive| refused(&|request| request.progressive = Some(other));
    assert!(refused(&|request| request.flow_reverse = false).contains("inverted"));
    assert!(refused(&|request| request.steps = 4).contains("leave none"));
    assert!(early_is(Progressive { width: 32, height: 48, ..early() }).contains("smaller"));
    assert!(early_is(Progressive { height: 64, ..early() }).contains("smaller"));
    assert!(early_is(Progressive { width: 24, ..early() }).starts_with("width"));
    assert!(early_is(Progressive { steps: 0, ..early() }).contains("at least one step"));
    assert!(early_is(Progressive { shift: 0.1, ..early() }).contains("too small"));
    let draft = DraftPart { steps: 8, after: 3, step_cache: StepCacheConfig::Off, lower_steps: Some(4) };
    assert!(refused(&|request| request.draft = Some(draft)).contains("end with the draft"));
}

#[test]
fn the_other_family_does_it_too() {
    let fixture = fixture_v1_5::Fixture::open("v1_5", "base");
    let engine = fixture.engine();
    let request = fixture.request();
    let step = engine.info().geometry.size_step();
    let (width, height) = (request.width / 2 / step * step, request.height / 2 / step * step);
    let early = Progressive { width: width.max(step), height: height.max(step), steps: 2, shift: 4.0 };
    let request = DenoiseRequest { steps: 4, progressive: Some(early), ..request };
    let (checkpoints, whole) = recorded(&engine, &request);
    for bytes in &checkpoints {
        let saved = Checkpoint::from_bytes(bytes).unwrap();
        let resumed = engine.denoise(&request, Some(&saved), &Control::new(), &mut go_on).unwrap();
        assert!(resumed.latents.tensor.equal(&whole.latents.tensor), "from step {}", saved.step);
    }
}
