//! The layers of 1.5's VAE: its norm, and the causal convolution over a video or over a single frame.
//!
//! The rule: a video's first frame is preceded by copies of itself, so where it is the only one, every slice of a kernel in time reads the same
//! pixels. The slices are added up and one convolution in two dimensions gives the same result with a third of the products.
//!
//! Activations are `[batch, frames, height, width, channels]`, as in [`crate::v1::vae`].
//!
//! Upstream: `HunyuanVideo15RMS_norm` and `HunyuanVideo15CausalConv3d` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/models/autoencoders/autoencoder_kl_hunyuanvideo15.py>.

use tch::{Kind, Tensor};

use crate::runtime::{
    error::Result,
    weights::{KeyTable, Loader},
};
use crate::v1::vae::layers::{Rim, convolve, kernel_layout, padded_copy, silu_padded};

/// Smallest length that a pixel's channels are divided by.
const LENGTH_MIN: f64 = 1e-12;

/// Pixels, and frames, of a kernel.
const SIDE: i64 = 3;

/// Divides a pixel's channels by their length and scales each.
#[derive(Debug)]
pub(super) struct RmsNorm {
    /// `[channels]`
    gamma: Tensor,
    channels: i64,
}

impl RmsNorm {
    pub(super) fn load(loader: &Loader, channels: i64) -> Result<Self> {
        let gamma = loader.tensor("gamma", &[channels, 1, 1, 1])?;
        // A dry load gives undefined tensors, which have no shape to change.
        let gamma = if gamma.defined() { gamma.f_view([channels])? } else { gamma };
        Ok(Self { gamma, channels })
    }

    /// Same size in and out. The length is summed in fp32 whatever the format.
    pub(super) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let length = input.f_norm_scalaropt_dim_dtype(2.0, [-1_i64].as_slice(), true, Kind::Float)?;
        let scale = length.f_clamp_min(LENGTH_MIN)?.f_reciprocal()?.f_mul_scalar((self.channels as f64).sqrt())?;
        let mut normed = Tensor::f_empty_like(input)?;
        // The product is of fp32 and lands in the activation's format without a copy in between.
        let _ = input.f_mul_out(&normed, &scale)?;
        Ok(normed.f_mul_(&self.gamma)?)
    }
}

/// How many frames a network is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sees {
    /// Any number.
    Video,
    /// One, so that a third of the kernels' memory is enough.
    Frame,
}

/// A 3x3x3 convolution that sees only the present and past frames.
#[derive(Debug)]
pub(super) struct CausalConv {
    kernel: Kernel,
    /// `[output]`
    bias: Tensor,
}

#[derive(Debug)]
enum Kernel {
    /// `[output, input, 3, 3, 3]`
    Video(Tensor),
    /// `[output, input, 3, 3]`: the sum over time.
    Frame(Tensor),
}

impl CausalConv {
    pub(super) fn load(loader: &Loader, [input, output]: [i64; 2], sees: Sees) -> Result<Self> {
        let conv = loader.pp("conv");
        let whole = kernel_layout(conv.tensor("weight", &[output, input, SIDE, SIDE, SIDE])?)?;
        let kernel = match sees {
            Sees::Frame if whole.defined() => Kernel::Frame(summed(&whole)?),
            Sees::Frame | Sees::Video => Kernel::Video(whole),
        };
        Ok(Self { kernel, bias: conv.tensor("bias", &[output])? })
    }

    /// `[batch, frames, height, width, input]` to `[batch, frames, height, width, output]`.
    pub(super) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        self.convolve(&padded_copy(input, rim(input)?)?)
    }

    /// The same of the input's SiLU, which is written straight into the convolution's padded input.
    pub(super) fn forward_silu(&self, input: Tensor) -> Result<Tensor> {
        let padded = silu_padded(&input, rim(&input)?)?;
        drop(input);
        self.convolve(&padded)
    }

    fn convolve(&self, padded: &Tensor) -> Result<Tensor> {
        match &self.kernel {
            Kernel::Frame(kernel) => self.over_a_frame(padded, kernel),
            Kernel::Video(kernel) if padded.size()[1] == 1 => self.over_a_frame(padded, &summed(kernel)?),
            Kernel::Video(kernel) => convolve(padded, kernel, &self.bias),
        }
    }

    /// `[batch, 1, height + 2, width + 2, input]` to `[batch, 1, height, width, output]`.
    fn over_a_frame(&self, padded: &Tensor, kernel: &Tensor) -> Result<Tensor> {
        let frame = padded.f_squeeze_dim(1)?.f_permute([0, 3, 1, 2])?;
        let out = frame.f_conv2d(kernel, Some(&self.bias), [1, 1], [0, 0], [1, 1], 1)?;
        Ok(out.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_unsqueeze(1)?)
    }
}

/// What a convolution reads around an activation: no earlier frames where there is but one.
fn rim(input: &Tensor) -> Result<Rim> {
    let (_, frames, ..) = input.size5()?;
    Ok(if frames == 1 { Rim::OF_FRAME } else { Rim::OF_VIDEO })
}

/// A kernel `[output, input, 3, 3, 3]` added up over time in fp32, laid out as the activations are.
fn summed(kernel: &Tensor) -> Result<Tensor> {
    let last = kernel.f_permute([0, 2, 3, 4, 1])?;
    let sum = last.f_sum_dim_intlist([1_i64].as_slice(), false, Kind::Float)?;
    Ok(sum.f_to_kind(kernel.kind())?.f_permute([0, 3, 1, 2])?)
}

/// Values that a network of this table keeps in memory if it sees only single frames.
pub(super) fn parameters_of_frame(table: &KeyTable) -> i64 {
    let kept = |(_, shape): (&str, &[i64])| {
        let values = shape.iter().fold(1_i64, |product, size| product.saturating_mul(*size));
        if shape.ends_with(&[SIDE; 3]) { values / SIDE } else { values }
    };
    table.tensors().map(kept).fold(0, i64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn a_single_frame_is_convolved_as_the_first_of_a_video() {
        tch::manual_seed(5);
        for (kind, tolerance) in [(Kind::Float, 1e-6), (Kind::BFloat16, 1e-2)] {
            let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind);
            let whole = kernel_layout(random(&[6, 4, 3, 3, 3])).unwrap();
            let bias = random(&[6]);
            let video = CausalConv { kernel: Kernel::Video(whole.shallow_clone()), bias: bias.shallow_clone() };
            let frame = CausalConv { kernel: Kernel::Frame(summed(&whole).unwrap()), bias };
            let input = random(&[2, 3, 5, 7, 4]);
            let first = input.narrow(1, 0, 1).contiguous();
            // Three frames take the way of a video.
            let wanted = video.forward(&input).unwrap().narrow(1, 0, 1).to_kind(Kind::Float);
            let activated = video.forward_silu(input.shallow_clone()).unwrap().narrow(1, 0, 1).to_kind(Kind::Float);
            for conv in [&video, &frame] {
                let found = [conv.forward(&first).unwrap(), conv.forward_silu(first.shallow_clone()).unwrap()];
                for (found, wanted) in found.iter().zip([&wanted, &activated]) {
                    assert_eq!((found.kind(), found.size()), (kind, wanted.size()));
                    let relative = (found.to_kind(Kind::Float) - wanted).norm() / wanted.norm();
                    assert!(relative.double_value(&[]) < tolerance, "{kind:?}: {relative}");
                }
            }
        }
    }
}
