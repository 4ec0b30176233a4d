//! One block of the network: it refines the flow, the mask and its features at one scale.
//!
//! Upstream: `IFBlock` and `ResConv` in the files that [`super::head`] names.

use tch::Tensor;

use crate::runtime::{error::Result, weights::Loader};

/// Slope of the activation below zero.
const SLOPE: f64 = 0.2;

/// Features of a pixel.
pub(super) const FEATURES: i64 = 4;

/// Convolutions with a residual in each block.
const RESIDUALS: i64 = 8;

/// Channels that a block hands to the next one.
const CARRIED: i64 = 8;

/// Channels of a block's result: two flows of two, the mask, and what it hands on.
const RESULT: i64 = 4 + 1 + CARRIED;

/// Input of the first block: two frames with their features, and the time.
pub(super) const FIRST_INPUT: i64 = 2 * (3 + FEATURES) + 1;

/// Input of the other blocks: two warped frames with their features, the time, the mask, what the block before handed on, and
/// the flow.
pub(super) const NEXT_INPUT: i64 = 2 * (3 + FEATURES) + 2 + CARRIED + 4;

/// LeakyReLU. For a slope between 0 and 1 it is `max(x, slope x)`; tch binds the function without its slope.
pub(super) fn leaky(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_maximum(&x.f_mul_scalar(SLOPE)?)?)
}

/// A 3x3 convolution that keeps the size, or halves it with a stride of 2.
#[derive(Debug)]
pub(super) struct Conv {
    weight: Tensor,
    bias: Tensor,
    stride: i64,
}

impl Conv {
    pub(super) fn load(loader: &Loader, input: i64, output: i64, stride: i64) -> Result<Self> {
        let weight = loader.tensor("weight", &[output, input, 3, 3])?;
        Ok(Self { weight, bias: loader.tensor("bias", &[output])?, stride })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_conv2d(&self.weight, Some(&self.bias), [self.stride; 2], [1, 1], [1, 1], 1)?)
    }
}

/// A transposed 4x4 convolution that doubles the size.
#[derive(Debug)]
pub(super) struct Upconv {
    weight: Tensor,
    bias: Tensor,
}

impl Upconv {
    pub(super) fn load(loader: &Loader, input: i64, output: i64) -> Result<Self> {
        let weight = loader.tensor("weight", &[input, output, 4, 4])?;
        Ok(Self { weight, bias: loader.tensor("bias", &[output])? })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_conv_transpose2d(&self.weight, Some(&self.bias), [2, 2], [1, 1], [0, 0], 1, [1, 1])?)
    }
}

/// A convolution whose result is scaled per channel and added to its input.
#[derive(Debug)]
struct ResConv {
    conv: Conv,
    beta: Tensor,
}

impl ResConv {
    fn load(loader: &Loader, width: i64) -> Result<Self> {
        let conv = Conv::load(&loader.pp("conv"), width, width, 1)?;
        Ok(Self { conv, beta: loader.tensor("beta", &[1, width, 1, 1])? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        leaky(&self.conv.forward(x)?.f_mul(&self.beta)?.f_add(x)?)
    }
}

/// What a block computes, at full size.
pub(super) struct Refined {
    /// Change of the flows, `[1, 4, h, w]`: x and y to the first frame, then to the second.
    pub(super) flow: Tensor,
    /// How much of the first frame shows, before the sigmoid, `[1, 1, h, w]`.
    pub(super) mask: Tensor,
    /// For the next block, `[1, 8, h, w]`.
    pub(super) carried: Tensor,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Block {
    conv0: [Conv; 2],
    convblock: Vec<ResConv>,
    lastconv: Upconv,
    scale: i64,
}

impl Block {
    /// A block with `width` channels that works at `1 / scale` of the size.
    pub(super) fn load(loader: &Loader, input: i64, width: i64, scale: i64) -> Result<Self> {
        let conv0 = loader.pp("conv0");
        let residuals = loader.pp("convblock");
        let convblock = (0..RESIDUALS).map(|index| ResConv::load(&residuals.pp(index), width));
        Ok(Self {
            conv0: [
                Conv::load(&conv0.pp(0).pp(0), input, width / 2, 2)?,
                Conv::load(&conv0.pp(1).pp(0), width / 2, width, 2)?,
            ],
            convblock: convblock.collect::<Result<_>>()?,
            // Four times the result's channels, which the pixel shuffle turns into twice the size.
            lastconv: Upconv::load(&loader.pp("lastconv").pp(0), width, 4 * RESULT)?,
            scale,
        })
    }

    /// `flow` is that of the blocks before; none for the first one.
    pub(super) fn forward(&self, input: &Tensor, flow: Option<&Tensor>) -> Result<Refined> {
        let (_, _, height, width) = input.size4()?;
        let small = [height / self.scale, width / self.scale];
        let mut x = resize(input, small)?;
        if let Some(flow) = flow {
            let flow = resize(flow, small)?.f_div_scalar(self.scale)?;
            x = Tensor::f_cat(&[x, flow], 1)?;
        }
        for conv in &self.conv0 {
            x = leaky(&conv.forward(&x)?)?; // [1, width, h/4/scale, w/4/scale]
        }
        for residual in &self.convblock {
            x = residual.forward(&x)?;
        }
        let x = self.lastconv.forward(&x)?.f_pixel_shuffle(2)?; // [1, 13, h/scale, w/scale]
        let x = resize(&x, [height, width])?;
        Ok(Refined {
            flow: x.f_narrow(1, 0, 4)?.f_mul_scalar(self.scale)?,
            mask: x.f_narrow(1, 4, 1)?,
            carried: x.f_narrow(1, 5, CARRIED)?,
        })
    }
}

/// Bilinear, pixels as areas. Every size is a multiple of the scale, so the ratio of the sizes is the scale exactly.
fn resize(x: &Tensor, [height, width]: [i64; 2]) -> Result<Tensor> {
    Ok(x.f_upsample_bilinear2d([height, width], false, None, None)?)
}
