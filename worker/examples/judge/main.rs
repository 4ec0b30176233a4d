//! Judges the default model as our engine renders it: what the pixel reader finds in the videos, against what the prompts say.
//!
//! ```sh
//! cargo run --release -p worker --example judge -- models/default              # held-out scenes, three seeds, 25 steps
//! cargo run --release -p worker --example judge -- models/default --sweep     # fewer steps and step caches against 50 steps
//! cargo run --release -p worker --example judge -- models/default --early     # steps at half the size against 25 steps
//! cargo run --release -p worker --example judge -- models/default --sheet sheet.png
//! cargo run --release -p worker --example judge -- models/default --seeds 1 --interpolator models/interpolator
//! ```
//!
//! Each job owns an engine of one thread, so that the videos do not depend on the number of cores.

mod between;
mod compare;
mod early;
mod render;
mod sheet;
mod table;

use std::path::PathBuf;

use anyhow::ensure;
use clap::Parser;
use hunyuan::{EasyCacheConfig, StepCacheConfig};
use testkit::shapes::{Scene, Score};

use self::render::{Farm, Plan};
use self::table::{head, plans, row, say, score};

/// Step counts of the sweep.
const STEPS: [usize; 6] = [10, 15, 18, 25, 35, 45];
/// Thresholds of the step cache in the sweep.
const THRESHOLDS: [f64; 5] = [0.025, 0.05, 0.1, 0.2, 0.4];
/// What the sweep compares with.
const REFERENCE_STEPS: usize = 50;

/// Let the pixel reader judge rendered videos.
#[derive(Debug, Parser)]
struct Arguments {
    /// Model folder
    model: PathBuf,
    /// Held-out scenes
    #[arg(long, default_value_t = 200)]
    scenes: usize,
    /// Seeds of each scene
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// Denoising steps
    #[arg(long, default_value_t = 25)]
    steps: usize,
    /// Engines at work at once [default: one for each core]
    #[arg(long)]
    jobs: Option<usize>,
    /// Fail when a share of right readings is below these: background, colour, motion, shape, size
    #[arg(long, value_delimiter = ',', num_args = 5)]
    at_least: Option<Vec<f64>>,
    /// Compare step counts and step caches with 50 steps instead; one seed
    #[arg(long)]
    sweep: bool,
    /// Compare early steps at half the size, fewer steps and step caches with 25 steps instead; one seed
    #[arg(long)]
    early: bool,
    /// Make frames of the videos again with these weights of frame interpolation instead, and by blending and repeating
    #[arg(long, value_name = "DIR")]
    interpolator: Option<PathBuf>,
    /// Draw the model's examples into this PNG instead
    #[arg(long, value_name = "FILE")]
    sheet: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let jobs = arguments.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let farm = Farm::new(&arguments.model, jobs)?;
    if let Some(path) = &arguments.sheet {
        return sheet::draw(&farm, arguments.steps, path);
    }
    let scenes = held_out(arguments.scenes)?;
    if arguments.sweep {
        return sweep(&farm, &scenes);
    }
    if arguments.early {
        return early::sweep(&farm, &scenes);
    }
    let plan: Vec<Plan> = (0..arguments.seeds).flat_map(|seed| plans(&scenes, seed, arguments.steps)).collect();
    let videos = farm.render(&plan)?;
    if let Some(weights) = &arguments.interpolator {
        return between::report(&farm, &scenes, &videos, weights);
    }
    let score = score(&farm, &scenes, &videos);
    say(&format!("{} held-out scenes, {} seeds, {} steps", scenes.len(), arguments.seeds, arguments.steps))?;
    say(&head(""))?;
    say(&row("", &score))?;
    match &arguments.at_least {
        Some(least) => check(&score, least),
        None => Ok(()),
    }
}

/// `count` scenes that were not trained, evenly spread over all of them.
fn held_out(count: usize) -> anyhow::Result<Vec<Scene>> {
    let all: Vec<Scene> = Scene::all().into_iter().filter(Scene::is_held_out).collect();
    ensure!((1..=all.len()).contains(&count), "--scenes {count}: there are {} held-out scenes", all.len());
    Ok((0..count).map(|index| all[index * all.len() / count]).collect())
}

fn sweep(farm: &Farm, scenes: &[Scene]) -> anyhow::Result<()> {
    let reference = farm.render(&plans(scenes, 0, REFERENCE_STEPS))?;
    say(&format!("{} held-out scenes, one seed, against {REFERENCE_STEPS} steps without a cache", scenes.len()))?;
    say(&head("steps | cache threshold | steps computed | PSNR, dB | SSIM | "))?;
    let step_counts = STEPS.map(|steps| (steps, None));
    let caches = THRESHOLDS.map(|threshold| (REFERENCE_STEPS, Some(threshold)));
    for (steps, threshold) in step_counts.into_iter().chain(caches) {
        let cache = threshold.map_or(StepCacheConfig::Off, |threshold| {
            StepCacheConfig::EasyCache(EasyCacheConfig { threshold, ..EasyCacheConfig::default() })
        });
        let plan: Vec<Plan> = plans(scenes, 0, steps).into_iter().map(|plan| Plan { cache, ..plan }).collect();
        let videos = farm.render(&plan)?;
        let near = compare::nearness(farm.size(), &videos, &reference);
        let computed = videos.iter().map(|video| video.computed).sum::<usize>() as f64 / videos.len() as f64;
        let threshold = threshold.map_or_else(|| "off".to_owned(), |threshold| threshold.to_string());
        let lead = format!("{steps} | {threshold} | {computed:.1} | {} | {} | ", near.psnr_db(), near.ssim());
        say(&row(&lead, &score(farm, scenes, &videos)))?;
    }
    say(&row(&format!("{REFERENCE_STEPS} | off | {REFERENCE_STEPS} | same | 1 | "), &score(farm, scenes, &reference)))
}

fn check(score: &Score, least: &[f64]) -> anyhow::Result<()> {
    let counts = [score.background, score.color, score.motion, score.shape, score.size];
    for ((count, least), name) in counts.into_iter().zip(least).zip(Score::COLUMNS) {
        let share = f64::from(count) / f64::from(score.clips);
        ensure!(share >= *least, "{name}: {share:.4} of the clips are right, not {least}");
    }
    Ok(())
}
