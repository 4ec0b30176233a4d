//! The layers of the video decoder: causal convolution, group norm, and what goes between them.
//!
//! The rule: activations are `[batch, frames, height, width, channels]`, the layout in which a pixel's channels lie
//! together: convolutions are fastest in it and 1x1x1 ones are matrix products. Padding is made by writing the
//! producer's result into the middle of a larger buffer and copying its rim, so that nothing is padded by a copy.
//!
//! libtorch's group norm keeps this layout on a CPU. On a GPU it transposes its input to channels first and leaves the result
//! there, so that two strided copies surround each norm; there [`GroupNorm`] computes the same from sums over the layout as it
//! is. Counted in passes over the activation, norm, SiLU and padding together are 6 instead of 9, none of them strided.
//!
//! Upstream: `HunyuanVideoCausalConv3d` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/models/autoencoders/autoencoder_kl_hunyuan_video.py>.

use tch::{Device, Kind, Tensor};

use crate::runtime::{error::Result, weights::Loader};

/// Epsilon of all group norms.
const NORM_EPS: f64 = 1e-6;

/// Sizes `[batch, frames, height, width, channels]` of an activation.
pub(crate) type Extent = [i64; 5];

/// The five sizes of an activation.
pub(crate) fn extent(tensor: &Tensor) -> Result<Extent> {
    let (a, b, c, d, e) = tensor.size5()?;
    Ok([a, b, c, d, e])
}

/// The same activation as libtorch's kernels name its axes: `[batch, channels, frames, height, width]`, strided.
fn channels_second(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.f_permute([0, 4, 1, 2, 3])?)
}

/// Back from a kernel's axes; free when the kernel kept the layout.
fn channels_last(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.f_permute([0, 2, 3, 4, 1])?.f_contiguous()?)
}

/// How many frames a convolution reads before the first; pixels always have one more on each side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rim {
    pub(super) before: i64,
}

impl Rim {
    /// Of a 3x3x3 causal convolution.
    pub(crate) const OF_VIDEO: Self = Self { before: 2 };
    /// Of a 3x3 convolution over one frame.
    pub(crate) const OF_FRAME: Self = Self { before: 0 };
}

/// A buffer with room for a rim around an activation.
struct Padded {
    whole: Tensor,
    inner: Extent,
    rim: Rim,
}

impl Padded {
    /// Unwritten room around an activation of the size `inner`.
    fn empty(inner: Extent, rim: Rim, options: (Kind, Device)) -> Result<Self> {
        let [batch, frames, height, width, channels] = inner;
        let whole = Tensor::f_empty([batch, frames + rim.before, height + 2, width + 2, channels], options)?;
        Ok(Self { whole, inner, rim })
    }

    /// Where the activation itself is written.
    fn middle(&self) -> Result<Tensor> {
        let [_, frames, height, width, _] = self.inner;
        Ok(self.whole.f_narrow(1, self.rim.before, frames)?.f_narrow(2, 1, height)?.f_narrow(3, 1, width)?)
    }

    /// Fills the rim by repeating the nearest value (the first frame, for earlier ones).
    fn close(self) -> Result<Tensor> {
        let [_, frames, height, width, _] = self.inner;
        let before = self.rim.before;
        let written = self.whole.f_narrow(1, before, frames)?;
        for (axis, size) in [(2, height), (3, width)] {
            for (rim, nearest) in [(0, 1), (size + 1, size)] {
                written.f_select(axis, rim)?.f_copy_(&written.f_select(axis, nearest)?)?;
            }
        }
        let first = self.whole.f_narrow(1, before, 1)?;
        let mut past = self.whole.f_narrow(1, 0, before)?;
        past.f_copy_(&first.f_expand_as(&past)?)?;
        Ok(self.whole)
    }
}

/// SiLU of an activation, with the rim that a convolution reads.
pub(crate) fn silu_padded(input: &Tensor, rim: Rim) -> Result<Tensor> {
    let padded = Padded::empty(extent(input)?, rim, (input.kind(), input.device()))?;
    let _ = input.f_silu_out(&padded.middle()?)?;
    padded.close()
}

/// An activation with a rim around it.
pub(crate) fn padded_copy(input: &Tensor, rim: Rim) -> Result<Tensor> {
    let padded = Padded::empty(extent(input)?, rim, (input.kind(), input.device()))?;
    padded.middle()?.f_copy_(input)?;
    padded.close()
}

/// A 3x3x3 convolution that sees only the present and past frames.
#[derive(Debug)]
pub(super) struct CausalConv {
    weight: Tensor,
    bias: Tensor,
}

impl CausalConv {
    pub(super) fn load(loader: &Loader, input: i64, output: i64) -> Result<Self> {
        let conv = loader.pp("conv");
        let weight = conv.tensor("weight", &[output, input, 3, 3, 3])?;
        Ok(Self { weight: kernel_layout(weight)?, bias: conv.tensor("bias", &[output])? })
    }

    /// Convolves an activation that has its rim; the result has the size of its middle.
    pub(super) fn forward(&self, padded: &Tensor) -> Result<Tensor> {
        convolve(padded, &self.weight, &self.bias)
    }

    /// Pads and convolves.
    pub(super) fn forward_unpadded(&self, input: &Tensor) -> Result<Tensor> {
        self.forward(&padded_copy(input, Rim::OF_VIDEO)?)
    }
}

/// Convolution without padding of a `[batch, frames, height, width, channels]` activation.
pub(crate) fn convolve(input: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let out = channels_second(input)?.f_conv3d(weight, Some(bias), [1, 1, 1], [0, 0, 0], [1, 1, 1], 1)?;
    channels_last(&out)
}

/// Lays a kernel out like the activations, once at load. A dry load's undefined tensor stays as it is.
pub(crate) fn kernel_layout(weight: Tensor) -> Result<Tensor> {
    if !weight.defined() {
        return Ok(weight);
    }
    Ok(weight.f_permute([0, 2, 3, 4, 1])?.f_contiguous()?.f_permute([0, 4, 1, 2, 3])?)
}

/// A convolution of one pixel: a matrix product.
#[derive(Debug)]
pub(crate) struct PointConv {
    weight: Tensor,
    bias: Tensor,
}

impl PointConv {
    pub(crate) fn load(loader: &Loader, input: i64, output: i64) -> Result<Self> {
        let weight = loader.tensor("weight", &[output, input, 1, 1, 1])?;
        let weight = if weight.defined() { weight.f_view([output, input])? } else { weight };
        Ok(Self { weight, bias: loader.tensor("bias", &[output])? })
    }

    pub(crate) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        Ok(input.f_linear(&self.weight, Some(&self.bias))?)
    }
}

/// Group norm over frames and pixels.
#[derive(Debug)]
pub(super) struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: i64,
}

impl GroupNorm {
    pub(super) fn load(loader: &Loader, channels: i64, groups: i64) -> Result<Self> {
        Ok(Self { weight: loader.tensor("weight", &[channels])?, bias: loader.tensor("bias", &[channels])?, groups })
    }

    pub(super) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        if transposes(input.device()) {
            let out = Tensor::f_empty_like(input)?;
            self.norm_into(input, &out)?;
            return Ok(out);
        }
        let view = channels_second(input)?;
        let normed = view.f_group_norm(self.groups, Some(&self.weight), Some(&self.bias), NORM_EPS, true)?;
        channels_last(&normed)
    }

    /// Norm and SiLU, with the rim that a convolution reads.
    pub(super) fn activate_padded(&self, input: &Tensor) -> Result<Tensor> {
        if transposes(input.device()) {
            return self.activate_in_place(input);
        }
        let normed = self.forward(input)?;
        let padded = Padded::empty(extent(&normed)?, Rim::OF_VIDEO, (normed.kind(), normed.device()))?;
        let _ = normed.f_silu_out(&padded.middle()?)?;
        padded.close()
    }

    /// [`GroupNorm::activate_padded`] in the layout of the input.
    fn activate_in_place(&self, input: &Tensor) -> Result<Tensor> {
        let padded = Padded::empty(extent(input)?, Rim::OF_VIDEO, (input.kind(), input.device()))?;
        let mut middle = padded.middle()?;
        self.norm_into(input, &middle)?;
        let _ = middle.f_silu_()?;
        padded.close()
    }

    /// Writes the norm of `input` into `out`, which has its size and may be strided. Sums and factors are fp32.
    fn norm_into(&self, input: &Tensor, out: &Tensor) -> Result<()> {
        let [batch, frames, height, width, channels] = extent(input)?;
        let each = channels / self.groups;
        let grouped = input.f_view([batch, frames * height * width, self.groups, each])?;
        let (mean, variance) = moments(&grouped)?; // [batch, 1, groups, 1]
        let part = |tensor: &Tensor| tensor.f_to_kind(Kind::Float)?.f_view([1, 1, self.groups, each]);
        // norm(x) * weight + bias = x * scale + shift
        let scale = variance.f_add_scalar(NORM_EPS)?.f_rsqrt()?.f_mul(&part(&self.weight)?)?;
        let shift = part(&self.bias)?.f_sub(&mean.f_mul(&scale)?)?;
        let by_channel = [batch, 1, 1, 1, channels];
        let _ = shift.f_view(by_channel)?.f_addcmul_out(out, input, &scale.f_view(by_channel)?)?;
        Ok(())
    }
}

/// Whether libtorch's group norm would transpose activations of this layout.
fn transposes(device: Device) -> bool {
    matches!(device, Device::Cuda(_))
}

/// Mean and variance of `[batch, positions, groups, channels]` over positions and channels, fp32.
fn moments(grouped: &Tensor) -> Result<(Tensor, Tensor)> {
    let over = [1_i64, 3];
    if grouped.kind() == Kind::Float {
        let (variance, mean) = grouped.f_var_mean_correction(over.as_slice(), 0, true)?;
        return Ok((mean, variance));
    }
    // libtorch would return moments of 16-bit values in 16 bits. Sums of them in fp32 are exact enough for the difference.
    let count = (grouped.size()[1] * grouped.size()[3]) as f64;
    let mean = grouped.f_mean_dim(over.as_slice(), true, Kind::Float)?;
    let mut squares = grouped.f_norm_scalaropt_dim_dtype(2.0, over.as_slice(), true, Kind::Float)?;
    let squares = squares.f_square_()?.f_div_scalar_(count)?;
    Ok((mean.shallow_clone(), squares.f_sub(&mean.f_square()?)?.f_clamp_min(0.0)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn norm(channels: i64, groups: i64, kind: Kind) -> GroupNorm {
        let weight = Tensor::randn([channels], (Kind::Float, Device::Cpu)).to_kind(kind);
        let bias = Tensor::randn([channels], (Kind::Float, Device::Cpu)).to_kind(kind);
        GroupNorm { weight, bias, groups }
    }

    /// The way of a GPU, on a CPU, beside libtorch's own group norm in fp32.
    #[test]
    fn the_norm_without_transposes_is_the_same_norm() {
        tch::manual_seed(3);
        for (kind, tolerance) in [(Kind::Float, 2e-6), (Kind::Half, 2e-3), (Kind::BFloat16, 1.2e-2)] {
            for (offset, spread) in [(0.0, 1.0), (3.0, 0.5), (-8.0, 4.0)] {
                let norm = norm(12, 4, kind);
                let input = Tensor::randn([2, 3, 5, 7, 12], (Kind::Float, Device::Cpu)) * spread + offset;
                let input = input.to_kind(kind);
                let exact = GroupNorm {
                    weight: norm.weight.to_kind(Kind::Float),
                    bias: norm.bias.to_kind(Kind::Float),
                    groups: norm.groups,
                };
                let wanted = exact.activate_padded(&input.to_kind(Kind::Float)).unwrap();
                let found = norm.activate_in_place(&input).unwrap();
                assert_eq!((found.kind(), found.size()), (kind, wanted.size()));
                let distance = (found.to_kind(Kind::Float) - &wanted).norm().double_value(&[]);
                let relative = distance / wanted.norm().double_value(&[]);
                assert!(relative < tolerance, "{kind:?} around {offset}: {relative:e}");

                let out = Tensor::empty_like(&input);
                norm.norm_into(&input, &out).unwrap();
                let wanted = exact.forward(&input.to_kind(Kind::Float)).unwrap();
                let relative = (out.to_kind(Kind::Float) - &wanted).norm() / wanted.norm();
                assert!(relative.double_value(&[]) < tolerance, "{kind:?} around {offset}");
            }
        }
    }
}
