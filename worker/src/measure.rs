//! What can be measured on the pictures of a draft without weights: motion, flicker, sharpness and contrast.
//!
//! The numbers compare drafts of one prompt and one step with each other and mean nothing by themselves. How early they agree
//! with the finished video is in `docs/optimizations.md`.

use domain::DraftScores;
use hunyuan::PreviewFrames;

/// Weights of red, green and blue in the brightness (ITU-R BT.601).
const BRIGHTNESS: [f64; 3] = [0.299, 0.587, 0.114];

/// Measures the frames of a draft.
#[must_use]
pub fn measure(frames: &PreviewFrames) -> DraftScores {
    let (width, height) = (frames.width as usize, frames.height as usize);
    let size = width * height * 3;
    if size == 0 || frames.rgb.len() < size {
        return DraftScores::default();
    }
    let pictures: Vec<&[u8]> = frames.rgb.chunks_exact(size).collect();
    let motion = mean(pictures.windows(2).map(|pair| mean((0..size).map(|at| change(&[pair[0], pair[1]], at)))));
    let flicker = mean(pictures.windows(3).map(|three| mean((0..size).map(|at| reversal(three, at)))));
    let bright: Vec<Vec<f64>> = pictures.iter().map(|picture| brightness(picture)).collect();
    let sharpness = mean(bright.iter().map(|picture| variance(&laplacian(picture, width, height))));
    let contrast = mean(bright.iter().map(|picture| variance(picture).sqrt()));
    DraftScores { motion, flicker, sharpness, contrast }
}

fn level(picture: &[u8], at: usize) -> f64 {
    f64::from(picture[at]) / 255.0
}

fn change(pair: &[&[u8]; 2], at: usize) -> f64 {
    (level(pair[1], at) - level(pair[0], at)).abs()
}

fn reversal(three: &[&[u8]], at: usize) -> f64 {
    (level(three[2], at) - 2.0 * level(three[1], at) + level(three[0], at)).abs()
}

fn brightness(picture: &[u8]) -> Vec<f64> {
    let of =
        |pixel: &[u8]| pixel.iter().zip(BRIGHTNESS).map(|(value, weight)| f64::from(*value) / 255.0 * weight).sum();
    picture.chunks_exact(3).map(of).collect()
}

/// Four neighbours minus four times the middle, inside the border.
fn laplacian(picture: &[f64], width: usize, height: usize) -> Vec<f64> {
    let inside = |last: usize| 1..last.saturating_sub(1);
    let at = |x: usize, y: usize| picture[y * width + x];
    inside(height)
        .flat_map(|y| {
            inside(width).map(move |x| at(x - 1, y) + at(x + 1, y) + at(x, y - 1) + at(x, y + 1) - 4.0 * at(x, y))
        })
        .collect()
}

fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for value in values {
        sum += value;
        count += 1.0;
    }
    if count > 0.0 { sum / count } else { 0.0 }
}

fn variance(values: &[f64]) -> f64 {
    let middle = mean(values.iter().copied());
    mean(values.iter().map(|value| (value - middle).powi(2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four by four pixels of grey for each frame.
    fn film(levels: &[u8]) -> PreviewFrames {
        let rgb = levels.iter().flat_map(|level| [*level; 48]).collect();
        PreviewFrames { rgb, width: 4, height: 4, frames: u32::try_from(levels.len()).unwrap() }
    }

    #[test]
    fn a_still_grey_film_has_nothing_of_all() {
        let still = measure(&film(&[128, 128, 128]));
        assert!(
            [still.motion, still.flicker, still.sharpness, still.contrast].iter().all(|value| *value < 1e-9),
            "{still:?}"
        );
        assert_eq!(measure(&PreviewFrames { rgb: Vec::new(), width: 0, height: 0, frames: 0 }), DraftScores::default());
    }

    #[test]
    fn steady_change_is_motion_and_reversed_change_is_flicker() {
        let (steady, flickering) = (measure(&film(&[0, 51, 102])), measure(&film(&[0, 51, 0])));
        assert!((steady.motion - 0.2).abs() < 1e-9 && steady.flicker < 1e-9, "{steady:?}");
        assert!((flickering.motion - 0.2).abs() < 1e-9 && (flickering.flicker - 0.4).abs() < 1e-9, "{flickering:?}");
    }

    #[test]
    fn edges_are_sharp_and_contrast_is_the_spread_of_brightness() {
        let mut checked = film(&[0]);
        for (at, pixel) in checked.rgb.chunks_exact_mut(3).enumerate() {
            pixel.fill(if (at + at / 4) % 2 == 0 { 255 } else { 0 });
        }
        let mut halves = film(&[0]);
        halves.rgb[..24].fill(255);
        let (checked, halves) = (measure(&checked), measure(&halves));
        assert!(checked.sharpness > halves.sharpness, "{checked:?} {halves:?}");
        assert!((checked.contrast - 0.5).abs() < 1e-9 && (halves.contrast - 0.5).abs() < 1e-9);
    }
}
