//! Goal: a video that is interpolated keeps the frames of one that is not, also after a resume; and a worker that cannot do it
//! says so instead of delivering something else.
//! Method: the default model with a small network of random weights.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use testkit::repository;
use worker::engine::{
    Control, DeviceChoice, HunyuanRenderer, LoadOptions, RenderError, RenderEvent, RenderOrder, RenderedFrames,
    Renderer,
};

fn renderer(interpolates: bool) -> HunyuanRenderer {
    let weights = repository().join("crates/hunyuan/tests/fixtures/interpolation/small");
    let options = LoadOptions {
        threads: Some(1),
        interpolator_dir: interpolates.then_some(weights),
        ..LoadOptions::new(repository().join("models/default"), DeviceChoice::Cpu, 1 << 33)
    };
    HunyuanRenderer::load(&options).unwrap()
}

fn order(renderer: &mut HunyuanRenderer, interpolate: u32) -> RenderOrder {
    RenderOrder {
        width: 64,
        height: 64,
        frames: 17,
        steps: 3,
        seed: 3,
        guidance: 6.0,
        flow_shift: 3.0,
        flow_reverse: true,
        step_cache_threshold: None,
        embeddings: renderer.encode("a large red ball moves to the right on the snow", &Control::new()).unwrap(),
        negative: None,
        loras: Vec::new(),
        riflex: false,
        resume: None,
        checkpoint_every_s: 0.0,
        preview_every_s: 0.0,
        pause_after: None,
        continues: None,
        interpolate,
        progressive: None,
        batch: None,
        first_frame: None,
    }
}

/// Renders; `control` is cancelled when the interpolation begins if `stop` says so.
fn render(
    renderer: &mut HunyuanRenderer,
    order: &RenderOrder,
    stop: bool,
) -> (Result<RenderedFrames, RenderError>, Vec<&'static str>) {
    let (control, mut stages) = (Control::new(), Vec::new());
    let rendered = renderer.render(order, &control, &mut |event| match event {
        RenderEvent::Decoding => stages.push("decode"),
        RenderEvent::Interpolating => {
            stages.push("interpolate");
            if stop {
                control.cancel();
            }
        }
        _ => {}
    });
    (rendered, stages)
}

#[test]
fn the_frames_of_the_model_keep_their_bytes_and_a_resumed_run_gives_the_same_video() {
    let mut renderer = renderer(true);
    let plain = order(&mut renderer, 1);
    let (own, stages) = render(&mut renderer, &plain, false);
    let own = own.unwrap();
    assert_eq!((stages, own.interpolation), (vec!["decode"], None));
    let smooth = RenderOrder { interpolate: 4, ..plain };
    let (made, stages) = render(&mut renderer, &smooth, false);
    let made = made.unwrap();
    assert_eq!(stages, ["decode", "interpolate"]);
    let size = 64 * 64 * 3;
    assert_eq!(made.rgb.len(), 65 * size);
    let kept: Vec<u8> = made.rgb.chunks(size).step_by(4).flat_map(|frame| frame.iter().copied()).collect();
    assert!(kept == own.rgb, "a frame of the model has other bytes");
    let done = made.interpolation.unwrap();
    assert_eq!((done.factor, done.cuts, done.weights.len()), (4, 0, 64));

    let paused = RenderOrder { pause_after: Some(2), ..smooth.clone() };
    let Err(RenderError::Paused(draft)) = render(&mut renderer, &paused, false).0 else { panic!("no draft") };
    let resumed = RenderOrder { resume: Some(draft.checkpoint), ..smooth };
    assert!(render(&mut renderer, &resumed, false).0.unwrap().rgb == made.rgb);
}

#[test]
fn a_stop_takes_effect_and_a_worker_without_weights_refuses_before_it_renders() {
    let mut able = renderer(true);
    let wanted = order(&mut able, 2);
    let (stopped, stages) = render(&mut able, &wanted, true);
    assert!(matches!(stopped, Err(RenderError::Stopped { .. })), "{stopped:?}");
    assert_eq!(stages, ["decode", "interpolate"]);

    let (refused, stages) = render(&mut renderer(false), &wanted, false);
    let Err(RenderError::Failed { failure, .. }) = refused else { panic!("{refused:?}") };
    assert!(failure.code == "no_interpolator" && failure.reason.contains("scripts/fetch-interpolator"), "{failure:?}");
    assert!(stages.is_empty(), "nothing was rendered first");

    let nowhere = LoadOptions {
        interpolator_dir: Some(repository().join("models/nowhere")),
        ..LoadOptions::new(repository().join("models/default"), DeviceChoice::Cpu, 1 << 33)
    };
    let error = format!("{:#}", HunyuanRenderer::load(&nowhere).err().unwrap());
    assert!(error.contains("models/nowhere") && error.contains("scripts/fetch-interpolator"), "{error}");
}
