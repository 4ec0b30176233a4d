//! Goal: a draft that the real renderer pauses and continues gives the frames of a run that never paused, and its previews show what
//! the video will be.
//! Method: the default model, a few steps.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use domain::{DraftSchedule, StepCacheMode, StepCachePlan};
use testkit::repository;
use worker::engine::{
    Control, DeviceChoice, HunyuanRenderer, LoadOptions, Paused, RenderError, RenderEvent, RenderOrder, RenderedFrames,
    Renderer,
};
use worker::measure::measure;

fn renderer() -> HunyuanRenderer {
    let options = LoadOptions {
        threads: Some(1),
        ..LoadOptions::new(repository().join("models/default"), DeviceChoice::Cpu, 1 << 33)
    };
    HunyuanRenderer::load(&options).unwrap()
}

fn order(renderer: &mut HunyuanRenderer) -> RenderOrder {
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
        progressive: None,
        batch: None,
    }
}

fn render(renderer: &mut HunyuanRenderer, order: &RenderOrder) -> (Result<RenderedFrames, RenderError>, Vec<u32>) {
    let mut previews = Vec::new();
    let rendered = renderer.render(order, &Control::new(), &mut |event| {
        if let RenderEvent::Preview { step, .. } = event {
            previews.push(step);
        }
    });
    (rendered, previews)
}

fn paused(renderer: &mut HunyuanRenderer, order: &RenderOrder) -> Paused {
    match render(renderer, order).0 {
        Err(RenderError::Paused(paused)) => *paused,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_continued_draft_gives_the_frames_of_an_uninterrupted_run() {
    let mut renderer = renderer();
    let whole = order(&mut renderer);
    let undisturbed = render(&mut renderer, &whole).0.unwrap();

    let draft = paused(&mut renderer, &RenderOrder { pause_after: Some(2), ..whole.clone() });
    let preview = draft.preview.as_ref().unwrap();
    assert_eq!((draft.step, preview.width, preview.height, preview.frames), (2, 16, 16, 5));
    assert!(measure(preview).contrast > 0.02, "{:?}", measure(preview));
    // The last attempt stored the draft and was lost before the pause.
    let resume = Some(draft.checkpoint);
    let again = paused(&mut renderer, &RenderOrder { pause_after: Some(2), resume: resume.clone(), ..whole.clone() });
    assert_eq!((again.step, &again.preview), (2, &draft.preview));

    let continued = render(&mut renderer, &RenderOrder { resume: resume.clone(), ..whole.clone() }).0.unwrap();
    assert!(continued.rgb == undisturbed.rgb, "the frames differ");
    assert_eq!(continued.steps_computed, 6);

    // With a finer schedule it is another video, the same from its draft on as from noise.
    let step_cache = StepCachePlan { mode: StepCacheMode::Off, threshold: 0.0 };
    let schedule = DraftSchedule { steps: 6, after: 2, then: 9, step_cache, lower_steps: None };
    let finer = RenderOrder { steps: schedule.total(), continues: Some(schedule), ..whole };
    let from_draft = render(&mut renderer, &RenderOrder { resume, ..finer.clone() }).0.unwrap();
    let from_noise = render(&mut renderer, &finer).0.unwrap();
    assert!(from_draft.rgb == from_noise.rgb && from_noise.rgb != undisturbed.rgb);
    assert_eq!(from_draft.steps_computed, schedule.total());
}

#[test]
fn previews_come_only_when_they_are_wanted_and_change_no_frame() {
    let mut renderer = renderer();
    let without = order(&mut renderer);
    let (plain, none) = render(&mut renderer, &without);
    // As often as the share of the time allows.
    let (shown, previews) = render(&mut renderer, &RenderOrder { preview_every_s: 0.001, ..without });
    assert!(none.is_empty() && !previews.is_empty() && previews.iter().all(|step| *step < 6), "{previews:?}");
    assert!(plain.unwrap().rgb == shown.unwrap().rgb);
}
