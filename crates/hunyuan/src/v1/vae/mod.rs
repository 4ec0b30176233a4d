//! The video decoder: latents to frames.
//!
//! The rule: a tile (or the whole, when it is small) goes through [`Decoder`] once; which tiles there are and how they are
//! joined is decided by [`tiling`]. [`Control::check_at`] is called between blocks, so a cancel takes effect within a tile.
//!
//! Upstream: `HunyuanVideoDecoder3D` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/models/autoencoders/autoencoder_kl_hunyuan_video.py>.

pub(crate) mod blocks;
pub(crate) mod layers;
mod upsample;

use tch::{Kind, Tensor};

use self::{
    blocks::{FrameAttention, Resnet},
    layers::{CausalConv, GroupNorm, PointConv},
    upsample::Upsample,
};
use crate::runtime::{
    control::Control,
    error::{Error, InOp, Result},
    finite,
    team::Split,
    tiling::{self, Progress},
    weights::Loader,
};
use crate::v1::config::VaeConfig;

/// Residual blocks of one resolution, then perhaps an enlargement.
#[derive(Debug)]
struct UpBlock {
    resnets: Vec<Resnet>,
    upsample: Option<Upsample>,
}

/// The decoding half of the VAE with its weights.
#[derive(Debug)]
pub struct Decoder {
    post_quant: PointConv,
    conv_in: CausalConv,
    mid_first: Resnet,
    mid_attention: Option<FrameAttention>,
    mid_second: Resnet,
    up: Vec<UpBlock>,
    norm_out: GroupNorm,
    conv_out: CausalConv,
    config: VaeConfig,
}

/// Factors (frames, pixels) by which the decoder's level enlarges; coarsest level first.
fn enlargement(config: &VaeConfig) -> Vec<[i64; 2]> {
    let levels = config.block_out_channels.len();
    let spatial = config.spatial_compression_ratio.trailing_zeros() as usize;
    let temporal = config.temporal_compression_ratio.trailing_zeros() as usize;
    let time = |level: usize| level + 1 < levels && level + 1 + temporal >= levels;
    (0..levels).map(|level| [if time(level) { 2 } else { 1 }, if level < spatial { 2 } else { 1 }]).collect()
}

impl Decoder {
    /// Builds the decoder from the loader of `vae/`; the encoder's weights are left unread.
    ///
    /// # Errors
    /// A tensor that cannot be read.
    pub fn load(loader: &Loader, config: &VaeConfig) -> Result<Self> {
        loader.ignore("encoder");
        loader.ignore("quant_conv");
        let groups = config.norm_num_groups;
        let channels: Vec<i64> = config.block_out_channels.iter().rev().copied().collect();
        let coarsest = channels[0];
        let decoder = loader.pp("decoder");
        let mid = decoder.pp("mid_block");
        let mut up = Vec::new();
        let mut input = coarsest;
        for (level, (&output, factors)) in channels.iter().zip(enlargement(config)).enumerate() {
            let block = decoder.pp("up_blocks").pp(level);
            let resnets = (0..=config.layers_per_block)
                .map(|index| {
                    let from = if index == 0 { input } else { output };
                    Resnet::load(&block.pp("resnets").pp(index), from, output, groups)
                })
                .collect::<Result<_>>()?;
            let upsample =
                (factors != [1, 1]).then(|| Upsample::load(&block.pp("upsamplers.0"), output, factors)).transpose()?;
            up.push(UpBlock { resnets, upsample });
            input = output;
        }
        Ok(Self {
            post_quant: PointConv::load(&loader.pp("post_quant_conv"), config.latent_channels, config.latent_channels)?,
            conv_in: CausalConv::load(&decoder.pp("conv_in"), config.latent_channels, coarsest)?,
            mid_first: Resnet::load(&mid.pp("resnets.0"), coarsest, coarsest, groups)?,
            mid_attention: config
                .mid_block_add_attention
                .then(|| FrameAttention::load(&mid.pp("attentions.0"), coarsest, groups))
                .transpose()?,
            mid_second: Resnet::load(&mid.pp("resnets.1"), coarsest, coarsest, groups)?,
            up,
            norm_out: GroupNorm::load(&decoder.pp("conv_norm_out"), input, groups)?,
            conv_out: CausalConv::load(&decoder.pp("conv_out"), input, config.out_channels)?,
            config: config.clone(),
        })
    }

    /// Decodes latents `[batch, channels, frames, height, width]` (as the transformer makes them, unscaled) into
    /// `[batch, frames, height, width, 3]` fp32 in 0..1.
    ///
    /// `spatial` allows tiles in height and width; long videos are cut into pieces of frames in any case, as the
    /// reference does.
    ///
    /// # Errors
    /// [`Error::Cancelled`] between blocks, or libtorch.
    pub(crate) fn decode(
        &self,
        latents: &Tensor,
        split: &Split,
        control: &Control,
        progress: Progress,
    ) -> Result<Tensor> {
        let size = latents.size();
        if size.len() != 5 || size[1] != self.config.latent_channels || latents.numel() == 0 {
            let reason = format!(
                "shape {size:?}, but this decoder takes [batch, {}, frames, height, width]",
                self.config.latent_channels
            );
            return Err(Error::input("latents", reason));
        }
        let scaled = latents.f_div_scalar(self.config.scaling_factor)?;
        let plan = self.plan(split)?;
        let tile = &mut |tile: &Tensor| self.decode_tile(tile, control);
        let decoded = split.run(&plan, &scaled, tile, progress).in_op("decode")?;
        // Before the clamp, which would turn infinity into a plausible white.
        finite::check(&decoded, "decoder", None)?;
        let mut pixels = if decoded.kind() == Kind::Float { decoded } else { decoded.f_to_kind(Kind::Float)? };
        let mut pixels = pixels.f_mul_scalar_(0.5)?.f_add_scalar_(0.5)?;
        Ok(pixels.f_clamp_(0.0, 1.0)?)
    }

    /// How a video is split into tiles.
    fn plan(&self, split: &Split) -> Result<tiling::Plan> {
        let ratios = [self.config.spatial_compression_ratio, self.config.temporal_compression_ratio];
        tiling::Plan::new(ratios, split.sizes, split.spatial)
    }

    /// The part of another process of the team in a decoding.
    pub(crate) fn follow(&self, latents: &Tensor, split: &Split) -> Result<()> {
        let Some(team) = split.team else { return Ok(()) };
        let scaled = latents.f_div_scalar(self.config.scaling_factor)?;
        let tiles = self.plan(split)?.views(&scaled)?;
        team.decode_tiles(&tiles, &mut |tile| self.decode_tile(tile, &Control::new())).in_op("decode")
    }

    /// One tile `[batch, channels, frames, height, width]` to `[batch, frames, height, width, 3]`, not yet in 0..1.
    fn decode_tile(&self, latents: &Tensor, control: &Control) -> Result<Tensor> {
        let device = latents.device();
        control.check_at(device)?;
        let latents = self.post_quant.forward(&latents.f_permute([0, 2, 3, 4, 1])?.f_contiguous()?)?;
        let hidden = self.conv_in.forward_unpadded(&latents)?;
        let mut hidden = self.mid_first.forward(hidden)?;
        if let Some(attention) = &self.mid_attention {
            control.check_at(device)?;
            hidden = attention.forward(&hidden)?;
        }
        control.check_at(device)?;
        hidden = self.mid_second.forward(hidden)?;
        for block in &self.up {
            for resnet in &block.resnets {
                control.check_at(device)?;
                hidden = resnet.forward(hidden)?;
            }
            if let Some(upsample) = &block.upsample {
                control.check_at(device)?;
                hidden = upsample.forward(&hidden)?;
            }
        }
        control.check_at(device)?;
        let padded = self.norm_out.activate_padded(&hidden)?;
        drop(hidden);
        self.conv_out.forward(&padded)
    }

    /// Number of [`Control::check_at`] calls of one tile.
    #[must_use]
    pub(crate) fn checks_per_tile(&self) -> u64 {
        let blocks: usize =
            self.up.iter().map(|block| block.resnets.len() + usize::from(block.upsample.is_some())).sum();
        (blocks + 3 + usize::from(self.mid_attention.is_some())) as u64
    }

    /// Bytes that decoding a tile holds at once, estimated at the finest level, for `frames` x `height` x `width` pixels.
    #[must_use]
    pub(crate) fn activation_bytes(&self, frames: i64, height: i64, width: i64, kind: Kind) -> u64 {
        let channels = &self.config.block_out_channels;
        // The first residual block of the finest level still has the channels of the level before: its input, the
        // normed copy and the padded one are alive together.
        let widest = channels.get(1).copied().unwrap_or(channels[0]).max(channels[0]);
        let values = frames.saturating_mul(height).saturating_mul(width).saturating_mul(3 * widest);
        u64::try_from(values).unwrap_or(u64::MAX).saturating_mul(kind.elt_size_in_bytes() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::weights::key_table;

    #[test]
    fn the_released_decoder_enlarges_space_thrice_and_time_twice() {
        assert_eq!(enlargement(&VaeConfig::default()), [[1, 2], [2, 2], [2, 2], [1, 1]]);
    }

    #[test]
    fn the_encoders_weights_are_known_and_left_unread() {
        let table = key_table(|loader| Decoder::load(loader, &VaeConfig::default())).unwrap();
        assert!(table.ignores("encoder.conv_in.conv.weight") && table.ignores("quant_conv.bias"));
        assert!(table.uses("decoder.up_blocks.2.upsamplers.0.conv.conv.weight"));
        assert!(table.uses("decoder.mid_block.attentions.0.to_out.0.weight"));
        assert!(!table.ignores("post_quant_conv.weight"));
    }
}
