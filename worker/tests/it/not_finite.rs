//! Goal: values that leave the range of a 16-bit format never become a video. Where the device has room for the model in fp32 the
//! run is computed again in it; where it has none, the run fails and says at which stage and step.
//! Method: a fixture whose last projection is enlarged, so that its velocity fits into fp32 and not into fp16.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::path::{Path, PathBuf};

use tch::{Kind, Tensor};
use worker::engine::{
    Control, DeviceChoice, Dtype, HunyuanRenderer, LoadOptions, RenderError, RenderEvent, RenderOrder, RenderedFrames,
    Renderer,
};

/// The fixture's folder with one weight of the transformer changed.
fn model(folder: &Path, change: impl Fn(&Tensor) -> Tensor) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/hunyuan/tests/fixtures/base/model");
    let status = std::process::Command::new("cp").arg("-r").arg(&from).arg(folder).status().unwrap();
    assert!(status.success());
    let path = folder.join("model/transformer/diffusion_pytorch_model.safetensors");
    let tensors: Vec<(String, Tensor)> = Tensor::read_safetensors(&path)
        .unwrap()
        .into_iter()
        .map(|(name, tensor)| if name == "proj_out.weight" { (name, change(&tensor)) } else { (name, tensor) })
        .collect();
    let named: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    Tensor::write_safetensors(&named, &path).unwrap();
    folder.join("model")
}

/// A few steps in fp16, and why they began again.
fn render(model: &Path, memory_bytes: u64) -> (Result<RenderedFrames, RenderError>, Vec<Option<String>>) {
    let options = LoadOptions {
        dtype: Some(Dtype::F16),
        encoder_dtype: Some(Dtype::F32),
        threads: Some(1),
        ..LoadOptions::new(model, DeviceChoice::Cpu, memory_bytes)
    };
    let mut renderer = HunyuanRenderer::load(&options).unwrap();
    let control = Control::new();
    let order = RenderOrder {
        width: 32,
        height: 32,
        frames: 5,
        steps: 3,
        seed: 1,
        guidance: 6.0,
        flow_shift: 7.0,
        flow_reverse: true,
        step_cache_threshold: None,
        embeddings: renderer.encode("a cat", &control).unwrap(),
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
    };
    let mut starts = Vec::new();
    let rendered = renderer.render(&order, &control, &mut |event| {
        if let RenderEvent::Started { restarted_because, .. } = event {
            starts.push(restarted_because);
        }
    });
    (rendered, starts)
}

fn failure(rendered: Result<RenderedFrames, RenderError>) -> (String, String) {
    match rendered {
        Err(RenderError::Failed { failure, .. }) => (failure.code, failure.reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_run_that_leaves_fp16_is_computed_again_in_fp32() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path(), |weight| weight.to_kind(Kind::Float) * 60_000.0);
    let (rendered, starts) = render(&model, 1 << 40);
    let frames = rendered.unwrap();
    assert_eq!(frames.rgb.len(), 32 * 32 * 5 * 3);
    assert_eq!(starts.len(), 2);
    let why = starts[1].as_deref().unwrap();
    assert!(why.contains("step 1") && why.contains("fp32"), "{why}");

    let (rendered, starts) = render(&model, 1 << 10);
    let (code, reason) = failure(rendered);
    assert_eq!((code.as_str(), starts.len()), ("not_finite", 1));
    assert!(reason.contains("denoising") && reason.contains("step 1"), "{reason}");
}

#[test]
fn a_weight_that_is_not_a_number_fails_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(folder.path(), |weight| {
        let damaged = weight.copy();
        let _ = damaged.view(-1).narrow(0, 3, 1).fill_(f64::NAN);
        damaged
    });
    let (rendered, starts) = render(&model, 1 << 40);
    let (code, reason) = failure(rendered);
    assert_eq!((code.as_str(), starts.len()), ("not_finite", 2));
    assert!(reason.contains("denoising"), "{reason}");
}
