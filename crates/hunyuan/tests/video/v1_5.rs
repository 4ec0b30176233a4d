//! HunyuanVideo 1.5 against diffusers' own pipeline, and its runs that are cut, resumed, batched or stopped.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its fixture has nothing to say")]
#![expect(clippy::print_stdout, reason = "the measured distances are worth reading even where they pass")]

use std::ops::ControlFlow;

use hunyuan::v1_5::text::{GLYPH, PROMPT};
use hunyuan::{
    Checkpoint, Control, DenoiseRequest, Dtype, EasyCacheConfig, Embeddings, Error, Family, Latents, StepCacheConfig,
};
use tch::{Kind, Tensor};

use crate::fixture::{decode, denoise, distance, go_on, psnr, recorded};
use crate::fixture_v1_5::Fixture;

/// What fp32 must reach (absolute, values of order one), and frames in dB; for 16 bits, against the reference in 16 bits.
pub(crate) const EMBEDDINGS: f64 = 1e-4;
pub(crate) const NOISE_PRED: f64 = 1e-4;
pub(crate) const SIGMAS: f64 = 1e-7;
pub(crate) const LATENTS: f64 = 1e-3;
pub(crate) const FRAMES_DB: f64 = 60.0;
pub(crate) const HALF_FRAMES_DB: f64 = 35.0;

/// Largest difference of two prompts' embeddings, which must have the same tensors.
fn embeddings_distance(ours: &Embeddings, reference: &Embeddings) -> f64 {
    let names =
        |embeddings: &Embeddings| -> Vec<String> { embeddings.tensors().map(|(name, _)| name.to_owned()).collect() };
    assert_eq!(names(ours), names(reference));
    ours.tensors().map(|(name, tensor)| distance(tensor, reference.get(name).unwrap())).fold(0.0, f64::max)
}

#[test]
fn every_recorded_prompt_agrees_with_the_reference() {
    let (mut with_glyphs, mut without, mut cut) = (0, 0, 0);
    for fixture in Fixture::all("v1_5") {
        if fixture.case.dtype != "f32" {
            continue;
        }
        let mut prompts: Vec<(String, &str)> =
            fixture.case.prompts.iter().map(|(name, prompt)| (format!("{name}."), prompt.as_str())).collect();
        if prompts.is_empty() {
            prompts.push((String::new(), &fixture.case.prompt));
        }
        if fixture.case.resolved_guidance_scale > 1.0 {
            prompts.push(("negative_".to_owned(), fixture.case.negative_prompt.as_deref().unwrap_or_default()));
        }
        let engine = fixture.engine();
        let texts: Vec<&str> = prompts.iter().map(|(_, prompt)| *prompt).collect();
        let encoded = engine.encode(&texts, &Control::new()).unwrap();
        for ((prefix, _), ours) in prompts.iter().zip(&encoded) {
            let reference = fixture.embeddings(prefix);
            let difference = embeddings_distance(ours, &reference);
            println!("{}: {prefix} {difference:.3e}", fixture.name);
            assert!(difference <= EMBEDDINGS, "{}: {prefix} {difference:.3e}", fixture.name);
            let glyph = ours.get(GLYPH).ok().map(|glyph| glyph.size()[1]);
            with_glyphs += usize::from(glyph.is_some());
            without += usize::from(glyph.is_none());
            cut += usize::from(glyph == Some(256) && ours.get(PROMPT).unwrap().size()[1] == 1000);
        }
    }
    assert!(with_glyphs > 0 && without > 0 && cut > 0, "{with_glyphs} {without} {cut}");
}

#[test]
fn every_fixture_agrees_with_the_reference() {
    let mut failures = Vec::new();
    let videos: Vec<Fixture> =
        Fixture::all("v1_5").into_iter().filter(|fixture| fixture.tensors.contains_key("latents")).collect();
    assert!(videos.iter().filter(|fixture| fixture.case.dtype == "f32").count() >= 8);
    for fixture in videos {
        let (engine, request, full) = (fixture.engine(), fixture.request(), fixture.case.dtype == "f32");
        let mut check = |what: &str, value: f64, good: bool| {
            println!("{}: {what} {value:.3e}", fixture.name);
            if !good {
                failures.push(format!("{}: {what} {value:.3e}", fixture.name));
            }
        };
        let noise = engine.initial_latents(&request).unwrap();
        let difference = distance(&noise, &fixture.tensor("initial_latents"));
        check("noise", difference, difference == 0.0);
        let sigmas = Tensor::from_slice(engine.schedule(&request).unwrap().sigmas());
        let difference = distance(&sigmas, &fixture.tensor("sigmas"));
        check("sigmas", difference, difference <= SIGMAS);
        let mut first = None;
        let done = engine
            .denoise(&request, None, &Control::new(), &mut |end| {
                if end.step == 1 {
                    first = end.velocity().map(Tensor::shallow_clone);
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        let difference = distance(&first.unwrap(), &fixture.tensor("noise_pred_0"));
        check("noise_pred_0", difference, !full || difference <= NOISE_PRED);
        let difference = distance(&done.latents.tensor, &fixture.tensor("latents"));
        check("latents", difference, !full || difference <= LATENTS);
        let limit = if full { FRAMES_DB } else { HALF_FRAMES_DB };
        let (width, height, frames) = (fixture.case.width, fixture.case.height, fixture.case.frames);
        let given = Latents { tensor: fixture.tensor("latents"), width, height, frames };
        let engines = [("frames", Some(engine)), ("frames_tiled", fixture.tiled_engine())];
        for (name, engine) in engines.iter().filter_map(|(name, engine)| Some((name, engine.as_ref()?))) {
            let recorded = fixture.tensor(name);
            // The decoder alone, too, so that errors of the transformer and of the decoder cannot hide each other.
            for latents in [&done.latents, &given] {
                let same = psnr(decode(engine, latents).tensor(), &recorded);
                check(&format!("{name} (dB)"), same, same >= limit);
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// Few tokens, several steps, with guidance and quoted text.
fn guided(fixture: &Fixture, steps: usize) -> DenoiseRequest {
    DenoiseRequest { steps, seed: 3, ..fixture.request() }
}

#[test]
fn a_resume_from_any_step_gives_the_same_bits() {
    let fixture = Fixture::open("v1_5", "base");
    let engine = fixture.engine();
    let cached = DenoiseRequest {
        step_cache: StepCacheConfig::EasyCache(EasyCacheConfig { threshold: 0.3, warmup_steps: 2 }),
        ..guided(&fixture, 8)
    };
    for request in [guided(&fixture, 3), cached] {
        let (checkpoints, whole) = recorded(&engine, &request);
        for bytes in &checkpoints {
            let saved = Checkpoint::from_bytes(bytes).unwrap();
            assert!(saved.embeddings.get(GLYPH).is_ok() && saved.negative.is_some());
            let resumed = engine.denoise(&request, Some(&saved), &Control::new(), &mut go_on).unwrap();
            assert!(resumed.latents.tensor.equal(&whole.latents.tensor), "from step {}", saved.step);
            assert_eq!(resumed.counts, whole.counts);
        }
        assert_eq!(whole.counts.skipped > 0, request.step_cache != StepCacheConfig::Off);
    }
}

#[test]
fn a_cancel_takes_effect_at_the_next_block() {
    let fixture = Fixture::open("v1_5", "base");
    let engine = fixture.engine();
    let request = guided(&fixture, 1);
    let (per_forward, per_tile) = engine.checks();
    let watched = Control::new();
    let whole = engine.denoise(&request, None, &watched, &mut go_on).unwrap();
    assert_eq!(watched.beats(), 2 * per_forward + 1, "two passes, and the loop's own check");
    for budget in 1..=watched.beats() {
        let control = Control::with_budget(budget);
        let error = engine.denoise(&request, None, &control, &mut go_on).unwrap_err();
        assert!(matches!(error, Error::Cancelled) && control.beats() == budget, "{error}");
    }
    let watched = Control::new();
    engine.decode(&whole.latents, &watched, &mut |_, _| {}).unwrap();
    assert_eq!(watched.beats(), per_tile);
    for budget in 1..=per_tile {
        let control = Control::with_budget(budget);
        let error = engine.decode(&whole.latents, &control, &mut |_, _| {}).unwrap_err();
        assert!(matches!(error, Error::Cancelled) && control.beats() == budget, "{error}");
    }
    assert!(denoise(&engine, &request).latents.tensor.equal(&whole.latents.tensor));
}

#[test]
fn a_batch_gives_what_single_runs_give() {
    let fixture = Fixture::open("v1_5", "base");
    let engine = fixture.engine();
    let build = || -> Vec<DenoiseRequest> {
        let mut requests: Vec<DenoiseRequest> =
            (0..4).map(|seed| DenoiseRequest { seed, ..guided(&fixture, 3) }).collect();
        // Two that share passes; one without quoted text, one without guidance.
        let plain = requests[2].embeddings.get(PROMPT).unwrap().shallow_clone();
        requests[2].embeddings = Embeddings::new([(PROMPT, plain)]).unwrap();
        requests[3].negative = None;
        requests
    };
    let together = engine.denoise_batch(&build(), &Control::new(), &mut go_on).unwrap();
    for (index, (batched, request)) in together.iter().zip(build()).enumerate() {
        let single = denoise(&engine, &request).latents.tensor;
        assert!(batched.latents.tensor.equal(&single), "run {index} has other bits");
    }
}

#[test]
fn quoted_text_the_prompt_and_the_negative_prompt_each_change_the_video() {
    let fixture = Fixture::open("v1_5", "base");
    let engine = fixture.engine();
    let whole = denoise(&engine, &fixture.request()).latents.tensor;
    let change = |edit: &dyn Fn(&mut DenoiseRequest)| {
        let mut request = fixture.request();
        edit(&mut request);
        distance(&denoise(&engine, &request).latents.tensor, &whole)
    };
    let only = |embeddings: &Embeddings, name: &'static str| (name, embeddings.get(name).unwrap().shallow_clone());
    let scaled = |embeddings: &Embeddings, name: &'static str| (name, embeddings.get(name).unwrap() * 0.5);
    let unquoted =
        change(&|request| request.embeddings = Embeddings::new([only(&request.embeddings, PROMPT)]).unwrap());
    let prompt = change(&|request| {
        let parts = [scaled(&request.embeddings, PROMPT), only(&request.embeddings, GLYPH)];
        request.embeddings = Embeddings::new(parts).unwrap();
    });
    let unguided = change(&|request| request.negative = None);
    assert!(unquoted > 1e-2 && prompt > 1e-2 && unguided > 1e-2, "{unquoted} {prompt} {unguided}");
}

#[test]
fn a_checkpoints_own_guidance_is_the_default() {
    for (name, scale, shift) in [("base", 6.0, 5.0), ("deep", 1.0, 7.0)] {
        let fixture = Fixture::open("v1_5", name);
        assert_eq!(Family::V1_5.defaults_of(&fixture.model_dir).unwrap().true_cfg_scale, scale);
        let engine = fixture.engine();
        assert_eq!((engine.info().true_cfg_scale, engine.info().flow_shift), (scale, shift));
    }
}

#[test]
fn sixteen_bit_embeddings_of_the_cache_give_the_video_of_fresh_ones() {
    let fixture = Fixture::open("v1_5", "base");
    let engine = fixture.engine();
    let fresh = engine.encode(&[&fixture.case.prompt], &Control::new()).unwrap().remove(0);
    let stored = Embeddings::from_store(&fresh.to_store().unwrap()).unwrap();
    let video =
        |embeddings: Embeddings| denoise(&engine, &DenoiseRequest { embeddings, ..fixture.request() }).latents.tensor;
    assert!(video(fresh.through_store().unwrap()).equal(&video(stored)));
}

#[test]
fn embeddings_of_another_family_are_refused_by_name() {
    let fixture = Fixture::open("v1_5", "base");
    let engine = fixture.engine();
    let mut request = fixture.request();
    request.embeddings =
        Embeddings::new([("pooled_prompt_embeds", Tensor::zeros([1, 4], (Kind::Float, tch::Device::Cpu)))]).unwrap();
    let error = engine.denoise(&request, None, &Control::new(), &mut go_on).unwrap_err().to_string();
    assert!(error.contains(PROMPT), "{error}");
    let wide = Tensor::zeros([1, 3, 99], (Kind::Float, tch::Device::Cpu));
    request.embeddings = Embeddings::new([(PROMPT, fixture.tensor(PROMPT)), (GLYPH, wide)]).unwrap();
    let error = engine.denoise(&request, None, &Control::new(), &mut go_on).unwrap_err().to_string();
    assert!(error.contains(GLYPH) && error.contains("99"), "{error}");
    assert_eq!(fixture.options().dtype, Some(Dtype::F32));
}
