//! A run that is cancelled or fails stops where it should, says why, and leaves the engine as it was.

use std::ops::ControlFlow;

use hunyuan::v1::text::{POOLED, PROMPT};
use hunyuan::{
    Control, DenoiseRequest, Error,
    v1::transformer::{Transformer, VideoShape},
};
use tch::Kind;

use crate::fixture::{Fixture, decode, denoise, go_on, narrowed, small};

#[test]
fn a_cancel_takes_effect_at_the_next_block() {
    let fixture = Fixture::open("base");
    let engine = fixture.engine();
    let request = small(&fixture, 2, 1);
    let (per_forward, per_tile) = engine.checks();
    let config = fixture.config().transformer;
    assert!(per_forward > u64::try_from(config.num_layers + config.num_single_layers).unwrap());
    let undisturbed = Control::new();
    let whole = engine.denoise(&request, None, &undisturbed, &mut go_on).unwrap();
    // One more check a step is the loop's own.
    assert_eq!(undisturbed.beats(), 2 * (per_forward + 1));
    for budget in 1..=undisturbed.beats() {
        let control = Control::with_budget(budget);
        let error = engine.denoise(&request, None, &control, &mut go_on).unwrap_err();
        assert!(matches!(error, Error::Cancelled), "{error}");
        assert_eq!(control.beats(), budget, "nothing is checked, so nothing runs, after the cancel");
    }
    let watched = Control::new();
    let frames = engine.decode(&whole.latents, &watched, &mut |_, _| {}).unwrap();
    assert_eq!(watched.beats(), per_tile);
    for budget in 1..=per_tile {
        let control = Control::with_budget(budget);
        let error = engine.decode(&whole.latents, &control, &mut |_, _| {}).unwrap_err();
        assert!(matches!(error, Error::Cancelled), "{error}");
        assert_eq!(control.beats(), budget);
    }
    assert!(denoise(&engine, &request).latents.tensor.equal(&whole.latents.tensor));
    assert!(decode(&engine, &whole.latents).tensor().equal(frames.tensor()));
}

#[test]
fn a_caller_can_stop_at_a_step_with_its_checkpoint() {
    let fixture = Fixture::open("base");
    let engine = fixture.engine();
    let request = small(&fixture, 3, 1);
    let mut saved = None;
    let error = engine
        .denoise(&request, None, &Control::new(), &mut |end| {
            saved = Some(end.checkpoint());
            if end.step == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap_err();
    assert!(matches!(error, Error::Cancelled));
    let saved = saved.unwrap();
    assert_eq!(saved.step, 2);
    let resumed = engine.denoise(&request, Some(&saved), &Control::new(), &mut go_on).unwrap();
    assert!(resumed.latents.tensor.equal(&denoise(&engine, &request).latents.tensor));
}

#[test]
fn an_absurd_size_is_out_of_memory_and_the_next_render_works() {
    let fixture = Fixture::open("base");
    let engine = fixture.engine();
    let request = small(&fixture, 2, 1);
    let before = denoise(&engine, &request);
    let mut absurd = small(&fixture, 2, 1);
    (absurd.width, absurd.height, absurd.frames) = (1 << 20, 1 << 20, 1025);
    let error = engine.denoise(&absurd, None, &Control::new(), &mut go_on).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    assert!(denoise(&engine, &request).latents.tensor.equal(&before.latents.tensor));
}

#[test]
fn the_allocators_own_refusal_is_out_of_memory_too() {
    let fixture = Fixture::open("base");
    let config = fixture.config().transformer;
    let network = fixture.network("transformer", Kind::Float, |loader| Transformer::load(loader, &config));
    let embeddings = fixture.embeddings();
    let condition = |side: i64| {
        network.condition(
            embeddings.get(PROMPT).unwrap(),
            embeddings.get(POOLED).unwrap(),
            &[6.0],
            &VideoShape { latents: [config.in_channels, 1, side, side], full: [side, side], stretch: false },
        )
    };
    let error = condition(1 << 21).unwrap_err();
    assert!(matches!(&error, Error::OutOfMemory { .. }), "{error}");
    assert!(!error.to_string().contains('\n'), "no C++ stack for people: {error}");
    condition(4).unwrap();
}

#[test]
fn requests_that_cannot_be_are_refused_by_field() {
    let fixture = Fixture::open("base");
    let engine = fixture.engine();
    let refused = |edit: &dyn Fn(&mut DenoiseRequest)| {
        let mut request = small(&fixture, 2, 1);
        edit(&mut request);
        match engine.denoise(&request, None, &Control::new(), &mut go_on).unwrap_err() {
            Error::Input { field, .. } => field,
            other => panic!("{other}"),
        }
    };
    assert_eq!(refused(&|request| request.width = 40), "width");
    assert_eq!(refused(&|request| request.frames = 6), "frames");
    assert_eq!(refused(&|request| request.steps = 0), "steps");
    assert_eq!(refused(&|request| request.guidance = f64::NAN), "guidance");
    assert_eq!(refused(&|request| request.flow_shift = Some(-1.0)), "flow_shift");
    let narrow = |request: &mut DenoiseRequest| {
        request.embeddings = narrowed(&request.embeddings, 2, 0, 8);
    };
    assert_eq!(refused(&narrow), "prompt_embeds");
    denoise(&engine, &small(&fixture, 1, 1));
}
