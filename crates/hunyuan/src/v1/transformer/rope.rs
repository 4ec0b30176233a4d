//! Rotary positions of video tokens over the axes (frame, row, column).
//!
//! The rule: the table is complex, so that a rotation is one in-place multiplication of adjacent pairs; it depends on the
//! size alone and is made once per video. Text tokens are not rotated.
//!
//! Upstream: `HunyuanVideoRotaryPosEmbed` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/models/transformers/transformer_hunyuan_video.py>.

use tch::{Device, Kind, Tensor};

use crate::runtime::error::Result;

/// Which frequency in time has the period after which videos repeat themselves, counted from 1. Its period is 50 latent frames,
/// about 8 seconds.
const REPEATING: i64 = 4;

/// Part of a period that the whole video covers with [RIFLEx](https://github.com/thu-ml/RIFLEx), `riflex_utils.py`.
const COVERED: f64 = 0.9;

/// Whether a head with this many channels for time has the frequency that RIFLEx changes.
pub(crate) fn can_stretch(time_channels: i64) -> bool {
    time_channels / 2 >= REPEATING
}

/// `[frames * rows * columns, 1, 1, head_dim / 2]` complex64 on `device`.
///
/// `axes` are the widths of the three parts of a head (their sum is the head's width), `grid` the counts of tokens, and `full` those of
/// the video over which their positions are spread: its own grid, or a larger one for steps at a lower resolution. `stretch`
/// applies RIFLEx: the frequency that repeats within the video gets a period longer than the video.
pub(crate) fn rotation(
    [grid, full]: [[i64; 3]; 2],
    axes: &[i64],
    theta: f64,
    stretch: bool,
    device: Device,
) -> Result<Tensor> {
    let mut parts = Vec::with_capacity(axes.len());
    for (axis, &width) in axes.iter().enumerate() {
        let options = (Kind::Float, device);
        let exponent = Tensor::f_arange_start_step(0, width, 2, options)?.f_div_scalar(width)?;
        let frequencies = Tensor::f_pow_scalar(theta, &exponent)?.f_reciprocal()?;
        if stretch && axis == 0 {
            let frequency = COVERED * std::f64::consts::TAU / grid[0] as f64;
            let _ = frequencies.f_select(0, REPEATING - 1)?.f_fill_(frequency)?;
        }
        let mut positions = Tensor::f_arange(grid[axis], options)?;
        if full[axis] != grid[axis] {
            // The middle of a token's part of the full grid.
            let apart = full[axis] as f64 / grid[axis] as f64;
            positions = positions.f_mul_scalar(apart)?.f_add_scalar((apart - 1.0) / 2.0)?;
        }
        let angles = positions.f_outer(&frequencies)?;
        let mut shape = [1, 1, 1, width / 2];
        shape[axis] = grid[axis];
        parts.push(angles.f_view(shape)?.f_expand([grid[0], grid[1], grid[2], width / 2], false)?);
    }
    let angles = Tensor::f_cat(&parts, 3)?.f_reshape([grid[0] * grid[1] * grid[2], 1, 1, -1])?;
    Ok(Tensor::f_complex(&angles.f_cos()?, &angles.f_sin()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Angles of an axis alone, from a rotation of frequency 1.
    fn positions(grid: [i64; 3], full: [i64; 3]) -> Vec<f64> {
        let turned = rotation([grid, full], &[2, 2, 2], 1.0, false, Device::Cpu).unwrap();
        let angles = turned.angle().reshape([grid.iter().product::<i64>(), 3]);
        Vec::<f64>::try_from(&angles.select(1, 2).to_kind(Kind::Double)).unwrap()
    }

    #[test]
    fn positions_of_a_lower_resolution_are_the_middles_of_what_they_stand_for() {
        let near = |found: &[f64], wanted: &[f64]| found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near(&positions([1, 1, 2], [1, 1, 2]), &[0.0, 1.0]));
        assert!(near(&positions([1, 1, 2], [1, 1, 4]), &[0.5, 2.5]));
        assert!(near(&positions([1, 1, 2], [1, 1, 3]), &[0.25, 1.75]));
    }
}
