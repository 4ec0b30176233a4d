//! Rotary positions of video tokens over the axes (frame, row, column).
//!
//! The rule: the table is complex, so that a rotation is one in-place multiplication of adjacent pairs; it depends on the
//! size alone and is made once per video. Text tokens are not rotated.
//!
//! Upstream: `HunyuanVideoRotaryPosEmbed` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/models/transformers/transformer_hunyuan_video.py>.

use tch::{Device, Kind, Tensor};

use crate::runtime::error::Result;

/// `[frames * rows * columns, 1, 1, head_dim / 2]` complex64 on `device`.
///
/// `axes` are the widths of the three parts of a head (their sum is the head's width), `grid` the counts of tokens.
pub(crate) fn rotation(grid: [i64; 3], axes: &[i64], theta: f64, device: Device) -> Result<Tensor> {
    let mut parts = Vec::with_capacity(axes.len());
    for (axis, &width) in axes.iter().enumerate() {
        let options = (Kind::Float, device);
        let exponent = Tensor::f_arange_start_step(0, width, 2, options)?.f_div_scalar(width)?;
        let frequencies = Tensor::f_pow_scalar(theta, &exponent)?.f_reciprocal()?;
        let angles = Tensor::f_arange(grid[axis], options)?.f_outer(&frequencies)?;
        let mut shape = [1, 1, 1, width / 2];
        shape[axis] = grid[axis];
        parts.push(angles.f_view(shape)?.f_expand([grid[0], grid[1], grid[2], width / 2], false)?);
    }
    let angles = Tensor::f_cat(&parts, 3)?.f_reshape([grid[0] * grid[1] * grid[2], 1, 1, -1])?;
    Ok(Tensor::f_complex(&angles.f_cos()?, &angles.f_sin()?)?)
}
