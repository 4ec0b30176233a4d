//! The blocks of the video decoder: residual, and attention of the middle.
//!
//! The rule: a block frees what it no longer needs before it makes the next large tensor; a decode's peak memory is set at
//! the finest level.
//!
//! Upstream: `HunyuanVideoResnetBlockCausal3D` and `HunyuanVideoMidBlock3D` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/models/autoencoders/autoencoder_kl_hunyuan_video.py>.

use tch::Tensor;

use super::layers::{CausalConv, GroupNorm, PointConv, extent};
use crate::runtime::{error::Result, weights::Loader};

/// Two convolutions with norms, added to their input.
#[derive(Debug)]
pub(super) struct Resnet {
    norm1: GroupNorm,
    conv1: CausalConv,
    norm2: GroupNorm,
    conv2: CausalConv,
    shortcut: Option<PointConv>,
}

impl Resnet {
    pub(super) fn load(loader: &Loader, input: i64, output: i64, groups: i64) -> Result<Self> {
        let shortcut = || PointConv::load(&loader.pp("conv_shortcut").pp("conv"), input, output);
        Ok(Self {
            norm1: GroupNorm::load(&loader.pp("norm1"), input, groups)?,
            conv1: CausalConv::load(&loader.pp("conv1"), input, output)?,
            norm2: GroupNorm::load(&loader.pp("norm2"), output, groups)?,
            conv2: CausalConv::load(&loader.pp("conv2"), output, output)?,
            shortcut: (input != output).then(shortcut).transpose()?,
        })
    }

    /// `[.., input]` to `[.., output]`.
    pub(super) fn forward(&self, input: Tensor) -> Result<Tensor> {
        let hidden = self.conv1.forward(&self.norm1.activate_padded(&input)?)?;
        let residual = match &self.shortcut {
            Some(shortcut) => shortcut.forward(&input)?,
            None => input,
        };
        let padded = self.norm2.activate_padded(&hidden)?;
        drop(hidden);
        let mut out = self.conv2.forward(&padded)?;
        Ok(out.f_add_(&residual)?)
    }
}

/// Attention of every pixel to those of its own and earlier frames, one head.
#[derive(Debug)]
pub(super) struct FrameAttention {
    norm: GroupNorm,
    /// `[3 * channels, channels]`: query, key, value.
    qkv: (Tensor, Tensor),
    out: (Tensor, Tensor),
}

impl FrameAttention {
    pub(super) fn load(loader: &Loader, channels: i64, groups: i64) -> Result<Self> {
        let names = ["to_q", "to_k", "to_v"];
        let matrix: &[i64] = &[channels, channels];
        let vector: &[i64] = &[channels];
        let out = loader.pp("to_out.0");
        Ok(Self {
            norm: GroupNorm::load(&loader.pp("group_norm"), channels, groups)?,
            qkv: (loader.fused(&names, "weight", &[matrix; 3])?, loader.fused(&names, "bias", &[vector; 3])?),
            out: (out.tensor("weight", matrix)?, out.tensor("bias", vector)?),
        })
    }

    /// Same size in and out.
    pub(super) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let qkv = self.norm.forward(input)?.f_linear(&self.qkv.0, Some(&self.qkv.1))?;
        let attended = attend_frames(&qkv)?;
        let mut out = attended.f_linear(&self.out.0, Some(&self.out.1))?;
        Ok(out.f_add_(input)?)
    }
}

/// Attention of every pixel to those of its own and earlier frames: `[batch, frames, height, width, 3 * channels]` to
/// `[batch, frames, height, width, channels]`.
pub(crate) fn attend_frames(qkv: &Tensor) -> Result<Tensor> {
    let [batch, frames, height, width, triple] = extent(qkv)?;
    let (pixels, channels) = (height * width, triple / 3);
    let qkv = qkv.f_view([batch, 1, frames * pixels, 3 * channels])?;
    let part = |index: i64| qkv.f_narrow(3, index * channels, channels);
    let (query, key, value) = (part(0)?, part(1)?, part(2)?);
    // Instead of masking later frames, each frame's call leaves them out: half the cost and no memory for a mask.
    let mut attended = Vec::with_capacity(frames as usize);
    for frame in 0..frames {
        let seen = (frame + 1) * pixels;
        attended.push(Tensor::f_scaled_dot_product_attention::<&Tensor>(
            &query.f_narrow(2, frame * pixels, pixels)?,
            &key.f_narrow(2, 0, seen)?,
            &value.f_narrow(2, 0, seen)?,
            None,
            0.0,
            false,
            None,
            false,
        )?);
    }
    Ok(Tensor::f_cat(&attended, 2)?.f_view([batch, frames, height, width, channels])?)
}
