//! The layers of the video decoder: causal convolution, group norm, and what goes between them.
//!
//! The rule: activations are `[batch, frames, height, width, channels]`, the layout in which a pixel's channels lie
//! together: convolutions are fastest in it and 1x1x1 ones are matrix products. Padding is made by writing the
//! producer's result into the middle of a larger buffer and copying its rim, so that nothing is padded by a copy.
//!
//! Upstream: `HunyuanVideoCausalConv3d` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/models/autoencoders/autoencoder_kl_hunyuan_video.py>.

use tch::{Device, Kind, Tensor};

use crate::runtime::{error::Result, weights::Loader};

/// Epsilon of all group norms.
const NORM_EPS: f64 = 1e-6;

/// Sizes `[batch, frames, height, width, channels]` of an activation.
pub(super) type Extent = [i64; 5];

/// The five sizes of an activation.
pub(super) fn extent(tensor: &Tensor) -> Result<Extent> {
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
pub(super) struct Rim {
    pub(super) before: i64,
}

/// The rim of a 3x3x3 causal convolution.
const FULL: Rim = Rim { before: 2 };

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

/// An activation with a rim around it.
pub(super) fn padded_copy(input: &Tensor, rim: Rim) -> Result<Tensor> {
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
        self.forward(&padded_copy(input, FULL)?)
    }
}

/// Convolution without padding of a `[batch, frames, height, width, channels]` activation.
pub(super) fn convolve(input: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let out = channels_second(input)?.f_conv3d(weight, Some(bias), [1, 1, 1], [0, 0, 0], [1, 1, 1], 1)?;
    channels_last(&out)
}

/// Lays a kernel out like the activations, once at load. A dry load's undefined tensor stays as it is.
pub(super) fn kernel_layout(weight: Tensor) -> Result<Tensor> {
    if !weight.defined() {
        return Ok(weight);
    }
    Ok(weight.f_permute([0, 2, 3, 4, 1])?.f_contiguous()?.f_permute([0, 4, 1, 2, 3])?)
}

/// A convolution of one pixel: a matrix product.
#[derive(Debug)]
pub(super) struct PointConv {
    weight: Tensor,
    bias: Tensor,
}

impl PointConv {
    pub(super) fn load(loader: &Loader, input: i64, output: i64) -> Result<Self> {
        let weight = loader.tensor("weight", &[output, input, 1, 1, 1])?;
        let weight = if weight.defined() { weight.f_view([output, input])? } else { weight };
        Ok(Self { weight, bias: loader.tensor("bias", &[output])? })
    }

    pub(super) fn forward(&self, input: &Tensor) -> Result<Tensor> {
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
        let view = channels_second(input)?;
        let normed = view.f_group_norm(self.groups, Some(&self.weight), Some(&self.bias), NORM_EPS, true)?;
        channels_last(&normed)
    }

    /// Norm and SiLU, with the rim that a convolution reads.
    pub(super) fn activate_padded(&self, input: &Tensor) -> Result<Tensor> {
        let normed = self.forward(input)?;
        let padded = Padded::empty(extent(&normed)?, FULL, (normed.kind(), normed.device()))?;
        let _ = normed.f_silu_out(&padded.middle()?)?;
        padded.close()
    }
}
