//! The size of a video that begins from a picture: the one of the model's scale whose proportions are nearest.
//!
//! A model has a scale, the side of its square videos. Its sizes have about as many tokens as that square, with up to four times the
//! height in width or the reverse. The nearest one is looked for among those that are not more extreme than the picture.
//!
//! Upstream: `HunyuanVideo15ImageProcessor.calculate_default_height_width` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/pipelines/hunyuan_video1_5/image_processor.py>.

/// Longest side over the shortest.
const RATIO_MAX: f64 = 4.0;

/// Width and height of the video for a picture of `width` x `height` pixels, by a model whose square videos have sides of `target`
/// pixels, in steps of `step`.
#[must_use]
pub fn nearest(target: i64, step: i64, [width, height]: [usize; 2]) -> [i64; 2] {
    let wanted = height as f64 / width as f64;
    let mut best = ([target, target], f64::INFINITY);
    for size @ [w, h] in sizes(target, step) {
        let ratio = rounded(h as f64 / w as f64);
        let difference = ratio - wanted;
        let allowed = if wanted >= 1.0 { difference <= 0.0 } else { difference >= 0.0 };
        if allowed && difference.abs() < best.1 {
            best = (size, difference.abs());
        }
    }
    best.0
}

/// All sizes of a scale, the tallest first.
fn sizes(target: i64, step: i64) -> Vec<[i64; 2]> {
    let tokens = (target as f64 / step as f64).powi(2).round_ties_even() as i64;
    let (mut rows, mut columns) = (tokens, 1);
    let mut sizes = Vec::new();
    while rows > 0 {
        if rows.max(columns) as f64 / rows.min(columns) as f64 <= RATIO_MAX {
            sizes.push([columns * step, rows * step]);
        }
        if (columns + 1) * rows <= tokens {
            columns += 1;
        } else {
            rows -= 1;
        }
    }
    sizes
}

/// Rounded to five decimals as the reference does it, which decides between neighbours.
fn rounded(ratio: f64) -> f64 {
    format!("{ratio:.5}").parse().unwrap_or(ratio)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recorded_choice_is_the_references() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/v1_5_i2v/sizes.json");
        let recorded: Vec<[i64; 6]> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert!(recorded.len() > 50);
        for [target, step, width, height, chosen_width, chosen_height] in recorded {
            let picture = [width, height].map(|side| usize::try_from(side).unwrap());
            let chosen = nearest(target, step, picture);
            assert_eq!(chosen, [chosen_width, chosen_height], "{width}x{height} at {target} in steps of {step}");
        }
    }

    #[test]
    fn released_scales_have_their_published_number_of_sizes() {
        assert_eq!((sizes(640, 16).len(), sizes(960, 16).len()), (121, 181));
        assert_eq!(nearest(640, 16, [1280, 720]), [848, 480]);
        // Portrait is not the transpose of landscape: 1280/720 rounds to more than 16/9.
        assert_eq!(nearest(960, 16, [720, 1280]), [720, 1264]);
    }
}
