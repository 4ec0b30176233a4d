//! Goal: a run whose early steps have half the size gives the same frames however it is cut, also exactly at the change of size, and
//! reports what it did.
//! Method: the default model, a few steps.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use domain::{Geometry, ModelManifest, ProgressiveMode, ProgressivePlan};
use testkit::repository;
use worker::engine::{
    Control, DeviceChoice, HunyuanRenderer, LoadOptions, RenderError, RenderEvent, RenderOrder, RenderedFrames,
    Renderer,
};

fn renderer() -> HunyuanRenderer {
    let options = LoadOptions {
        threads: Some(1),
        ..LoadOptions::new(repository().join("models/default"), DeviceChoice::Cpu, 1 << 33)
    };
    HunyuanRenderer::load(&options).unwrap()
}

/// Six steps, of which the manifest's rule takes three at 32x32.
fn early() -> ProgressivePlan {
    let text = std::fs::read_to_string(repository().join("models/default/fleet.toml")).unwrap();
    let manifest = ModelManifest::parse(&text).unwrap();
    let geometry = Geometry { ..manifest.geometry };
    let levels = manifest.progressive.unwrap();
    let plan = levels.plan(ProgressiveMode::Fast, [64, 64, 17], &geometry, (6, manifest.sampling.flow_shift)).unwrap();
    ProgressivePlan { step_share: 0.25, ..plan }
}

fn order(renderer: &mut HunyuanRenderer, progressive: Option<ProgressivePlan>) -> RenderOrder {
    RenderOrder {
        width: 64,
        height: 64,
        frames: 17,
        steps: 6,
        seed: 3,
        guidance: 6.0,
        flow_shift: 3.0,
        flow_reverse: true,
        step_cache_threshold: None,
        embeddings: renderer.encode("a large red ball moves to the right on the snow", &Control::new()).unwrap(),
        negative: None,
        first_frame: None,
        loras: Vec::new(),
        riflex: false,
        resume: None,
        checkpoint_every_s: 0.0,
        preview_every_s: 0.0,
        pause_after: None,
        continues: None,
        interpolate: 1,
        progressive,
        batch: None,
    }
}

fn render(renderer: &mut HunyuanRenderer, order: &RenderOrder) -> Result<RenderedFrames, RenderError> {
    renderer.render(order, &Control::new(), &mut |_| {})
}

#[test]
fn a_draft_at_the_change_and_around_it_is_continued_to_the_same_frames() {
    let mut renderer = renderer();
    let early = early();
    assert_eq!((early.width, early.height, early.steps), (32, 32, 3));
    let whole = order(&mut renderer, Some(early));
    let undisturbed = render(&mut renderer, &whole).unwrap();
    assert_eq!((undisturbed.steps_computed, undisturbed.lower), (6, [3, 0]));
    let plain = order(&mut renderer, None);
    let plain = render(&mut renderer, &plain).unwrap();
    assert!(plain.rgb != undisturbed.rgb && plain.lower == [0, 0]);
    for (until, side) in [(2, 8), (3, 8), (4, 16)] {
        let draft = match render(&mut renderer, &RenderOrder { pause_after: Some(until), ..whole.clone() }) {
            Err(RenderError::Paused(paused)) => *paused,
            other => panic!("{other:?}"),
        };
        let preview = draft.preview.as_ref().unwrap();
        assert_eq!((draft.step, preview.width, preview.height), (until, side, side));
        let continued =
            render(&mut renderer, &RenderOrder { resume: Some(draft.checkpoint), ..whole.clone() }).unwrap();
        assert!(continued.rgb == undisturbed.rgb, "paused after {until}");
        assert_eq!((continued.steps_computed, continued.lower), (6, [3, 0]));
    }
}

#[test]
fn a_run_that_is_stopped_at_the_change_goes_on_from_there() {
    let mut renderer = renderer();
    let whole = order(&mut renderer, Some(early()));
    let undisturbed = render(&mut renderer, &whole).unwrap();
    let control = Control::new();
    let stopped = renderer.render(&whole, &control, &mut |event| {
        if matches!(event, RenderEvent::Step { step: 3, .. }) {
            control.cancel();
        }
    });
    let Err(RenderError::Stopped { checkpoint: Some((3, bytes)) }) = stopped else { panic!("{stopped:?}") };
    let resumed = render(&mut renderer, &RenderOrder { resume: Some(bytes), ..whole }).unwrap();
    assert!(resumed.rgb == undisturbed.rgb);
}

/// A step at half the size takes a quarter of the time, so at the change four fifths of the time are left, not half.
#[test]
fn the_time_that_is_left_counts_the_larger_steps_to_come() {
    let mut renderer = renderer();
    let whole = order(&mut renderer, Some(early()));
    let mut steps = Vec::new();
    renderer
        .render(&whole, &Control::new(), &mut |event| {
            if let RenderEvent::Step { step, remaining_s, .. } = event {
                steps.push((step, remaining_s.unwrap()));
            }
        })
        .unwrap();
    let done = |step: u32| ProgressivePlan::weight(whole.progressive.as_ref(), step);
    assert!((done(3) - 0.75).abs() < 1e-9 && (done(6) - 3.75).abs() < 1e-9);
    assert!(steps[5].1.abs() < f64::EPSILON && steps[2].1 > 0.0, "{steps:?}");
}
