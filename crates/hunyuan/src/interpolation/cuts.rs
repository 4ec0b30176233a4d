//! Scene cuts: pairs of frames that have too little in common to be blended.
//!
//! Upstream: `ssim_matlab` in `saibyo/utils/interpolation/msssim.py` of saibyo 0.14.0, as `inference_video.py` of
//! <https://github.com/hzwer/Practical-RIFE/tree/17d8c7a1005b37f4c97bfee04e316aaec7fdc536> uses it: the structural similarity of both frames at 32x32, with a
//! Gaussian window over height, width and colours.

use tch::{Kind, Tensor};

use crate::runtime::error::Result;

/// Pairs below this similarity are a cut, as in Practical-RIFE. Higher repeats frames of fast motion, lower blends cuts.
const CUT_BELOW: f64 = 0.2;

/// Sides at which frames are compared.
const SIDE: i64 = 32;

/// Width of the window and its standard deviation.
const WINDOW: i64 = 11;
const SIGMA: f64 = 1.5;

/// Whether two frames `[1, 3, h, w]` in 0..1 belong to different scenes.
///
/// # Errors
/// libtorch.
pub fn is_cut(first: &Tensor, second: &Tensor) -> Result<bool> {
    Ok(similarity(first, second)? < CUT_BELOW)
}

/// Structural similarity of two frames `[1, 3, h, w]` in 0..1 at 32x32; 1 for equal ones.
///
/// # Errors
/// libtorch.
pub fn similarity(first: &Tensor, second: &Tensor) -> Result<f64> {
    let small = |frame: &Tensor| -> Result<Tensor> {
        let small = frame.f_upsample_bilinear2d([SIDE, SIDE], false, None, None)?;
        Ok(small.f_to_device(tch::Device::Cpu)?.f_unsqueeze(1)?) // [1, 1, 3, 32, 32]
    };
    let (a, b) = (small(first)?, small(second)?);
    let window = window()?;
    let smooth = |x: &Tensor| -> Result<Tensor> {
        let padded = x.f_replication_pad3d([WINDOW / 2; 6])?;
        Ok(padded.f_conv3d(&window, None::<&Tensor>, [1; 3], [0; 3], [1; 3], 1)?)
    };
    let (mean_a, mean_b) = (smooth(&a)?, smooth(&b)?);
    let (square_a, square_b, product) = (mean_a.f_square()?, mean_b.f_square()?, mean_a.f_mul(&mean_b)?);
    let variance_a = smooth(&a.f_square()?)?.f_sub(&square_a)?;
    let variance_b = smooth(&b.f_square()?)?.f_sub(&square_b)?;
    let covariance = smooth(&a.f_mul(&b)?)?.f_sub(&product)?;
    let (c1, c2) = (0.01_f64.powi(2), 0.03_f64.powi(2));
    let structure =
        covariance.f_mul_scalar(2.0)?.f_add_scalar(c2)?.f_div(&variance_a.f_add(&variance_b)?.f_add_scalar(c2)?)?;
    let brightness =
        product.f_mul_scalar(2.0)?.f_add_scalar(c1)?.f_div(&square_a.f_add(&square_b)?.f_add_scalar(c1)?)?;
    Ok(brightness.f_mul(&structure)?.f_mean(Kind::Float)?.f_double_value(&[])?)
}

/// `[1, 1, 11, 11, 11]`; its values add up to 1.
fn window() -> Result<Tensor> {
    let line: Vec<f32> =
        (0..WINDOW).map(|x| (-((x - WINDOW / 2) as f64).powi(2) / (2.0 * SIGMA * SIGMA)).exp() as f32).collect();
    let line = Tensor::f_from_slice(&line)?;
    let line = line.f_div(&line.f_sum(Kind::Float)?)?;
    let plane = line.f_outer(&line)?; // [11, 11]
    let space = plane.f_unsqueeze(2)?.f_mul(&line)?;
    Ok(space.f_view([1, 1, WINDOW, WINDOW, WINDOW])?)
}
