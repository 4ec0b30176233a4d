//! What the comparisons share: plans of all scenes, their score, and lines of a table.

use std::io::Write;

use anyhow::Context;
use hunyuan::StepCacheConfig;
use testkit::shapes::{Reading, Scene, Score};

use crate::render::{Farm, Plan, Video};

/// One plain video of each scene.
pub(crate) fn plans(scenes: &[Scene], seed: u64, steps: usize) -> Vec<Plan> {
    scenes
        .iter()
        .map(|scene| Plan { prompt: scene.prompt(), seed, steps, cache: StepCacheConfig::Off, early: None })
        .collect()
}

/// Reads the videos; there may be several rounds of all scenes.
pub(crate) fn score(farm: &Farm, scenes: &[Scene], videos: &[Video]) -> Score {
    let mut score = Score::default();
    for (scene, video) in scenes.iter().cycle().zip(videos) {
        let reading: Reading = farm.read(video);
        score.add(scene, &reading);
    }
    score
}

/// The first two lines of a table.
pub(crate) fn head(lead: &str) -> String {
    let columns = format!("| {lead}{} | clips |", Score::COLUMNS.join(" | "));
    format!("{columns}\n{}|", "|---".repeat(columns.matches('|').count() - 1))
}

pub(crate) fn row(lead: &str, score: &Score) -> String {
    format!("| {lead}{} | {} |", score.shares().join(" | "), score.clips)
}

/// Prints a line at once.
pub(crate) fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).context("print")
}
