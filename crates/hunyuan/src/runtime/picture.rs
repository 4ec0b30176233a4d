//! A decoded picture, and its resampling bit for bit as Pillow does it on 8-bit images.
//!
//! The rule: rows are resampled before columns, with weights in fixed point and a rounding to 8 bits in between. Another order or
//! floating point would differ in single bits, which an encoder of pictures then spreads over the whole video. This is what every Pillow
//! before 13 does; 13 resamples columns first where a picture becomes wider and lower, which differs by one in some bytes.
//!
//! Upstream: `ImagingResample` in
//! <https://github.com/python-pillow/Pillow/blob/12.0.0/src/libImaging/Resample.c>, and `VaeImageProcessor._resize_and_crop` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/image_processor.py>.

use std::f64::consts::PI;

use sha2::{Digest, Sha256};

use crate::runtime::error::{Error, Result};

/// Channels of a pixel.
const CHANNELS: usize = 3;

/// Longest side that is accepted; keeps products within 64 bits.
const SIDE_MAX: u32 = 1 << 16;

/// Bits after the point of a weight: 8 are left for the pixel and 2 for what a sum exceeds it by.
const PRECISION: u32 = 32 - 8 - 2;

/// How pixels are weighted around a place between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resampling {
    /// Two lobes of a cubic with a = -0.5.
    Bicubic,
    /// Three lobes of a windowed sinc.
    Lanczos,
}

impl Resampling {
    /// Pixels on either side that count when nothing is reduced.
    fn support(self) -> f64 {
        match self {
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        match self {
            Self::Bicubic => cubic(x.abs()),
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
        }
    }
}

fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) }
}

/// A picture of 8 bits a channel, upright.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    /// `[height, width, 3]`
    rgb: Vec<u8>,
}

impl Picture {
    /// A picture of these pixels, `[height, width, 3]`.
    ///
    /// # Errors
    /// [`Error::Input`] for sides of zero or beyond 65,536, and for bytes that do not fill the size.
    pub fn new(width: u32, height: u32, rgb: Vec<u8>) -> Result<Self> {
        if [width, height].iter().any(|side| !(1..=SIDE_MAX).contains(side)) {
            return Err(Error::input("image", format!("it is {width}x{height}; each side must be 1 to {SIDE_MAX}")));
        }
        let (width, height) = (width as usize, height as usize);
        if rgb.len() != width * height * CHANNELS {
            let reason = format!("{} bytes do not fill {width}x{height} pixels of {CHANNELS} bytes", rgb.len());
            return Err(Error::input("image", reason));
        }
        Ok(Self { width, height, rgb })
    }

    /// Width in pixels.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// `[height, width, 3]`
    #[must_use]
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// SHA-256 of the size and the pixels, hex: equal for the same picture in files of different formats.
    #[must_use]
    pub fn sha256(&self) -> String {
        let mut hasher = Sha256::new();
        hasher.update(format!("{}x{} rgb8\n", self.width, self.height));
        hasher.update(&self.rgb);
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The picture in another size; its proportions may change.
    #[must_use]
    pub fn resized(&self, width: usize, height: usize, by: Resampling) -> Self {
        let wide = if width == self.width { None } else { Some(self.rows_resized(width, by)) };
        let wide = wide.as_ref().unwrap_or(self);
        if height == self.height { wide.clone() } else { wide.columns_resized(height, by) }
    }

    /// Enlarged or reduced with Lanczos until it just covers `width` x `height`, whose middle is kept. Sides are rounded down, so that a
    /// rim of at most one pixel may stay black.
    #[must_use]
    pub fn covering(&self, width: usize, height: usize) -> Self {
        let (ratio, own) = (width as f64 / height as f64, self.width as f64 / self.height as f64);
        let wide = if ratio > own { width } else { self.width * height / self.height };
        let high = if ratio > own { self.height * width / self.width } else { height };
        let resized = self.resized(wide.max(1), high.max(1), Resampling::Lanczos);
        let mut rgb = vec![0; width * height * CHANNELS];
        // Where the middle lies: both halves are rounded down, before they are subtracted.
        let (left, top) = (offset(width, resized.width), offset(height, resized.height));
        let columns = width.min(resized.width);
        for row in 0..height.min(resized.height) {
            let from = ((row + top.source) * resized.width + left.source) * CHANNELS;
            let to = ((row + top.target) * width + left.target) * CHANNELS;
            rgb[to..to + columns * CHANNELS].copy_from_slice(&resized.rgb[from..from + columns * CHANNELS]);
        }
        Self { width, height, rgb }
    }

    fn rows_resized(&self, width: usize, by: Resampling) -> Self {
        let weights = weights(self.width, width, by);
        let mut rgb = Vec::with_capacity(width * self.height * CHANNELS);
        for row in self.rgb.chunks_exact(self.width * CHANNELS) {
            for window in &weights {
                let pixels = &row[window.first * CHANNELS..];
                rgb.extend((0..CHANNELS).map(|channel| window.sum(|at| pixels[at * CHANNELS + channel])));
            }
        }
        Self { width, height: self.height, rgb }
    }

    fn columns_resized(&self, height: usize, by: Resampling) -> Self {
        let stride = self.width * CHANNELS;
        let mut rgb = Vec::with_capacity(stride * height);
        for window in &weights(self.height, height, by) {
            let rows = &self.rgb[window.first * stride..];
            rgb.extend((0..stride).map(|place| window.sum(|at| rows[at * stride + place])));
        }
        Self { width: self.width, height, rgb }
    }
}

/// Where a copy begins in its source and in its target.
struct Offset {
    source: usize,
    target: usize,
}

/// Places the middle of `have` pixels on the middle of `want`.
fn offset(want: usize, have: usize) -> Offset {
    Offset { source: (have / 2).saturating_sub(want / 2), target: (want / 2).saturating_sub(have / 2) }
}

/// The pixels that one resampled pixel is made of.
struct Window {
    first: usize,
    /// In fixed point, see [`PRECISION`].
    weights: Vec<i32>,
}

impl Window {
    fn sum(&self, pixel: impl Fn(usize) -> u8) -> u8 {
        let half = 1_i32 << (PRECISION - 1);
        let sum = self.weights.iter().enumerate().fold(half, |sum, (at, weight)| sum + i32::from(pixel(at)) * weight);
        u8::try_from((sum >> PRECISION).clamp(0, 255)).unwrap_or(u8::MAX)
    }
}

/// The windows of all pixels of an axis that is resampled from `from` to `to` pixels.
fn weights(from: usize, to: usize, by: Resampling) -> Vec<Window> {
    let scale = from as f64 / to as f64;
    // Reducing widens the filter, so that no pixel is left out.
    let widening = scale.max(1.0);
    let support = by.support() * widening;
    let window = |place: usize| {
        let centre = (place as f64 + 0.5) * scale;
        // Truncation towards zero, as a C cast does it.
        let first = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(from);
        let exact: Vec<f64> = (first..end).map(|at| by.weight((at as f64 - centre + 0.5) * (1.0 / widening))).collect();
        let total: f64 = exact.iter().sum();
        let fixed = |weight: f64| {
            let weight = if total == 0.0 { weight } else { weight / total };
            let scaled = weight * f64::from(1_u32 << PRECISION);
            (if weight < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
        };
        Window { first, weights: exact.into_iter().map(fixed).collect() }
    };
    (0..to).map(window).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(width: u32, height: u32) -> Picture {
        let rgb = (0..width * height * 3).map(|index| u8::try_from(index * 7 % 251).unwrap()).collect();
        Picture::new(width, height, rgb).unwrap()
    }

    #[test]
    fn one_colour_stays_that_colour_in_every_size() {
        let grey = Picture::new(7, 5, vec![90; 7 * 5 * 3]).unwrap();
        for by in [Resampling::Bicubic, Resampling::Lanczos] {
            for (width, height) in [(1, 1), (3, 9), (20, 4), (7, 5)] {
                let resized = grey.resized(width, height, by);
                assert_eq!((resized.width(), resized.height()), (width, height));
                assert!(resized.rgb().iter().all(|&value| value == 90), "{by:?} {width}x{height}");
            }
        }
    }

    #[test]
    fn a_picture_of_the_wanted_size_is_unchanged_and_others_keep_their_middle() {
        let picture = ramp(6, 4);
        assert_eq!(picture.covering(6, 4), picture);
        // Twice as wide as wanted: nothing is resampled, and a quarter is lost on each side.
        let square = ramp(8, 4).covering(4, 4);
        let wanted: Vec<u8> = ramp(8, 4).rgb().chunks_exact(24).flat_map(|row| row[6..18].iter().copied()).collect();
        assert_eq!(square.rgb(), wanted);
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused_by_field() {
        for (width, height, bytes) in [(0, 4, 0), (2, 2, 11), (1 << 17, 1, 3 << 17)] {
            let error = Picture::new(width, height, vec![0; bytes]).unwrap_err();
            assert!(matches!(error, Error::Input { field: "image", .. }), "{error}");
        }
    }

    #[test]
    fn the_hash_follows_pixels_and_size() {
        let of = |width, height| Picture::new(width, height, vec![1; 24]).unwrap().sha256();
        assert_eq!(of(4, 2), of(4, 2));
        assert_ne!(of(4, 2), of(2, 4));
        assert_eq!(of(4, 2).len(), 64);
    }
}
