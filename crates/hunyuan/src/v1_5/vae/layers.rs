//! The norm of the video decoder, and what the causal layers of 1.0 give it.
//!
//! Activations are `[batch, frames, height, width, channels]`, as in [`crate::v1::vae`].
//!
//! Upstream: `HunyuanVideo15RMS_norm` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/models/autoencoders/autoencoder_kl_hunyuanvideo15.py>.

use tch::{Kind, Tensor};

use crate::runtime::{error::Result, weights::Loader};
use crate::v1::vae::layers::silu_padded;

/// Smallest length that a pixel's channels are divided by.
const LENGTH_MIN: f64 = 1e-12;

/// Divides a pixel's channels by their length and scales each.
#[derive(Debug)]
pub(crate) struct RmsNorm {
    /// `[channels]`
    gamma: Tensor,
    channels: i64,
}

impl RmsNorm {
    pub(crate) fn load(loader: &Loader, channels: i64) -> Result<Self> {
        let gamma = loader.tensor("gamma", &[channels, 1, 1, 1])?;
        // A dry load gives undefined tensors, which have no shape to change.
        let gamma = if gamma.defined() { gamma.f_view([channels])? } else { gamma };
        Ok(Self { gamma, channels })
    }

    /// Same size in and out. The length is summed in fp32 whatever the format.
    pub(crate) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let length = input.f_norm_scalaropt_dim_dtype(2.0, [-1_i64].as_slice(), true, Kind::Float)?;
        let scale = length.f_clamp_min(LENGTH_MIN)?.f_reciprocal()?.f_mul_scalar((self.channels as f64).sqrt())?;
        let mut normed = Tensor::f_empty_like(input)?;
        // The product is of fp32 and lands in the activation's format without a copy in between.
        let _ = input.f_mul_out(&normed, &scale)?;
        Ok(normed.f_mul_(&self.gamma)?)
    }

    /// Norm and SiLU, with the rim that a convolution reads.
    pub(crate) fn activate_padded(&self, input: &Tensor) -> Result<Tensor> {
        silu_padded(&self.forward(input)?)
    }
}
