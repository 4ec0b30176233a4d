//! `worker fit-preview`: finds the factors that turn the latents of a model folder's VAE into colours, for previews.
//!
//! It renders a few of the model's own example prompts and fits the factors to them; the last videos are held out and tell how
//! good the previews will be.

use std::{io::Write, ops::ControlFlow, path::PathBuf, time::Instant};

use anyhow::{Context, ensure};
use clap::Args;
use domain::ModelManifest;
use hunyuan::runtime::preview::FILE;
use hunyuan::{Control, DenoiseRequest, DeviceChoice, Engine, EngineOptions, LatentRgb, Latents};
use tch::Tensor;

/// Find the preview factors of a model folder's VAE and write them into the folder
#[derive(Debug, Args)]
pub struct FitPreviewArgs {
    /// Model folder with a fleet.toml that has examples
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Videos to render; a quarter of them is held out
    #[arg(long, value_name = "N", default_value_t = 8)]
    videos: usize,
    /// Denoising steps of each
    #[arg(long, value_name = "N", default_value_t = 15)]
    steps: usize,
    /// Device: auto, cpu or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: DeviceChoice,
}

/// Renders, fits, writes `latent_rgb.json`, and prints how well the held-out videos are matched.
///
/// # Errors
/// A folder that does not load or names no examples; videos that do not determine the factors.
pub fn run(args: &FitPreviewArgs) -> anyhow::Result<()> {
    ensure!(args.videos >= 4, "--videos must be at least 4, so that one can be held out");
    let path = args.model.join("fleet.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let manifest = ModelManifest::parse(&text)?;
    ensure!(!manifest.examples.is_empty(), "{} names no examples to render", path.display());
    let engine = Engine::load(&EngineOptions { device: args.device, ..EngineOptions::new(&args.model) })?;
    let videos = (0..args.videos)
        .map(|index| render(&engine, &manifest, args.steps, index))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let (fitted, held_out) = videos.split_at(args.videos - args.videos / 4);
    let geometry = engine.info().geometry;
    let factors = LatentRgb::fit(fitted, geometry.spatial, geometry.temporal).context("fit the factors")?;
    let out = args.model.join(FILE);
    let rounded = rounded(&factors);
    std::fs::write(&out, format!("{rounded}\n")).with_context(|| format!("write {}", out.display()))?;
    let matched = held_out
        .iter()
        .map(|(latents, frames)| factors.psnr_db(latents, frames, geometry.spatial, geometry.temporal))
        .collect::<hunyuan::Result<Vec<_>>>()?;
    let begun = Instant::now();
    factors.frames(&videos[0].0.tensor)?;
    let mean = matched.iter().sum::<f64>() / matched.len() as f64;
    let least = matched.iter().copied().fold(f64::INFINITY, f64::min);
    let line = format!(
        "{}: {} videos fitted; {} held out are matched to {mean:.1} dB (least {least:.1}); a preview takes {:.2} ms\n",
        out.display(),
        fitted.len(),
        held_out.len(),
        begun.elapsed().as_secs_f64() * 1000.0
    );
    std::io::stdout().write_all(line.as_bytes()).context("print the result")
}

/// Latents and frames of one of the model's examples.
fn render(engine: &Engine, manifest: &ModelManifest, steps: usize, index: usize) -> anyhow::Result<(Latents, Tensor)> {
    let control = Control::new();
    let prompt = manifest.examples[index % manifest.examples.len()].as_str();
    let embeddings = engine.encode(&[prompt], &control)?.pop().context("the encoder returned nothing")?;
    let size = manifest.sizes.first().and_then(|size| size.aspects.first()).context("fleet.toml names no size")?;
    let request = DenoiseRequest {
        width: i64::from(size.width),
        height: i64::from(size.height),
        frames: i64::from(manifest.length.rendered_at_max),
        steps,
        flow_shift: Some(manifest.sampling.flow_shift),
        ..DenoiseRequest::new(engine.defaults(), embeddings, index as u64)
    };
    let denoised = engine.denoise(&request, None, &control, &mut |_| ControlFlow::Continue(()))?;
    let frames = engine.decode(&denoised.latents, &control, &mut |_, _| {})?;
    Ok((denoised.latents, frames.tensor().shallow_clone()))
}

/// The factors to four decimals, as JSON: more of them change no byte of a preview.
fn rounded(factors: &LatentRgb) -> String {
    let row = |row: &[f64; 3]| format!("[{:.4}, {:.4}, {:.4}]", row[0], row[1], row[2]);
    let rows: Vec<String> = factors.weights.iter().map(|weights| format!("    {}", row(weights))).collect();
    format!("{{\n  \"weights\": [\n{}\n  ],\n  \"bias\": {}\n}}", rows.join(",\n"), row(&factors.bias))
}
