//! The blocks of the video decoder: residual, and attention of the middle.
//!
//! Upstream: `HunyuanVideo15ResnetBlock` and `HunyuanVideo15AttnBlock` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/models/autoencoders/autoencoder_kl_hunyuanvideo15.py>.

use tch::Tensor;

use super::layers::{CausalConv, RmsNorm, Sees};
use crate::runtime::{error::Result, weights::Loader};
use crate::v1::vae::blocks::attend_frames;
use crate::v1::vae::layers::PointConv;

/// Two convolutions with norms, added to their input.
#[derive(Debug)]
pub(super) struct Resnet {
    norm1: RmsNorm,
    conv1: CausalConv,
    norm2: RmsNorm,
    conv2: CausalConv,
    conv_shortcut: Option<PointConv>,
}

impl Resnet {
    pub(super) fn load(loader: &Loader, [input, output]: [i64; 2], sees: Sees) -> Result<Self> {
        let shortcut = || PointConv::load(&loader.pp("conv_shortcut"), input, output);
        Ok(Self {
            norm1: RmsNorm::load(&loader.pp("norm1"), input)?,
            conv1: CausalConv::load(&loader.pp("conv1"), [input, output], sees)?,
            norm2: RmsNorm::load(&loader.pp("norm2"), output)?,
            conv2: CausalConv::load(&loader.pp("conv2"), [output; 2], sees)?,
            conv_shortcut: (input != output).then(shortcut).transpose()?,
        })
    }

    /// `[.., input]` to `[.., output]`.
    pub(super) fn forward(&self, input: Tensor) -> Result<Tensor> {
        let hidden = self.conv1.forward_silu(self.norm1.forward(&input)?)?;
        let residual = match &self.conv_shortcut {
            Some(shortcut) => shortcut.forward(&input)?,
            None => input,
        };
        let normed = self.norm2.forward(&hidden)?;
        drop(hidden);
        let mut out = self.conv2.forward_silu(normed)?;
        Ok(out.f_add_(&residual)?)
    }
}

/// Attention of every pixel to those of its own and earlier frames, one head.
#[derive(Debug)]
pub(super) struct Attention {
    norm: RmsNorm,
    /// `[3 * channels, channels]`: query, key, value.
    qkv: (Tensor, Tensor),
    proj_out: PointConv,
}

impl Attention {
    pub(super) fn load(loader: &Loader, channels: i64) -> Result<Self> {
        let names = ["to_q", "to_k", "to_v"];
        let (matrix, vector): (&[i64], &[i64]) = (&[channels, channels, 1, 1, 1], &[channels]);
        let weight = loader.fused(&names, "weight", &[matrix; 3])?;
        // A dry load gives undefined tensors, which have no shape to change.
        let weight = if weight.defined() { weight.f_view([3 * channels, channels])? } else { weight };
        Ok(Self {
            norm: RmsNorm::load(&loader.pp("norm"), channels)?,
            qkv: (weight, loader.fused(&names, "bias", &[vector; 3])?),
            proj_out: PointConv::load(&loader.pp("proj_out"), channels, channels)?,
        })
    }

    /// Same size in and out.
    pub(super) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let qkv = self.norm.forward(input)?.f_linear(&self.qkv.0, Some(&self.qkv.1))?;
        let mut out = self.proj_out.forward(&attend_frames(&qkv)?)?;
        Ok(out.f_add_(input)?)
    }
}
