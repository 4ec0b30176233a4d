//! How similar videos are to other videos of the same prompts and seeds.

use crate::render::Video;

/// Side of the windows that SSIM compares.
const WINDOW: usize = 7;
/// SSIM's guards against division by nearly nothing, for values from 0 to 255.
const GUARDS: (f64, f64) = (0.01 * 255.0 * (0.01 * 255.0), 0.03 * 255.0 * (0.03 * 255.0));
/// PSNR of equal videos, which would be infinite.
const EQUAL_DB: f64 = 99.0;

/// Means over videos.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nearness {
    psnr_db: f64,
    ssim: f64,
}

impl Nearness {
    /// One decimal, truncated.
    pub(crate) fn psnr_db(&self) -> String {
        format!("{:.1}", (self.psnr_db * 10.0).floor() / 10.0)
    }

    /// Four decimals, truncated.
    pub(crate) fn ssim(&self) -> String {
        format!("{:.4}", (self.ssim * 1e4).floor() / 1e4)
    }
}

/// Compares videos of one size pair by pair.
pub(crate) fn nearness(size: (usize, usize), videos: &[Video], reference: &[Video]) -> Nearness {
    let pairs = || videos.iter().zip(reference).map(|(a, b)| (a.rgb.as_slice(), b.rgb.as_slice()));
    let count = videos.len() as f64;
    Nearness {
        psnr_db: pairs().map(|(a, b)| psnr_db(a, b)).sum::<f64>() / count,
        ssim: pairs().map(|(a, b)| ssim(size, a, b)).sum::<f64>() / count,
    }
}

/// Peak signal-to-noise ratio.
pub(crate) fn psnr_db(a: &[u8], b: &[u8]) -> f64 {
    let squares: f64 = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    if squares == 0.0 { EQUAL_DB } else { 10.0 * (255.0 * 255.0 * a.len() as f64 / squares).log10() }
}

/// Structural similarity of luma, mean over all windows of all frames.
pub(crate) fn ssim((width, height): (usize, usize), a: &[u8], b: &[u8]) -> f64 {
    let (a, b) = (luma(a), luma(b));
    let frames = a.chunks_exact(width * height).zip(b.chunks_exact(width * height));
    let (mut sum, mut windows) = (0.0, 0.0);
    for (a, b) in frames {
        for top in 0..=height - WINDOW {
            for left in 0..=width - WINDOW {
                let pixels =
                    (top..top + WINDOW).flat_map(|row| (left..left + WINDOW).map(move |column| row * width + column));
                sum += similarity(pixels.map(|index| (a[index], b[index])));
                windows += 1.0;
            }
        }
    }
    sum / windows
}

fn similarity(pixels: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (mut count, mut a, mut b, mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    for (x, y) in pixels {
        count += 1.0;
        a += x;
        b += y;
        aa += x * x;
        bb += y * y;
        ab += x * y;
    }
    let (mean_a, mean_b) = (a / count, b / count);
    let (var_a, var_b) = (aa / count - mean_a * mean_a, bb / count - mean_b * mean_b);
    let together = ab / count - mean_a * mean_b;
    (2.0 * mean_a * mean_b + GUARDS.0) * (2.0 * together + GUARDS.1)
        / ((mean_a * mean_a + mean_b * mean_b + GUARDS.0) * (var_a + var_b + GUARDS.1))
}

fn luma(rgb: &[u8]) -> Vec<f64> {
    let weights = [0.299, 0.587, 0.114];
    rgb.chunks_exact(3).map(|pixel| pixel.iter().zip(weights).map(|(c, weight)| f64::from(*c) * weight).sum()).collect()
}
