//! Interpolated frames against those that the model made itself, next to blending and repeating.
//!
//! Of each video every second, fourth or eighth frame is kept and the others are made again. Only these are compared; the reader
//! judges the whole video.

use std::{path::Path, time::Instant};

use anyhow::Context;
use hunyuan::{Control, Frames, Interpolator};
use tch::{Device, Kind, Tensor};
use testkit::shapes::{Scene, Score};

use crate::compare::{psnr_db, ssim};
use crate::render::{Farm, Video};

/// Distances between the frames that are kept.
const STRIDES: [usize; 3] = [2, 4, 8];

/// A way to make a frame between two.
#[derive(Debug, Clone, Copy)]
enum Way {
    Network,
    Blend,
    Repeat,
}

/// Means over all frames that were made again.
#[derive(Debug, Default)]
struct Nearness {
    psnr_db: Vec<f64>,
    ssim: Vec<f64>,
    score: Score,
    seconds: f64,
}

/// Prints the table.
///
/// # Errors
/// The interpolator's.
pub(crate) fn report(farm: &Farm, scenes: &[Scene], videos: &[Video], weights: &Path) -> anyhow::Result<()> {
    tch::set_num_threads(1);
    let network = Interpolator::load(weights, Device::Cpu)?;
    crate::table::say(&format!("{} held-out scenes; frames made again against the model's own", scenes.len()))?;
    crate::table::say(&crate::table::head("factor | way | PSNR, dB | worst frame | SSIM | ms a frame | "))?;
    for stride in STRIDES {
        for (way, name) in [(Way::Network, "RIFE"), (Way::Blend, "blend"), (Way::Repeat, "repeat")] {
            let mut near = Nearness::default();
            for (scene, video) in scenes.iter().cycle().zip(videos) {
                near.add(farm, scene, &video.rgb, (way, stride), &network)?;
            }
            let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
            let worst = near.psnr_db.iter().copied().fold(f64::INFINITY, f64::min);
            let lead = format!(
                "{stride} | {name} | {:.1} | {worst:.1} | {:.4} | {:.1} | ",
                mean(&near.psnr_db),
                mean(&near.ssim),
                1e3 * near.seconds / near.psnr_db.len() as f64
            );
            crate::table::say(&crate::table::row(&lead, &near.score))?;
        }
    }
    let mut own = Score::default();
    for (scene, video) in scenes.iter().cycle().zip(videos) {
        own.add(scene, &farm.read(video));
    }
    crate::table::say(&crate::table::row("1 | the model | same | same | 1 | | ", &own))
}

impl Nearness {
    fn add(
        &mut self,
        farm: &Farm,
        scene: &Scene,
        own: &[u8],
        (way, stride): (Way, usize),
        network: &Interpolator,
    ) -> anyhow::Result<()> {
        let (width, height) = farm.size();
        let size = width * height * 3;
        let frames: Vec<&[u8]> = own.chunks_exact(size).collect();
        let kept: Vec<u8> = frames.iter().step_by(stride).flat_map(|frame| frame.iter().copied()).collect();
        let begun = Instant::now();
        let made = match way {
            Way::Network => by_network(network, &kept, (width, height), stride)?,
            Way::Blend => between(&kept, size, stride, |first, second, time| {
                let mixed = f64::from(first) * (1.0 - time) + f64::from(second) * time;
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between two bytes")]
                let mixed = mixed.round() as u8;
                mixed
            }),
            Way::Repeat => between(&kept, size, stride, |first, _, _| first),
        };
        self.seconds += begun.elapsed().as_secs_f64();
        for (index, (made, own)) in made.chunks_exact(size).zip(&frames).enumerate() {
            if index % stride != 0 {
                self.psnr_db.push(psnr_db(made, own));
                self.ssim.push(ssim((width, height), made, own));
            }
        }
        self.score.add(scene, &farm.read(&Video { rgb: made, computed: 0, lower_computed: 0, seconds: Vec::new() }));
        Ok(())
    }
}

fn by_network(
    network: &Interpolator,
    kept: &[u8],
    (width, height): (usize, usize),
    stride: usize,
) -> anyhow::Result<Vec<u8>> {
    let shape = [-1, height as i64, width as i64, 3];
    let rgb = Tensor::f_from_slice(kept)?.f_view(shape)?.f_to_kind(Kind::Float)?.f_div_scalar(255.0)?;
    let factor = u32::try_from(stride).context("a small factor")?;
    Ok(network.interpolate(&Frames::new(rgb)?, factor, &Control::new(), &mut |_, _| {})?.rgb)
}

/// Every kept frame, and after each but the last `stride - 1` mixtures of it and the next one.
fn between(kept: &[u8], size: usize, stride: usize, mix: impl Fn(u8, u8, f64) -> u8) -> Vec<u8> {
    let frames: Vec<&[u8]> = kept.chunks_exact(size).collect();
    let mut all = Vec::new();
    for pair in frames.windows(2) {
        for part in 0..stride {
            let time = part as f64 / stride as f64;
            all.extend(pair[0].iter().zip(pair[1]).map(|(first, second)| mix(*first, *second, time)));
        }
    }
    all.extend(frames.last().copied().unwrap_or_default());
    all
}
