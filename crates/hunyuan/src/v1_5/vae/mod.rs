//! The video decoder of 1.5: latents to frames.
//!
//! The rule: as in [`crate::v1::vae`], but all frames of a tile are decoded at once: there are no pieces in time.
//!
//! Upstream: `HunyuanVideo15Decoder3D` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/models/autoencoders/autoencoder_kl_hunyuanvideo15.py>.

mod blocks;
mod downsample;
pub(crate) mod encoder;
mod layers;
mod upsample;

use tch::{Kind, Tensor};

use self::{
    blocks::{Attention, Resnet},
    layers::{CausalConv, RmsNorm, Sees},
    upsample::Upsample,
};
use super::config::VaeConfig;
use crate::runtime::{
    control::Control,
    error::{Error, InOp, Result},
    finite,
    team::Split,
    tiling::{self, Progress},
    weights::Loader,
};

/// Residual blocks of one resolution, then perhaps an enlargement.
#[derive(Debug)]
struct UpBlock {
    resnets: Vec<Resnet>,
    upsample: Option<Upsample>,
}

/// The decoding half of the VAE with its weights.
#[derive(Debug)]
pub struct Decoder {
    conv_in: CausalConv,
    mid_first: Resnet,
    mid_attention: Attention,
    mid_second: Resnet,
    up_blocks: Vec<UpBlock>,
    norm_out: RmsNorm,
    conv_out: CausalConv,
    config: VaeConfig,
}

impl Decoder {
    /// Builds the decoder from the loader of `vae/`; the encoder's weights are left unread.
    ///
    /// # Errors
    /// A tensor that cannot be read.
    pub fn load(loader: &Loader, config: &VaeConfig) -> Result<Self> {
        loader.ignore("encoder");
        let decoder = loader.pp("decoder");
        let mid = decoder.pp("mid_block");
        let levels = config.levels();
        let coarsest = levels.first().map_or(0, |level| level.channels[0]);
        let finest = levels.last().map_or(0, |level| level.channels[1]);
        let mut up_blocks = Vec::with_capacity(levels.len());
        for (index, level) in levels.iter().enumerate() {
            let block = decoder.pp("up_blocks").pp(index);
            let [input, width] = level.channels;
            let resnets = (0..=config.layers_per_block)
                .map(|index| {
                    let from = if index == 0 { input } else { width };
                    Resnet::load(&block.pp("resnets").pp(index), [from, width], Sees::Video)
                })
                .collect::<Result<_>>()?;
            let upsample =
                level.resize.map(|(time, after)| Upsample::load(&block.pp("upsamplers.0"), [width, after], time));
            up_blocks.push(UpBlock { resnets, upsample: upsample.transpose()? });
        }
        Ok(Self {
            conv_in: CausalConv::load(&decoder.pp("conv_in"), [config.latent_channels, coarsest], Sees::Video)?,
            mid_first: Resnet::load(&mid.pp("resnets.0"), [coarsest; 2], Sees::Video)?,
            mid_attention: Attention::load(&mid.pp("attentions.0"), coarsest)?,
            mid_second: Resnet::load(&mid.pp("resnets.1"), [coarsest; 2], Sees::Video)?,
            up_blocks,
            norm_out: RmsNorm::load(&decoder.pp("norm_out"), finest)?,
            conv_out: CausalConv::load(&decoder.pp("conv_out"), [finest, config.out_channels], Sees::Video)?,
            config: config.clone(),
        })
    }

    /// `[batch, channels, frames, height, width]` latents to frames `[batch, frames, height, width, 3]` fp32 in 0..1; `spatial` allows
    /// tiles in height and width.
    ///
    /// # Errors
    /// Latents of another shape, [`Error::Cancelled`] between blocks of a tile, values that are not finite, memory.
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
        Ok(tiling::Plan::new(ratios, split.sizes, split.spatial)?.whole_in_time())
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
        let latents = latents.f_permute([0, 2, 3, 4, 1])?.f_contiguous()?;
        let mut hidden = self.conv_in.forward(&latents)?;
        let repeats = hidden.size()[4] / latents.size()[4];
        let _ = hidden.f_unflatten(4, [-1, repeats])?.f_add_(&latents.f_unsqueeze(5)?)?;
        hidden = self.mid_first.forward(hidden)?;
        control.check_at(device)?;
        hidden = self.mid_attention.forward(&hidden)?;
        control.check_at(device)?;
        hidden = self.mid_second.forward(hidden)?;
        for block in &self.up_blocks {
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
        let normed = self.norm_out.forward(&hidden)?;
        drop(hidden);
        self.conv_out.forward_silu(normed)
    }

    /// Number of [`Control::check_at`] calls of one tile.
    #[must_use]
    pub(crate) fn checks_per_tile(&self) -> u64 {
        let blocks: usize =
            self.up_blocks.iter().map(|block| block.resnets.len() + usize::from(block.upsample.is_some())).sum();
        (blocks + 4) as u64
    }

    /// Bytes that decoding a tile holds at once, estimated at the finest level, for `frames` x `height` x `width` pixels.
    #[must_use]
    pub(crate) fn activation_bytes(&self, frames: i64, height: i64, width: i64, kind: Kind) -> u64 {
        // The input of a residual block, the normed copy and the padded one are alive together; the last enlargement holds as
        // much, in what its convolution made, its layout and its result.
        let widest = self.config.levels().last().map_or(1, |level| level.channels[0].max(level.channels[1]));
        let values = frames.saturating_mul(height).saturating_mul(width).saturating_mul(3 * widest);
        u64::try_from(values).unwrap_or(u64::MAX).saturating_mul(kind.elt_size_in_bytes() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::weights::key_table;

    #[test]
    fn the_released_decoder_has_its_published_size() {
        let table = key_table(|loader| Decoder::load(loader, &VaeConfig::default())).unwrap();
        // Of the VAE's 1,260,634,115 parameters, the encoder has 389.3 million.
        assert!((871_000_000..872_000_000).contains(&table.parameters()), "{}", table.parameters());
        assert!(table.ignores("encoder.conv_in.conv.weight"));
        assert!(table.uses("decoder.mid_block.attentions.0.norm.gamma"));
        assert!(table.uses("decoder.up_blocks.3.upsamplers.0.conv.conv.weight"));
    }
}
