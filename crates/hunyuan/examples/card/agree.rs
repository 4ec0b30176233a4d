//! Every committed fixture on one device against what the reference recorded: first prediction, latents, frames.

use std::{collections::BTreeMap, ops::ControlFlow, path::Path};

use hunyuan::{
    Control, Defaults, DenoiseRequest, DeviceChoice, Dtype, Embeddings, Engine, EngineOptions, Error, Result, Tiling,
};
use serde::Deserialize;
use serde_json::json;
use tch::{Device, Kind, Tensor};

/// Largest distances of fp32 cases, for values of order one, and least frames' agreement, dB.
const NOISE_PRED: f64 = 1e-4;
const LATENTS: f64 = 1e-3;
const FRAMES_DB: f64 = 60.0;
const HALF_FRAMES_DB: f64 = 35.0;
/// A GPU's fp32 convolutions and products round otherwise than the CPU that recorded the fixtures.
const GPU_TOLERANCE: f64 = 10.0;

/// The request that the reference ran.
#[derive(Debug, Deserialize)]
struct Case {
    model: String,
    prompt: String,
    negative_prompt: Option<String>,
    true_cfg_scale: f64,
    width: i64,
    height: i64,
    frames: i64,
    steps: usize,
    guidance: f64,
    flow_shift: Option<f64>,
    flow_reverse: bool,
    seed: u64,
    dtype: String,
}

/// `agree FIXTURES DEVICE`.
pub(crate) fn run(fixtures: &str, device: DeviceChoice) -> Result<()> {
    let read = |source| Error::Read { path: fixtures.into(), source };
    let mut folders: Vec<_> = std::fs::read_dir(fixtures).map_err(read)?.flatten().map(|entry| entry.path()).collect();
    folders.sort();
    for folder in folders {
        // Folders that hold prompts only describe no video.
        let text = std::fs::read_to_string(folder.join("case.json")).unwrap_or_default();
        if let Ok(case) = serde_json::from_str::<Case>(&text) {
            compare(&folder, &case, device)?;
        }
    }
    Ok(())
}

fn compare(folder: &Path, case: &Case, device: DeviceChoice) -> Result<()> {
    let reference: BTreeMap<String, Tensor> =
        Tensor::read_safetensors(folder.join("reference.safetensors"))?.into_iter().collect();
    let dtype: Dtype = case.dtype.parse().map_err(|error: String| Error::input("dtype", error))?;
    let options = EngineOptions {
        device,
        dtype: Some(dtype),
        tiling: Tiling::Off,
        ..EngineOptions::new(folder.join(&case.model))
    };
    let engine = Engine::load(&options)?;
    let control = Control::new();
    let mut encoded = engine.encode(&[&case.prompt, case.negative_prompt.as_deref().unwrap_or_default()], &control)?;
    let negative = encoded.pop().filter(|_| case.negative_prompt.is_some());
    let prompt = encoded.pop().ok_or_else(|| Error::input("prompt", "was not encoded"))?;
    let embeddings = distance(prompt.get("prompt_embeds")?, reference.get("prompt_embeds"))?;
    let request = request(engine.defaults(), case, prompt, negative);
    let mut first = None;
    let done = engine.denoise(&request, None, &control, &mut |end| {
        first = first.take().or_else(|| end.velocity().map(Tensor::shallow_clone));
        ControlFlow::Continue(())
    })?;
    let first = first.ok_or_else(|| Error::input("steps", "no step was done"))?;
    let noise_pred = distance(&first, reference.get("noise_pred_0"))?;
    let latents = distance(&done.latents.tensor, reference.get("latents"))?;
    let frames = engine.decode(&done.latents, &control, &mut |_, _| {})?;
    let frames_db = psnr(frames.tensor(), reference.get("frames"))?;
    let factor = if device == DeviceChoice::Cpu { 1.0 } else { GPU_TOLERANCE };
    let ok = match dtype {
        Dtype::F32 => {
            let within = |found: Option<f64>, most: f64| found.is_none_or(|found| found <= most * factor);
            within(noise_pred, NOISE_PRED) && within(latents, LATENTS) && frames_db >= FRAMES_DB
        }
        Dtype::Bf16 | Dtype::F16 => frames_db >= HALF_FRAMES_DB,
    };
    crate::tell(&json!({
        "item": folder.file_name().map(|name| name.to_string_lossy()), "dtype": case.dtype, "prompt_embeds": embeddings,
        "noise_pred_0": noise_pred, "latents": latents, "frames_db": frames_db, "ok": ok,
    }))
}

fn request(defaults: &Defaults, case: &Case, prompt: Embeddings, negative: Option<Embeddings>) -> DenoiseRequest {
    DenoiseRequest {
        width: case.width,
        height: case.height,
        frames: case.frames,
        steps: case.steps,
        guidance: case.guidance,
        flow_shift: case.flow_shift,
        flow_reverse: case.flow_reverse,
        negative: negative.map(|negative| (negative, case.true_cfg_scale)),
        ..DenoiseRequest::new(defaults, prompt, case.seed)
    }
}

/// Largest absolute difference; none where the reference recorded nothing of this shape.
fn distance(found: &Tensor, wanted: Option<&Tensor>) -> Result<Option<f64>> {
    let Some(wanted) = wanted.filter(|wanted| wanted.size() == found.size()) else { return Ok(None) };
    let found = found.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?;
    Ok(Some(found.f_sub(&wanted.f_to_kind(Kind::Float)?)?.f_abs()?.f_max()?.f_double_value(&[])?))
}

/// Peak signal to noise ratio of values in 0..1, dB; 0 where there is nothing to compare with, which never passes.
fn psnr(found: &Tensor, wanted: Option<&Tensor>) -> Result<f64> {
    let Some(wanted) = wanted.filter(|wanted| wanted.numel() == found.numel()) else { return Ok(0.0) };
    let found = found.f_to_device(Device::Cpu)?.f_to_kind(Kind::Double)?;
    let wanted = wanted.f_to_kind(Kind::Double)?.f_reshape(found.size())?;
    let error = found.f_sub(&wanted)?.f_square()?.f_mean(Kind::Double)?.f_double_value(&[])?;
    Ok((-10.0 * error.max(1e-20).log10()).min(200.0))
}
