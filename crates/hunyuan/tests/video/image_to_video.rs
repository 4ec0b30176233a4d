//! HunyuanVideo 1.5's image-to-video against diffusers' own pipeline: every station of the picture, then the video; and runs that are
//! resumed, batched or refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its fixture has nothing to say")]
#![expect(clippy::print_stdout, reason = "the measured distances are worth reading even where they pass")]

use std::ops::ControlFlow;

use hunyuan::runtime::picture::{Picture, Resampling};
use hunyuan::v1_5::sizes;
use hunyuan::{
    Checkpoint, Control, DenoiseRequest, Engine, EngineOptions, Error, Family, FirstFrame, Latents, Residency,
};
use tch::{Kind, Tensor};

use crate::fixture::{decode, denoise, distance, go_on, psnr, recorded};
use crate::fixture_v1_5::Fixture;
use crate::v1_5::{FRAMES_DB, HALF_FRAMES_DB, LATENTS, NOISE_PRED, SIGMAS};

const GROUP: &str = "v1_5_i2v";

/// What fp32 must reach for the states of the image encoder and the latents of the first frame.
const ENCODED: f64 = 1e-4;

/// A recorded picture.
fn picture(fixture: &Fixture, name: &str) -> Picture {
    let tensor = &fixture.tensors[name];
    let [height, width] = [0, 1].map(|axis| u32::try_from(tensor.size()[axis]).unwrap());
    Picture::new(width, height, Vec::<u8>::try_from(tensor.reshape(-1)).unwrap()).unwrap()
}

fn size(fixture: &Fixture) -> [i64; 3] {
    [fixture.case.width, fixture.case.height, fixture.case.frames]
}

fn first_frame(engine: &Engine, fixture: &Fixture) -> FirstFrame {
    engine.encode_picture(&picture(fixture, "picture"), size(fixture), &Control::new()).unwrap()
}

/// The recorded request, with its picture.
fn request(engine: &Engine, fixture: &Fixture) -> DenoiseRequest {
    DenoiseRequest { image: Some(first_frame(engine, fixture)), ..fixture.request() }
}

#[test]
fn pictures_are_cropped_and_reduced_to_the_references_bytes() {
    let fixtures = Fixture::all(GROUP);
    assert!(fixtures.len() >= 8);
    for fixture in fixtures {
        let given = picture(&fixture, "picture");
        let chosen = sizes::nearest(fixture.case.target_size, fixture.case.spatial, [given.width(), given.height()]);
        assert_eq!(chosen, [fixture.case.width, fixture.case.height], "{}", fixture.name);
        let [width, height] = chosen.map(|side| usize::try_from(side).unwrap());
        let cropped = given.covering(width, height);
        assert!(cropped == picture(&fixture, "cropped"), "{}: cropped to {width}x{height}", fixture.name);
        let seen = picture(&fixture, "pixels");
        let reduced = cropped.resized(seen.width(), seen.height(), Resampling::Bicubic);
        assert!(reduced == seen, "{}: reduced for the image encoder", fixture.name);
    }
}

#[test]
fn every_fixture_agrees_with_the_reference() {
    let mut failures = Vec::new();
    for fixture in Fixture::all(GROUP) {
        let engine = fixture.tiled_engine().unwrap_or_else(|| fixture.engine());
        let full = fixture.case.dtype == "f32";
        let request = request(&engine, &fixture);
        let mut check = |what: &str, value: f64, good: bool| {
            println!("{}: {what} {value:.3e}", fixture.name);
            if !good {
                failures.push(format!("{}: {what} {value:.3e}", fixture.name));
            }
        };
        let image = request.image.as_ref().unwrap();
        for (name, ours) in [("image_embeds", &image.states), ("image_latents", &image.latents)] {
            let difference = distance(ours, &fixture.tensor(name));
            check(name, difference, !full || difference <= ENCODED);
        }
        let difference = distance(&engine.initial_latents(&request).unwrap(), &fixture.tensor("initial_latents"));
        check("noise", difference, difference == 0.0);
        let sigmas = Tensor::from_slice(engine.schedule(&request).unwrap().sigmas());
        let difference = distance(&sigmas, &fixture.tensor("sigmas"));
        check("sigmas", difference, difference <= SIGMAS);
        let mut first = None;
        let done = engine.denoise(&request, None, &Control::new(), &mut |end| {
            if end.step == 1 {
                first = end.velocity().map(Tensor::shallow_clone);
            }
            ControlFlow::Continue(())
        });
        let difference = distance(&first.unwrap(), &fixture.tensor("noise_pred_0"));
        check("noise_pred_0", difference, !full || difference <= NOISE_PRED);
        let done = done.unwrap().latents;
        let difference = distance(&done.tensor, &fixture.tensor("latents"));
        check("latents", difference, !full || difference <= LATENTS);
        let limit = if full { FRAMES_DB } else { HALF_FRAMES_DB };
        let [width, height, frames] = size(&fixture);
        let given = Latents { tensor: fixture.tensor("latents"), width, height, frames };
        for latents in [&done, &given] {
            let same = psnr(decode(&engine, latents).tensor(), &fixture.tensor("frames"));
            check("frames (dB)", same, same >= limit);
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn the_encoders_give_the_same_bits_whether_or_not_they_stay_in_memory() {
    let fixture = Fixture::open(GROUP, "base");
    let states = |residency| {
        let engine = Engine::load(&EngineOptions { text_encoders: residency, ..fixture.options() }).unwrap();
        let (first, again) = (first_frame(&engine, &fixture), first_frame(&engine, &fixture));
        assert!(first.states.equal(&again.states) && first.latents.equal(&again.latents), "{residency:?}");
        (first.states, engine.info().resident_bytes)
    };
    let ((states_demand, demand), (states_resident, resident)) =
        (states(Residency::OnDemand), states(Residency::Resident));
    let (states_first_use, first_use) = states(Residency::FirstUse);
    assert!(states_demand.equal(&states_resident) && states_demand.equal(&states_first_use));
    assert!(demand < resident && resident == first_use, "{demand} {resident} {first_use}");
}

#[test]
fn the_picture_and_each_of_its_two_ways_into_the_network_change_the_video() {
    let fixture = Fixture::open(GROUP, "base");
    let engine = fixture.engine();
    let video = |edit: &dyn Fn(&mut FirstFrame)| {
        let mut request = request(&engine, &fixture);
        edit(request.image.as_mut().unwrap());
        denoise(&engine, &request).latents.tensor
    };
    let whole = video(&|_| {});
    let states = distance(&video(&|image| image.states = image.states.roll([1], [1])), &whole);
    let turned = distance(&video(&|image| image.states = image.states.roll([1], [2])), &whole);
    let latents = distance(&video(&|image| image.latents = &image.latents * 0.5), &whole);
    // The picture's tokens have no positions of their own, so their order is nothing.
    assert!(states < 1e-4 && turned > 1e-2 && latents > 1e-2, "{states} {turned} {latents}");
}

#[test]
fn a_resume_gives_the_same_bits_and_a_state_of_another_picture_is_refused() {
    let fixture = Fixture::open(GROUP, "upright");
    let engine = fixture.engine();
    let request = request(&engine, &fixture);
    let (checkpoints, whole) = recorded(&engine, &request);
    for bytes in &checkpoints {
        let saved = Checkpoint::from_bytes(bytes).unwrap();
        assert_eq!(saved.identity.image.as_deref(), Some(picture(&fixture, "picture").sha256().as_str()));
        let resumed = engine.denoise(&request, Some(&saved), &Control::new(), &mut go_on).unwrap();
        assert!(resumed.latents.tensor.equal(&whole.latents.tensor), "from step {}", saved.step);
    }
    // One value of one pixel is another picture, whether or not it survives the crop.
    let given = picture(&fixture, "picture");
    let mut rgb = given.rgb().to_vec();
    rgb[0] ^= 1;
    let [width, height] = [given.width(), given.height()].map(|side| u32::try_from(side).unwrap());
    let other = Picture::new(width, height, rgb).unwrap();
    let image = engine.encode_picture(&other, size(&fixture), &Control::new()).unwrap();
    let changed = DenoiseRequest { image: Some(image), ..fixture.request() };
    let saved = Checkpoint::from_bytes(&checkpoints[0]).unwrap();
    let error = engine.denoise(&changed, Some(&saved), &Control::new(), &mut go_on).unwrap_err();
    assert!(matches!(&error, Error::Resume { reason } if reason.starts_with("image is")), "{error}");
}

#[test]
fn a_batch_of_two_pictures_gives_what_single_runs_give() {
    let fixture = Fixture::open(GROUP, "base");
    let engine = fixture.engine();
    let other = picture(&fixture, "pixels");
    let build = || {
        let image = engine.encode_picture(&other, size(&fixture), &Control::new()).unwrap();
        let second = DenoiseRequest { seed: 9, image: Some(image), ..fixture.request() };
        [request(&engine, &fixture), second]
    };
    let together = engine.denoise_batch(&build(), &Control::new(), &mut go_on).unwrap();
    for (index, (batched, request)) in together.iter().zip(build()).enumerate() {
        let difference = distance(&batched.latents.tensor, &denoise(&engine, &request).latents.tensor);
        assert!(difference <= 1e-5, "run {index} differs by {difference:.1e}");
    }
}

#[test]
fn a_picture_is_needed_by_one_task_refused_by_the_other_and_must_have_the_videos_size() {
    let refused = |engine: &Engine, request: &DenoiseRequest| {
        let error = engine.denoise(request, None, &Control::new(), &mut go_on).unwrap_err();
        assert!(matches!(error, Error::Input { field: "image", .. }), "{error}");
        assert!(engine.identity(request).is_err());
        error.to_string()
    };
    let fixture = Fixture::open(GROUP, "base");
    let engine = fixture.engine();
    assert!(refused(&engine, &fixture.request()).contains("give one"));
    let turned = DenoiseRequest { width: 32, height: 48, ..request(&engine, &fixture) };
    assert!(refused(&engine, &turned).contains("another size"));

    let text = Fixture::open("v1_5", "base");
    let text_engine = text.engine();
    let with = DenoiseRequest { image: Some(first_frame(&engine, &fixture)), ..text.request() };
    assert!(refused(&text_engine, &with).contains("leave the picture out"));
    let given = text_engine.encode_picture(&picture(&fixture, "picture"), size(&fixture), &Control::new());
    assert!(matches!(given.unwrap_err(), Error::Input { field: "image", .. }));
}

#[test]
fn a_cancel_takes_effect_while_a_picture_is_encoded() {
    let fixture = Fixture::open(GROUP, "base");
    let engine = fixture.engine();
    let watched = Control::new();
    engine.encode_picture(&picture(&fixture, "picture"), size(&fixture), &watched).unwrap();
    assert!(watched.beats() > 5);
    for budget in 1..=watched.beats() {
        let control = Control::with_budget(budget);
        let error = engine.encode_picture(&picture(&fixture, "picture"), size(&fixture), &control).unwrap_err();
        assert!(matches!(error, Error::Cancelled), "{error}");
    }
}

#[test]
fn a_folder_chooses_the_size_for_a_picture_and_its_fingerprint_covers_what_reads_it() {
    let fixture = Fixture::open(GROUP, "base");
    let given = picture(&fixture, "picture");
    assert_eq!(Family::of(&fixture.model_dir).unwrap(), Family::V1_5Image);
    let chosen = Family::V1_5Image.size_for_picture(&fixture.model_dir, [given.width(), given.height()]).unwrap();
    assert_eq!(chosen, [fixture.case.width, fixture.case.height]);
    assert!(Family::V1_5.size_for_picture(&fixture.model_dir, [1, 1]).is_err());

    let folder = tempfile::tempdir().unwrap();
    let copy = |name: &str| {
        let (from, to) = (fixture.model_dir.join(name), folder.path().join(name));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
    };
    for entry in walk(&fixture.model_dir) {
        copy(&entry);
    }
    let info = |dir: &std::path::Path| {
        let options = EngineOptions { model_dir: dir.to_owned(), ..fixture.options() };
        Engine::load(&options).unwrap().info().clone()
    };
    let before = info(folder.path());
    assert_eq!(before.model_fingerprint, info(&fixture.model_dir).model_fingerprint);
    // Another text of the same configuration is another file.
    let path = folder.path().join("feature_extractor/preprocessor_config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}\n")).unwrap();
    let after = info(folder.path());
    assert_ne!(after.model_fingerprint, before.model_fingerprint);
    assert_eq!(after.encoder_fingerprint, before.encoder_fingerprint, "cached prompts stay valid");
}

/// The files below a folder, relative to it.
fn walk(root: &std::path::Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            files.extend(walk(&path).into_iter().map(|file| format!("{name}/{file}")));
        } else {
            files.push(name);
        }
    }
    files
}

#[test]
fn sixteen_bits_read_the_picture_in_sixteen_bits() {
    let fixture = Fixture::open(GROUP, "bf16");
    let engine = fixture.engine();
    let image = first_frame(&engine, &fixture);
    assert_eq!((image.states.kind(), image.latents.kind()), (Kind::BFloat16, Kind::BFloat16));
}
