//! Runs that are cut, resumed, batched or cached give the video of an undisturbed one.

use std::{ops::ControlFlow, process::Command};

use hunyuan::{Checkpoint, Control, DenoiseRequest, DraftPart, EasyCacheConfig, Error, LatentRgb, StepCacheConfig};
use tch::Tensor;

use crate::fixture::{Fixture, decode, denoise, distance, go_on, narrowed, recorded, small};

/// Skips about half of the steps after the second with these random weights.
const CACHED: StepCacheConfig = StepCacheConfig::EasyCache(EasyCacheConfig { threshold: 0.2, warmup_steps: 2 });
/// Where the child process finds what to resume and leaves what it made.
const CHILD_DIR: &str = "HUNYUAN_TEST_RESUME_DIR";

fn cached(fixture: &Fixture) -> DenoiseRequest {
    let mut request = small(fixture, 8, 3);
    request.step_cache = CACHED;
    request
}

#[test]
fn a_resume_from_any_step_gives_the_same_bits() {
    let fixture = Fixture::open("base");
    let engine = fixture.engine();
    for request in [small(&fixture, 4, 3), cached(&fixture)] {
        let (checkpoints, whole) = recorded(&engine, &request);
        assert_eq!(checkpoints.len(), request.steps);
        for (index, bytes) in checkpoints.iter().enumerate() {
            let saved = Checkpoint::from_bytes(bytes).unwrap();
            assert_eq!(saved.step, index + 1);
            let mut steps = 0;
            let resumed = engine
                .denoise(&request, Some(&saved), &Control::new(), &mut |_| {
                    steps += 1;
                    ControlFlow::Continue(())
                })
                .unwrap();
            assert_eq!(steps, request.steps - index - 1, "only the rest runs");
            assert!(resumed.latents.tensor.equal(&whole.latents.tensor), "from step {}", index + 1);
            assert_eq!(resumed.counts, whole.counts);
        }
    }
}

#[test]
fn another_process_resumes_to_the_same_bits() {
    let fixture = Fixture::open("base");
    let engine = fixture.engine();
    let (checkpoints, whole) = recorded(&engine, &cached(&fixture));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("checkpoint"), &checkpoints[3]).unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "runs::child_resumes", "--ignored"])
        .env(CHILD_DIR, dir.path())
        .status()
        .unwrap();
    assert!(status.success());
    let theirs = Tensor::read_safetensors(dir.path().join("latents.safetensors")).unwrap();
    assert!(theirs[0].1.equal(&whole.latents.tensor));
}

#[test]
#[ignore = "the other process of another_process_resumes_to_the_same_bits"]
fn child_resumes() {
    let dir = std::path::PathBuf::from(std::env::var(CHILD_DIR).unwrap());
    let saved = Checkpoint::from_bytes(&std::fs::read(dir.join("checkpoint")).unwrap()).unwrap();
    let fixture = Fixture::open("base");
    let engine = fixture.engine();
    // The embeddings come from the checkpoint: a worker that takes over need not encode.
    let mut request = cached(&fixture);
    request.embeddings = Checkpoint::from_bytes(&saved.to_bytes().unwrap()).unwrap().embeddings;
    let done = engine.denoise(&request, Some(&saved), &Control::new(), &mut go_on).unwrap();
    Tensor::write_safetensors(&[("latents", &done.latents.tensor)], dir.join("latents.safetensors")).unwrap();
}

#[test]
fn a_state_of_another_run_is_refused_by_name() {
    let fixture = Fixture::open("base");
    let engine = fixture.engine();
    let (checkpoints, _) = recorded(&engine, &small(&fixture, 3, 3));
    let saved = Checkpoint::from_bytes(&checkpoints[0]).unwrap();
    let change = |edit: &dyn Fn(&mut DenoiseRequest)| {
        let mut request = small(&fixture, 3, 3);
        edit(&mut request);
        engine.denoise(&request, Some(&saved), &Control::new(), &mut go_on).unwrap_err().to_string()
    };
    for (name, message) in [
        ("noise", change(&|request| request.seed = 4)),
        ("steps", change(&|request| request.steps = 4)),
        ("guidance", change(&|request| request.guidance = 5.0)),
        ("size", change(&|request| request.frames = 9)),
        ("embeddings", change(&|request| request.embeddings = narrowed(&request.embeddings, 1, 0, 7))),
        ("flow_shift", change(&|request| request.flow_shift = Some(3.0))),
        ("flow_reverse", change(&|request| request.flow_reverse = false)),
        ("step_cache", change(&|request| request.step_cache = CACHED)),
    ] {
        assert!(message.contains(&format!("cannot be resumed: {name} is")), "{name}: {message}");
    }
}

#[test]
fn one_seed_gives_one_video_and_another_a_different_one() {
    let fixture = Fixture::open("base");
    let engine = fixture.engine();
    let [first, again, other] = [1, 1, 2].map(|seed| denoise(&engine, &small(&fixture, 2, seed)).latents.tensor);
    assert!(first.equal(&again));
    assert!(distance(&first, &other) > 0.1);
}

#[test]
fn a_batch_gives_what_single_runs_give() {
    let fixture = Fixture::open("base");
    let engine = fixture.engine();
    let shorter = |request: &mut DenoiseRequest| {
        request.embeddings = narrowed(&request.embeddings, 1, 2, 7);
    };
    // Two that share passes, one with fewer text tokens, one that skips on its own, one with more steps and true guidance.
    let build = || -> Vec<DenoiseRequest> {
        let mut requests: Vec<DenoiseRequest> = (0..5).map(|seed| small(&fixture, 6, seed)).collect();
        requests[1].guidance = 3.0;
        shorter(&mut requests[2]);
        requests[3].step_cache = CACHED;
        requests[4].steps = 7;
        let mut negative = small(&fixture, 1, 0);
        shorter(&mut negative);
        requests[4].negative = Some((negative.embeddings, 2.5));
        requests
    };
    let together = engine.denoise_batch(&build(), &Control::new(), &mut go_on).unwrap();
    let alone: Vec<_> = build().iter().map(|request| denoise(&engine, request)).collect();
    assert!(alone[3].counts.skipped > 0, "the cached run skips");
    for (index, (batched, single)) in together.iter().zip(&alone).enumerate() {
        assert!(batched.latents.tensor.equal(&single.latents.tensor), "run {index} has other bits");
        assert_eq!((batched.counts.computed, batched.counts.skipped), (single.counts.computed, single.counts.skipped));
    }
    let latents: Vec<_> = together.iter().map(|done| &done.latents).collect();
    let frames = engine.decode_batch(&latents, &Control::new(), &mut |_, _| {}).unwrap();
    for (batched, done) in frames.iter().zip(&together) {
        assert!(batched.tensor().equal(decode(&engine, &done.latents).tensor()));
    }
    // Those that shared say so: each of the first two had the other, or none while only one of them still ran.
    assert!(together[0].counts.companions > 0 && together[2].counts.companions == 0);
    assert!(alone.iter().all(|single| single.counts.companions == 0));
}

#[test]
fn a_cache_that_never_skips_changes_no_bit_and_one_that_skips_is_counted() {
    let fixture = Fixture::open("base");
    let engine = fixture.engine();
    let off = denoise(&engine, &small(&fixture, 8, 3));
    assert_eq!((off.counts.computed, off.counts.skipped), (8, 0));
    assert_eq!(off.counts.velocity_change.len(), 7);
    let mut never = small(&fixture, 8, 3);
    never.step_cache = StepCacheConfig::EasyCache(EasyCacheConfig { threshold: 0.0, warmup_steps: 1 });
    let never = denoise(&engine, &never);
    assert!(never.latents.tensor.equal(&off.latents.tensor));
    assert_eq!(never.counts, off.counts);
    let skipping = denoise(&engine, &cached(&fixture));
    assert!(skipping.counts.skipped > 0 && skipping.counts.computed >= 3);
    assert_eq!(skipping.counts.skipped + skipping.counts.computed, 8);
    assert!(!skipping.latents.tensor.equal(&off.latents.tensor));
}

#[test]
fn given_latents_replace_the_seed() {
    let fixture = Fixture::open("base");
    let engine = fixture.engine();
    let seeded = small(&fixture, 2, 11);
    let mut given = small(&fixture, 2, 0);
    given.initial_latents = Some(engine.initial_latents(&seeded).unwrap());
    assert!(denoise(&engine, &given).latents.tensor.equal(&denoise(&engine, &seeded).latents.tensor));
    given.initial_latents = Some(Tensor::zeros([1, 4, 2, 6, 5], (tch::Kind::Float, tch::Device::Cpu)));
    let error = engine.denoise(&given, None, &Control::new(), &mut go_on).unwrap_err();
    assert!(matches!(error, Error::Input { field: "initial_latents", .. }), "{error}");
}

#[test]
fn bytes_are_the_rounded_values_of_all_frames() {
    let fixture = Fixture::open("base");
    let engine = fixture.engine();
    let frames = decode(&engine, &denoise(&engine, &small(&fixture, 1, 5)).latents);
    assert_eq!(frames.size(), [5, 48, 32, 3]);
    let bytes = frames.rgb8().unwrap();
    let values = Vec::<f32>::try_from(frames.tensor().reshape(-1)).unwrap();
    assert_eq!(bytes.len(), 5 * 48 * 32 * 3);
    for (byte, value) in bytes.iter().zip(values) {
        assert!((f32::from(*byte) - value * 255.0).abs() <= 0.5, "{byte} for {value}");
    }
}

/// A draft of three of eight steps with a step cache, continued with twelve steps and none.
fn continued(fixture: &Fixture) -> DenoiseRequest {
    let mut request = small(fixture, 12, 3);
    request.draft = Some(DraftPart { steps: 8, after: 3, step_cache: CACHED, lower_steps: None });
    request
}

#[test]
fn a_draft_that_is_continued_with_more_steps_gives_one_video_wherever_it_was_cut() {
    let fixture = Fixture::open("base");
    let engine = fixture.engine();
    let (checkpoints, whole) = recorded(&engine, &continued(&fixture));
    assert_eq!(checkpoints.len(), 3 + 12 - 3 * 12 / 8, "the draft's steps and the rest of the finer schedule");
    // The draft itself, as another run stored it.
    let (drafts, _) = recorded(&engine, &cached(&fixture));
    for bytes in checkpoints.iter().chain([&drafts[2]]) {
        let saved = Checkpoint::from_bytes(bytes).unwrap();
        let resumed = engine.denoise(&continued(&fixture), Some(&saved), &Control::new(), &mut go_on).unwrap();
        assert!(resumed.latents.tensor.equal(&whole.latents.tensor), "from step {}", saved.step);
        assert_eq!(resumed.counts, whole.counts);
    }
    let other = Checkpoint::from_bytes(&drafts[1]).unwrap();
    let error = engine.denoise(&continued(&fixture), Some(&other), &Control::new(), &mut go_on).unwrap_err();
    assert!(error.to_string().contains("cannot be resumed"), "another step of the draft is another run: {error}");
}

#[test]
fn the_expected_latents_come_closer_to_the_video_and_end_as_it() {
    let fixture = Fixture::open("base");
    let engine = fixture.engine();
    let mut estimates = Vec::new();
    let request = small(&fixture, 6, 3);
    let done = engine
        .denoise(&request, None, &Control::new(), &mut |end| {
            estimates.push(end.estimate().unwrap().unwrap());
            ControlFlow::Continue(())
        })
        .unwrap();
    let away: Vec<f64> = estimates.iter().map(|estimate| distance(estimate, &done.latents.tensor)).collect();
    assert!(away.windows(2).all(|pair| pair[0] >= pair[1]), "{away:?}");
    assert_eq!(away.last(), Some(&0.0), "nothing is left to expect after the last step");
    let grey = LatentRgb { weights: vec![[0.0; 3]; usize::try_from(estimates[0].size()[1]).unwrap()], bias: [0.0; 3] };
    let preview = grey.frames(&estimates[0]).unwrap();
    let [_, _, frames, height, width] = <[i64; 5]>::try_from(estimates[0].size()).unwrap();
    assert_eq!([preview.frames, preview.height, preview.width].map(i64::from), [frames, height, width]);
    assert!(preview.rgb.iter().all(|value| *value == 128));
}
