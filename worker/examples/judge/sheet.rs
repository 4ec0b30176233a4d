//! A picture of the model's example prompts: a row of frames for each.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use hunyuan::StepCacheConfig;

use crate::render::{Farm, Plan};

/// Seed of all rows.
const SEED: u64 = 42;
/// Every so manyth frame is shown.
const EVERY: usize = 2;

/// Renders the examples and writes the PNG through ffmpeg.
pub(crate) fn draw(farm: &Farm, steps: usize, path: &Path) -> anyhow::Result<()> {
    let plan =
        |prompt: &String| Plan { prompt: prompt.clone(), seed: SEED, steps, cache: StepCacheConfig::Off, early: None };
    let videos = farm.render(&farm.examples().iter().map(plan).collect::<Vec<_>>())?;
    let (width, height) = farm.size();
    let (row_bytes, frame_bytes) = (width * 3, width * height * 3);
    let mut picture = Vec::new();
    let mut columns = 0;
    for video in &videos {
        let frames: Vec<&[u8]> = video.rgb.chunks_exact(frame_bytes).step_by(EVERY).collect();
        columns = frames.len();
        for row in 0..height {
            for frame in &frames {
                picture.extend_from_slice(&frame[row * row_bytes..(row + 1) * row_bytes]);
            }
        }
    }
    let size = format!("{}x{}", width * columns, height * videos.len());
    let mut ffmpeg = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", &size, "-i", "-", "-frames:v", "1"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .context("start ffmpeg")?;
    ffmpeg.stdin.take().context("ffmpeg's input")?.write_all(&picture)?;
    ensure!(ffmpeg.wait()?.success(), "ffmpeg could not write {}", path.display());
    Ok(())
}
