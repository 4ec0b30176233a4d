//! What the step cache's thresholds would do to a video: it is rendered again with each, from the same embeddings and noise.
//!
//! The rule: the video without a cache is the measure, since a skipped step is right as far as nobody sees it. A model's `[step_cache]`
//! can be set by such tables; `docs/models.md` says how.

use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::Context;
use hunyuan::runtime::step_cache::EasyCacheConfig;
use hunyuan::{Control, DenoiseRequest, Engine, Frames, StepCacheConfig};

use super::progress::Progress;

/// The video without a step cache.
pub(crate) struct Whole<'a> {
    pub(crate) frames: &'a Frames,
    /// Seconds of its denoising.
    pub(crate) seconds: f64,
}

/// What one threshold gave.
#[derive(Debug)]
pub(crate) struct Point {
    threshold: f64,
    /// Steps whose prediction was computed, of all steps.
    steps: [usize; 2],
    /// How many times as fast the denoising was.
    speedup: f64,
    psnr_db: Option<f64>,
}

/// Renders the request with each threshold. The request keeps the last one.
///
/// # Errors
/// A threshold that is not a number from 0 up; the engine's.
pub(crate) fn compare(
    engine: &Engine,
    request: &mut DenoiseRequest,
    whole: &Whole,
    thresholds: &[f64],
) -> anyhow::Result<Vec<Point>> {
    if thresholds.is_empty() {
        return Ok(Vec::new());
    }
    let rgb = whole.frames.rgb8()?;
    let control = Control::new();
    let progress = Progress::new("cache", thresholds.len());
    let mut points = Vec::with_capacity(thresholds.len());
    for &threshold in thresholds {
        request.step_cache = StepCacheConfig::EasyCache(EasyCacheConfig { threshold, ..EasyCacheConfig::default() });
        let begun = Instant::now();
        let denoised = engine
            .denoise(request, None, &control, &mut |_| ControlFlow::Continue(()))
            .with_context(|| format!("denoise with a threshold of {threshold}"))?;
        let seconds = begun.elapsed().as_secs_f64();
        let frames = engine.decode(&denoised.latents, &control, &mut |_, _| {}).context("decode")?;
        let counts = &denoised.counts;
        points.push(Point {
            threshold,
            steps: [request.steps - counts.skipped, request.steps],
            speedup: whole.seconds / seconds,
            psnr_db: psnr_db(&rgb, &frames.rgb8()?),
        });
        progress.step(points.len(), &format!("threshold {threshold}"));
    }
    progress.finish();
    Ok(points)
}

/// The lines of the report.
pub(crate) fn lines(points: &[Point]) -> String {
    let line = |point: &Point| {
        let kept = point.psnr_db.map_or_else(|| "same bytes".to_owned(), |psnr| format!("{psnr:.1} dB"));
        let Point { threshold, steps: [computed, all], speedup, .. } = point;
        format!("threshold {threshold}: {computed} of {all} steps computed, {speedup:.2} times as fast, {kept}\n")
    };
    points.iter().map(line).collect()
}

/// Peak signal-to-noise ratio of bytes; none where they are equal.
fn psnr_db(wanted: &[u8], found: &[u8]) -> Option<f64> {
    let square = |(a, b): (&u8, &u8)| u64::from(a.abs_diff(*b)).pow(2);
    let sum: u64 = wanted.iter().zip(found).map(square).sum();
    let peak = f64::from(u8::MAX).powi(2);
    (sum > 0).then(|| 10.0 * (peak * wanted.len() as f64 / sum as f64).log10())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_bytes_have_no_ratio_and_others_have_that_of_their_mean_square() {
        assert_eq!(psnr_db(&[1, 2, 3], &[1, 2, 3]), None);
        // A mean square of 1: 20 log10(255).
        assert!((psnr_db(&[10, 20], &[11, 19]).unwrap() - 48.130_803_608_679_1).abs() < 1e-9);
        assert!((psnr_db(&[0, 0], &[255, 255]).unwrap()).abs() < 1e-9);
    }

    #[test]
    fn a_line_says_what_was_computed_and_what_was_kept() {
        let point = |threshold, psnr_db| Point { threshold, steps: [20, 50], speedup: 2.46, psnr_db };
        let text = lines(&[point(0.0, None), point(0.025, Some(45.63))]);
        assert_eq!(
            text,
            "threshold 0: 20 of 50 steps computed, 2.46 times as fast, same bytes\n\
             threshold 0.025: 20 of 50 steps computed, 2.46 times as fast, 45.6 dB\n"
        );
    }
}
