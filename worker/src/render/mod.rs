//! `worker render`: one video from a model folder, without a fleet.
//!
//! The steps of a job: load, encode, denoise, decode, interpolate, write. Values that are not given come from the folder's
//! `fleet.toml` if it has one, then from the checkpoint's own files, then from the reference's defaults.

mod args;
mod dump;
mod progress;
mod report;
mod request;
mod thresholds;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use hunyuan::{AdapterUse, Control, Engine, EngineOptions};
use tch::Tensor;

pub use self::args::RenderArgs;
use self::{dump::Dump, progress::Progress, report::Report, request::Resolved, thresholds::Whole};
use crate::engine::RANK_LIMIT;
use crate::mp4::{Clip, Encoder};
use crate::ranks::{Plan, Ranks};

/// Longest time without progress of ffmpeg.
const FFMPEG_STALL: Duration = Duration::from_secs(60);

/// Renders the video and prints what it took.
///
/// # Errors
/// Whatever stops it, as a sentence that names what to change.
pub fn run(args: &RenderArgs) -> anyhow::Result<()> {
    let mut report = Report::default();
    let control = Control::new();
    let resolved = Resolved::new(args)?;
    let options = args.engine_options()?;
    let mut engine = report.stage("load", || Engine::load(&options)).context("load the model")?;
    let plan = plan(args, options);
    let start = |plan: &Plan| report.stage("devices", || Ranks::start(plan, &mut engine, &control));
    // They end with this command.
    let _ranks = plan.as_ref().map(start).transpose().context("--devices")?;
    if !args.loras.is_empty() {
        report.stage("adapters", || activate(&mut engine, &args.loras, &control)).context("use the adapters")?;
    }
    let interpolator = (args.interpolate > 1)
        .then(|| report.stage("network", || engine.interpolator(&args.interpolator)))
        .transpose()
        .context("load the interpolator; `scripts/fetch-interpolator` fetches it")?;
    let mut dump = args.dump.as_ref().map(|_| Dump::default());

    let embeddings = report.stage("encode", || resolved.encode(&engine, &control)).context("encode the prompt")?;
    let image = if resolved.has_picture() {
        report.stage("picture", || resolved.first_frame(&engine, &control)).context("encode the picture")?
    } else {
        None
    };
    let mut request = resolved.denoise_request(embeddings, image);
    if let Some(dump) = &mut dump {
        dump.start(&engine, &request)?;
    }

    let progress = Progress::new("step", request.steps);
    let begun = Instant::now();
    let mut first_velocity: Option<Tensor> = None;
    let mut step_seconds = Vec::new();
    let denoised = report
        .stage("denoise", || {
            engine.denoise(&request, None, &control, &mut |end| {
                if end.step == 1 {
                    first_velocity = end.velocity().map(Tensor::shallow_clone);
                }
                step_seconds.push(end.seconds);
                progress.step(end.step, &format!("{:.2} s{}", end.seconds, if end.skipped { ", reused" } else { "" }));
                ControlFlow::Continue(())
            })
        })
        .context("denoise")?;
    let seconds = begun.elapsed().as_secs_f64();
    progress.finish();
    report.steps(&step_seconds, denoised.counts.skipped, denoised.counts.lower.iter().sum());

    let progress = Progress::new("decode", 0);
    let frames = report
        .stage("decode", || engine.decode(&denoised.latents, &control, &mut |done, total| progress.part(done, total)))
        .context("decode")?;
    progress.finish();

    let rgb = match &interpolator {
        None => frames.rgb8()?,
        Some(interpolator) => {
            let progress = Progress::new("frame", 0);
            let on_frame = &mut |done, total| progress.part(done, total);
            let made =
                report.stage("between", || interpolator.interpolate(&frames, args.interpolate, &control, on_frame));
            progress.finish();
            made.context("interpolate")?.rgb
        }
    };
    if let Some(out) = &args.out {
        report.stage("write", || write(args, &resolved, &rgb, out))?;
    }
    if let (Some(dump), Some(path)) = (dump, &args.dump) {
        dump.finish(first_velocity.as_ref(), &denoised.latents.tensor, frames.tensor(), path)?;
    }
    let whole = Whole { frames: &frames, seconds };
    report.thresholds = thresholds::compare(&engine, &mut request, &whole, &args.step_cache_thresholds)?;
    report.print(&resolved, engine.info(), engine.peak_memory_bytes(), args.out.as_deref())
}

/// How the processes of several devices are started.
fn plan(args: &RenderArgs, options: EngineOptions) -> Option<Plan> {
    let devices = args.devices.as_ref().map(|devices| devices.0.clone()).filter(|devices| devices.len() > 1)?;
    Some(Plan { devices, limit: RANK_LIMIT, options })
}

/// Opens the adapters and merges them into the weights.
fn activate(engine: &mut Engine, loras: &[(PathBuf, f64)], control: &Control) -> hunyuan::Result<()> {
    let opened = loras.iter().map(|(path, scale)| Ok((engine.open_adapter(path)?, *scale)));
    let opened = opened.collect::<hunyuan::Result<Vec<_>>>()?;
    let uses: Vec<AdapterUse> =
        opened.iter().map(|(adapter, scale)| AdapterUse { adapter, strength: *scale }).collect();
    engine.set_adapters(&uses, control).map(|_| ())
}

/// The MP4, and the poster if asked for.
fn write(args: &RenderArgs, resolved: &Resolved, rgb: &[u8], out: &Path) -> anyhow::Result<()> {
    let video = resolved.shape()?.interpolated(args.interpolate);
    let clip = Clip { rgb, width: video.width, height: video.height, fps: video.fps };
    let encoder = Encoder { ffmpeg: args.ffmpeg.clone(), crf: args.crf, stall: FFMPEG_STALL };
    encoder.write_mp4(clip, out, &|| true).with_context(|| format!("write {}", out.display()))?;
    if let Some(poster) = &args.poster {
        encoder
            .write_poster(clip, args.poster_format()?, poster, &|| true)
            .with_context(|| format!("write {}", poster.display()))?;
    }
    Ok(())
}
