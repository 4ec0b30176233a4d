//! Videos that begin from a picture: `worker render --image` against what diffusers made of the same file, and the renderer of the fleet with
//! pictures that are right, wrong, absent, or others than those of a saved state.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use domain::{FailureAction, ImageInput};
use tch::{Kind, Tensor};
use worker::engine::{
    Control, DeviceChoice, FirstFrame, HunyuanRenderer, LoadOptions, RenderError, RenderEvent, RenderOrder,
    RenderedFrames, Renderer,
};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/hunyuan/tests/fixtures").join(name)
}

fn renderer(model: &Path) -> HunyuanRenderer {
    HunyuanRenderer::load(&LoadOptions { threads: Some(1), ..LoadOptions::new(model, DeviceChoice::Cpu, 1 << 33) })
        .unwrap()
}

/// A picture of one colour that changes to the right.
fn picture(red: u8) -> Option<Arc<FirstFrame>> {
    let rgb = (0..40_u8).flat_map(move |_| (0..72_u8).flat_map(move |column| [red, 3 * column, 90])).collect();
    Some(Arc::new(FirstFrame { width: 72, height: 40, rgb }))
}

fn order(renderer: &mut HunyuanRenderer, first_frame: Option<Arc<FirstFrame>>) -> RenderOrder {
    RenderOrder {
        width: 48,
        height: 32,
        frames: 5,
        steps: 3,
        seed: 1,
        guidance: 6.0,
        flow_shift: 5.0,
        flow_reverse: true,
        step_cache_threshold: None,
        embeddings: renderer.encode("a cat with a sign that says \"Hello\"", &Control::new()).unwrap(),
        negative: Some((renderer.encode("", &Control::new()).unwrap(), 6.0)),
        first_frame,
        loras: Vec::new(),
        riflex: false,
        resume: None,
        // Each step is worth storing.
        checkpoint_every_s: f64::MIN_POSITIVE,
        preview_every_s: 0.0,
        pause_after: None,
        continues: None,
        interpolate: 1,
        progressive: None,
        batch: None,
    }
}

/// A run with the reason why it did not continue, and its checkpoints.
struct Run {
    rendered: Result<RenderedFrames, RenderError>,
    restarted_because: Option<String>,
    resumed_from: u32,
    checkpoints: Vec<Vec<u8>>,
}

fn run(renderer: &mut HunyuanRenderer, order: &RenderOrder) -> Run {
    let (mut why, mut from, mut checkpoints) = (None, 0, Vec::new());
    let rendered = renderer.render(order, &Control::new(), &mut |event| match event {
        RenderEvent::Started { resumed_from, restarted_because } => (from, why) = (resumed_from, restarted_because),
        RenderEvent::Checkpoint { bytes, .. } => checkpoints.push(bytes),
        _ => {}
    });
    Run { rendered, restarted_because: why, resumed_from: from, checkpoints }
}

#[test]
fn a_file_becomes_the_video_that_the_reference_makes_of_it() {
    let base = fixture("v1_5_i2v/base");
    let case: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(base.join("case.json")).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_worker"))
        .args(["render", "--threads", "1", "--dtype", "f32", "--dump", "dump.safetensors", "--prompt"])
        .arg(case["prompt"].as_str().unwrap())
        .args(["--frames", "5", "--steps", "2", "--model"])
        .arg(base.join("model"))
        .arg("--image")
        .arg(base.join("picture.png"))
        .current_dir(folder.path())
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}{}", String::from_utf8_lossy(&output.stderr));
    assert!(report.starts_with("48x32") && report.contains("\npicture "), "{report}");
    let read = |path: PathBuf| Tensor::read_safetensors(path).unwrap();
    let (dump, reference) = (read(folder.path().join("dump.safetensors")), read(base.join("reference.safetensors")));
    let named = |tensors: &[(String, Tensor)], name: &str| {
        tensors.iter().find(|(found, _)| found == name).unwrap().1.to_kind(Kind::Double)
    };
    for (name, limit) in [("image_embeds", 1e-4), ("image_latents", 1e-4), ("noise_pred_0", 1e-4), ("latents", 1e-3)] {
        let difference = (named(&dump, name) - named(&reference, name)).abs().max().double_value(&[]);
        assert!(difference <= limit, "{name} differs by {difference:.1e}");
    }
}

#[test]
fn a_run_continues_with_its_picture_and_starts_again_with_another() {
    let mut renderer = renderer(&fixture("v1_5_i2v/base/model"));
    assert_eq!(renderer.info().image, ImageInput::Required);
    let mut order = order(&mut renderer, picture(10));
    let whole = run(&mut renderer, &order);
    let wanted = whole.rendered.unwrap().rgb;
    let saved = whole.checkpoints.into_iter().next().unwrap();
    order.resume = Some(saved);
    let resumed = run(&mut renderer, &order);
    assert_eq!((resumed.resumed_from, resumed.restarted_because), (1, None));
    assert!(resumed.rendered.unwrap().rgb == wanted, "the same bytes");

    order.first_frame = picture(200);
    let other = run(&mut renderer, &order);
    let why = other.restarted_because.unwrap();
    assert!(other.resumed_from == 0 && why.starts_with("image is"), "{why}");
    assert!(other.rendered.unwrap().rgb != wanted);
}

#[test]
fn a_picture_that_is_absent_or_unwanted_fails_the_job_by_name() {
    let mut of_pictures = renderer(&fixture("v1_5_i2v/base/model"));
    let mut of_text = renderer(&fixture("v1_5/base/model"));
    assert_eq!(of_text.info().image, ImageInput::None);
    let reason = |renderer: &mut HunyuanRenderer, first_frame| {
        let order = order(renderer, first_frame);
        match run(renderer, &order).rendered {
            Err(RenderError::Failed { failure, action: FailureAction::Fail }) if failure.code == "invalid_request" => {
                failure.reason
            }
            other => panic!("{other:?}"),
        }
    };
    assert!(reason(&mut of_pictures, None).starts_with("image: this model makes a video from a picture"));
    assert!(reason(&mut of_text, picture(1)).starts_with("image: this model makes videos from text alone"));
    let short = Some(Arc::new(FirstFrame { width: 72, height: 40, rgb: vec![0; 5] }));
    assert!(reason(&mut of_pictures, short).starts_with("image: 5 bytes do not fill 72x40"));
}
