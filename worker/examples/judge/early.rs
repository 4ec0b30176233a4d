//! Early steps at half the size, next to fewer steps and to step caches at the same cost.

use hunyuan::{EasyCacheConfig, Progressive, StepCacheConfig};
use testkit::shapes::Scene;

use crate::compare;
use crate::render::{Farm, Plan, Video};
use crate::table::{head, plans, row, say, score};

/// Steps of the whole run, and what everything is compared with.
const STEPS: usize = 25;
/// Plain runs with fewer steps.
const FEWER: [usize; 8] = [3, 5, 8, 10, 12, 14, 17, 20];
/// Thresholds of the step cache, with all steps.
const THRESHOLDS: [f64; 4] = [0.025, 0.05, 0.1, 0.2];
/// Steps at half the size.
const EARLY: [usize; 6] = [2, 4, 8, 12, 16, 20];

/// One line of the table.
struct Line {
    name: String,
    steps: usize,
    threshold: Option<f64>,
    early: Option<Progressive>,
}

impl Line {
    fn plain(steps: usize, threshold: Option<f64>) -> Self {
        let name = threshold.map_or_else(|| "plain".to_owned(), |threshold| format!("step cache {threshold}"));
        Self { name, steps, threshold, early: None }
    }
}

/// Renders every line for all scenes and prints what it costs and keeps.
pub(crate) fn sweep(farm: &Farm, scenes: &[Scene]) -> anyhow::Result<()> {
    let reference = farm.render(&plans(scenes, 0, STEPS))?;
    say(&format!("{} held-out scenes, one seed, against {STEPS} plain steps", scenes.len()))?;
    say(&head("run | steps | at half the size | cost in full steps | PSNR, dB | SSIM | "))?;
    let mut seconds = Vec::new();
    for line in lines(farm) {
        let cache = line.threshold.map_or(StepCacheConfig::Off, |threshold| {
            StepCacheConfig::EasyCache(EasyCacheConfig { threshold, ..EasyCacheConfig::default() })
        });
        let plan: Vec<Plan> =
            plans(scenes, 0, line.steps).into_iter().map(|plan| Plan { cache, early: line.early, ..plan }).collect();
        let videos = farm.render(&plan)?;
        seconds.extend(videos.iter().flat_map(|video| video.seconds.iter().copied()));
        let near = compare::nearness(farm.size(), &videos, &reference);
        let lower = line.early.map_or(0, |early| early.steps);
        let cost = cost(farm, &videos);
        let lead =
            format!("{} | {} | {lower} | {cost:.1} | {} | {} | ", line.name, line.steps, near.psnr_db(), near.ssim());
        say(&row(&lead, &score(farm, scenes, &videos)))?;
    }
    say(&row(&format!("plain | {STEPS} | 0 | {STEPS}.0 | same | 1 | "), &score(farm, scenes, &reference)))?;
    let [full_s, lower_s] = [false, true].map(|lower| median(&seconds, lower));
    say(&format!("median step: {:.1} ms at full size, {:.1} ms at half the size", full_s * 1e3, lower_s * 1e3))
}

fn lines(farm: &Farm) -> Vec<Line> {
    let shift = farm.manifest().sampling.flow_shift;
    let half = |steps, shift| {
        let (width, height) = farm.size();
        Progressive { width: width as i64 / 2, height: height as i64 / 2, steps, shift }
    };
    let early = |name: &str, steps, lower, shift| Line {
        name: name.to_owned(),
        steps,
        threshold: None,
        early: Some(half(lower, shift)),
    };
    let mut lines: Vec<Line> = FEWER.into_iter().map(|steps| Line::plain(steps, None)).collect();
    lines.extend(THRESHOLDS.map(|threshold| Line::plain(STEPS, Some(threshold))));
    lines.extend(EARLY.map(|lower| early("half size, shift halved", STEPS, lower, shift / 2.0)));
    lines.extend([4, 8, 12].map(|lower| early("half size, same shift", STEPS, lower, shift)));
    lines.push(early("half size, shift halved", 10, 2, shift / 2.0));
    for lower in [4, 8] {
        let name = "half size, step cache 0.025";
        lines.push(Line { threshold: Some(0.025), ..early(name, STEPS, lower, shift / 2.0) });
    }
    lines
}

/// Mean cost of a video: computed steps, those at half the size by the cost model's prior.
fn cost(farm: &Farm, videos: &[Video]) -> f64 {
    let manifest = farm.manifest();
    let tokens = |scale: u32| {
        let side = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX) / scale;
        let (width, height) = farm.size();
        manifest.geometry.tokens(side(width), side(height), manifest.length.rendered_at_max)
    };
    let share = manifest.cost_prior.step_scale(tokens(2)) / manifest.cost_prior.step_scale(tokens(1));
    let of = |video: &Video| (video.computed - video.lower_computed) as f64 + share * video.lower_computed as f64;
    videos.iter().map(of).sum::<f64>() / videos.len() as f64
}

fn median(seconds: &[(f64, bool)], lower: bool) -> f64 {
    let mut of_size: Vec<f64> = seconds.iter().filter(|(_, at)| *at == lower).map(|(seconds, _)| *seconds).collect();
    of_size.sort_by(f64::total_cmp);
    of_size.get(of_size.len() / 2).copied().unwrap_or_default()
}
