//! Early steps at a lower resolution, and the change to the full one between two steps.
//!
//! The rule: an orthonormal cosine transform over rows and columns splits latents into a low band, which is what a smaller video
//! has, and a high band. A run begins with the low band of its seed's noise; at the change the high band of the same noise is
//! added at the level that the run has reached. Joining a larger grid leaves the noise as strong as it was and divides the signal
//! by `r`, the geometric mean of the ratios of the sides. Multiplying by `r / (1 + (r - 1) sigma)` makes the sum a point of the
//! ordinary path again, at the higher level `r sigma / (1 + (r - 1) sigma)`. That is the formula by which a schedule is shifted, so a
//! first part whose shift is the run's divided by `r` ends exactly at the run's own level. Positions are spread over the full
//! grid; see `rope` of the families.
//!
//! The method: the mode `dct_rewind` of SGLang's diffusion runtime (arXiv 2605.18736), here for sides of any ratio, with the seed's own
//! noise and with positions that are scaled.

use tch::{Device, Tensor};

use crate::runtime::error::{InOp, Result};

/// A first part of a run at a lower resolution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progressive {
    /// Pixels; a multiple of the model's [`size_step`](crate::Geometry::size_step), at most the video's.
    pub width: i64,
    /// Pixels; a multiple of the model's [`size_step`](crate::Geometry::size_step), at most the video's.
    pub height: i64,
    /// Steps at this size; at least one step at the full size follows.
    pub steps: usize,
    /// Shift of the first part's schedule: the run's divided by the ratio of the sides, or more.
    pub shift: f64,
}

/// The noise level of latents of level `sigma` after their sides have grown by the ratio `r`.
pub(crate) fn raised_level(sigma: f64, ratio: f64) -> f64 {
    ratio * sigma / (1.0 + (ratio - 1.0) * sigma)
}

/// The change between two sizes of latents.
#[derive(Debug)]
pub(crate) struct Raise {
    /// `[height, lower height]` with orthonormal columns.
    rows: Tensor,
    /// `[width, lower width]` with orthonormal columns.
    columns: Tensor,
    /// Geometric mean of the ratios of the sides.
    ratio: f64,
}

impl Raise {
    /// From `lower` to `full`, both height and width in latents.
    pub(crate) fn new(lower: [i64; 2], full: [i64; 2], device: Device) -> Result<Self> {
        let joined = |axis: usize| -> Result<Tensor> {
            let [small, large] = [lower[axis], full[axis]].map(|side| usize::try_from(side).unwrap_or(0));
            let values = Tensor::f_from_slice(&lifting(small, large)).in_op("progressive")?;
            Ok(values.f_view([full[axis], lower[axis]])?.f_to_device(device)?)
        };
        Ok(Self { rows: joined(0)?, columns: joined(1)?, ratio: ratio(lower, full) })
    }

    /// The low band of `[..., height, width]` as latents of the lower size.
    pub(crate) fn low_band(&self, full: &Tensor) -> Result<Tensor> {
        Ok(self.rows.f_transpose(0, 1)?.f_matmul(full)?.f_matmul(&self.columns)?.f_contiguous()?)
    }

    /// Latents of the full size whose low band is `lower` and whose high band is zero.
    fn embedded(&self, lower: &Tensor) -> Result<Tensor> {
        Ok(self.rows.f_matmul(lower)?.f_matmul(&self.columns.f_transpose(0, 1)?)?.f_contiguous()?)
    }

    /// Latents of the lower size at level `sigma` as latents of the full one at [`raised_level`]. `noise` is normal noise of the full
    /// size, whose high band is used.
    pub(crate) fn apply(&self, lower: &Tensor, noise: &Tensor, sigma: f64) -> Result<Tensor> {
        let high = noise.f_sub(&self.embedded(&self.low_band(noise)?)?)?;
        let joined = self.embedded(lower)?.f_add_(&high.f_mul_scalar(sigma)?)?;
        Ok(joined.f_mul_scalar(self.ratio / (1.0 + (self.ratio - 1.0) * sigma))?)
    }
}

/// Geometric mean of the ratios of the sides.
pub(crate) fn ratio(lower: [i64; 2], full: [i64; 2]) -> f64 {
    let area = |[height, width]: [i64; 2]| height as f64 * width as f64;
    (area(full) / area(lower)).sqrt()
}

/// Row by row, `[large, small]`: the inverse transform of `large` values after the transform of `small` ones, whose coefficients are
/// the lowest.
fn lifting(small: usize, large: usize) -> Vec<f32> {
    let wave = |count: usize, frequency: usize, place: usize| {
        let scale = if frequency == 0 { 1.0 } else { 2.0 };
        let angle = std::f64::consts::PI * (place as f64 + 0.5) * frequency as f64 / count as f64;
        (scale / count as f64).sqrt() * angle.cos()
    };
    let table = |count: usize| -> Vec<f64> {
        (0..small).flat_map(|frequency| (0..count).map(move |place| wave(count, frequency, place))).collect()
    };
    let (outer, inner) = (table(large), table(small));
    let entry = |to: usize, from: usize| -> f64 {
        (0..small).map(|frequency| outer[frequency * large + to] * inner[frequency * small + from]).sum()
    };
    (0..large).flat_map(|to| (0..small).map(move |from| (to, from))).map(|(to, from)| entry(to, from) as f32).collect()
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;
    use crate::runtime::noise;

    /// HunyuanVideo's 1280x720, whose half is no whole number of tokens, and the default model's 64x64.
    const SIZES: [([i64; 2], [i64; 2]); 3] = [([44, 80], [90, 160]), ([8, 8], [16, 16]), ([2, 2], [6, 4])];

    fn size([height, width]: [i64; 2]) -> [i64; 5] {
        [1, 4, 2, height, width]
    }

    fn distance(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).abs().max().double_value(&[])
    }

    #[test]
    fn a_band_comes_back_as_it_was_and_a_constant_keeps_its_place() {
        for (lower, full) in SIZES {
            let raise = Raise::new(lower, full, Device::Cpu).unwrap();
            let small = noise::normal(1, &size(lower)).unwrap();
            let there = raise.embedded(&small).unwrap();
            assert_eq!(there.size(), size(full));
            assert!(distance(&raise.low_band(&there).unwrap(), &small) < 1e-5, "{lower:?}");
            let flat = raise.embedded(&Tensor::ones(size(lower), (Kind::Float, Device::Cpu))).unwrap();
            assert!(distance(&(flat * raise.ratio), &Tensor::ones(size(full), (Kind::Float, Device::Cpu))) < 1e-5);
        }
    }

    #[test]
    fn noise_stays_normal_and_takes_the_level_that_the_schedule_is_told() {
        for (lower, full) in SIZES.into_iter().take(2) {
            let raise = Raise::new(lower, full, Device::Cpu).unwrap();
            let whole = noise::normal(3, &[1, 16, 20, full[0], full[1]]).unwrap();
            let start = raise.low_band(&whole).unwrap();
            assert!((start.std(false).double_value(&[]) - 1.0).abs() < 0.02);
            // From level 1 nothing changes: the noise of the full size comes back.
            assert!(distance(&raise.apply(&start, &whole, 1.0).unwrap(), &whole) < 1e-4);
            let sigma = 0.8;
            let raised = raise.apply(&(&start * sigma), &whole, sigma).unwrap();
            let level = raised_level(sigma, raise.ratio);
            assert!((raised.std(false).double_value(&[]) - level).abs() < 0.02, "{level}");
        }
    }

    /// A signal keeps its amplitude: (1 - sigma) x becomes (1 - level) x.
    #[test]
    fn a_signal_ends_on_the_ordinary_path() {
        for (lower, full) in SIZES {
            let raise = Raise::new(lower, full, Device::Cpu).unwrap();
            let (sigma, nothing) = (0.8, Tensor::zeros(size(full), (Kind::Float, Device::Cpu)));
            let flat = Tensor::full(size(lower), 0.5 * (1.0 - sigma), (Kind::Float, Device::Cpu));
            let raised = raise.apply(&flat, &nothing, sigma).unwrap();
            let wanted = 0.5 * (1.0 - raised_level(sigma, raise.ratio));
            assert!(distance(&raised, &Tensor::full(size(full), wanted, (Kind::Float, Device::Cpu))) < 1e-5);
        }
    }

    #[test]
    fn the_level_follows_the_formula_of_a_shift() {
        assert!((raised_level(0.8, 2.0) - 1.6 / 1.8).abs() < 1e-12);
        assert!((raised_level(1.0, 2.0) - 1.0).abs() < 1e-12 && raised_level(0.0, 2.0).abs() < 1e-12);
        assert!((ratio([44, 80], [90, 160]) - 2.0226).abs() < 1e-4);
    }
}
