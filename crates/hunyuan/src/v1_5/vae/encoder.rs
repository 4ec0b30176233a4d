//! The picture half of 1.5's VAE: one frame to its latents.
//!
//! The rule: only what a video's first frame needs. The mean of the distribution is taken, so nothing is drawn at random. Tiles are those of
//! the decoder: the reference has one switch for both.
//!
//! Upstream: `HunyuanVideo15Encoder3D` and `tiled_encode` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/models/autoencoders/autoencoder_kl_hunyuanvideo15.py>.

use tch::Tensor;

use super::{
    blocks::{Attention, Resnet},
    downsample::{Downsample, averaged},
    layers::{self, CausalConv, RmsNorm, Sees},
};
use crate::runtime::{
    control::Control,
    error::{InOp, Result},
    finite,
    tiling::{self, TileSizes},
    weights::{KeyTable, Loader},
};
use crate::v1_5::config::VaeConfig;

/// Residual blocks of one resolution, then perhaps a reduction.
#[derive(Debug)]
struct DownBlock {
    resnets: Vec<Resnet>,
    downsample: Option<Downsample>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Encoder {
    conv_in: CausalConv,
    down_blocks: Vec<DownBlock>,
    mid_first: Resnet,
    mid_attention: Attention,
    mid_second: Resnet,
    norm_out: RmsNorm,
    conv_out: CausalConv,
    config: VaeConfig,
}

impl Encoder {
    /// Builds the encoder from the loader of `vae/`; the decoder's weights are left unread.
    ///
    /// # Errors
    /// A tensor that cannot be read.
    pub(crate) fn load(loader: &Loader, config: &VaeConfig) -> Result<Self> {
        loader.ignore("decoder");
        let encoder = loader.pp("encoder");
        let mid = encoder.pp("mid_block");
        let levels = config.encoder_levels();
        let finest = levels.first().map_or(0, |level| level.channels[0]);
        let coarsest = levels.last().map_or(0, |level| level.channels[1]);
        let mut down_blocks = Vec::with_capacity(levels.len());
        for (index, level) in levels.iter().enumerate() {
            let block = encoder.pp("down_blocks").pp(index);
            let [input, width] = level.channels;
            let resnets = (0..config.layers_per_block)
                .map(|index| {
                    let from = if index == 0 { input } else { width };
                    Resnet::load(&block.pp("resnets").pp(index), [from, width], Sees::Frame)
                })
                .collect::<Result<_>>()?;
            let downsample =
                level.resize.map(|(time, after)| Downsample::load(&block.pp("downsamplers.0"), [width, after], time));
            down_blocks.push(DownBlock { resnets, downsample: downsample.transpose()? });
        }
        Ok(Self {
            conv_in: CausalConv::load(&encoder.pp("conv_in"), [3, finest], Sees::Frame)?,
            down_blocks,
            mid_first: Resnet::load(&mid.pp("resnets.0"), [coarsest; 2], Sees::Frame)?,
            mid_attention: Attention::load(&mid.pp("attentions.0"), coarsest)?,
            mid_second: Resnet::load(&mid.pp("resnets.1"), [coarsest; 2], Sees::Frame)?,
            norm_out: RmsNorm::load(&encoder.pp("norm_out"), coarsest)?,
            conv_out: CausalConv::load(&encoder.pp("conv_out"), [coarsest, 2 * config.latent_channels], Sees::Frame)?,
            config: config.clone(),
        })
    }

    /// Values that an encoder with the tensors of this table keeps in memory.
    pub(crate) fn parameters(table: &KeyTable) -> i64 {
        layers::parameters_of_frame(table)
    }

    /// A picture `[1, 3, 1, height, width]` in -1..1 to latents `[1, channels, 1, height / ratio, width / ratio]`, scaled as the
    /// transformer's; `spatial` allows tiles in height and width.
    ///
    /// # Errors
    /// [`crate::Error::Cancelled`] between blocks of a tile, values that are not finite, memory.
    pub(crate) fn encode(
        &self,
        picture: &Tensor,
        tiles: &TileSizes,
        spatial: bool,
        control: &Control,
    ) -> Result<Tensor> {
        let plan = tiling::Plan::of_encoder(self.config.spatial_compression_ratio, tiles, spatial)?;
        let moments = plan.run(picture, &mut |tile| self.encode_tile(tile, control), &mut |_, _| {}).in_op("encode")?;
        finite::check(&moments, "image encoders", None)?;
        // The second half is the distribution's width.
        let mean = moments.f_narrow(4, 0, self.config.latent_channels)?;
        let scaled = mean.f_mul_scalar(self.config.scaling_factor)?;
        Ok(scaled.f_permute([0, 4, 1, 2, 3])?.f_contiguous()?)
    }

    /// One tile `[1, 3, 1, height, width]` to moments `[1, 1, height / ratio, width / ratio, 2 * channels]`.
    fn encode_tile(&self, tile: &Tensor, control: &Control) -> Result<Tensor> {
        let device = tile.device();
        control.check_at(device)?;
        let mut hidden = self.conv_in.forward(&tile.f_permute([0, 2, 3, 4, 1])?.f_contiguous()?)?;
        for block in &self.down_blocks {
            for resnet in &block.resnets {
                control.check_at(device)?;
                hidden = resnet.forward(hidden)?;
            }
            if let Some(downsample) = &block.downsample {
                hidden = downsample.forward(&hidden)?;
            }
        }
        control.check_at(device)?;
        hidden = self.mid_first.forward(hidden)?;
        hidden = self.mid_attention.forward(&hidden)?;
        hidden = self.mid_second.forward(hidden)?;
        let mut moments = self.conv_out.forward_silu(self.norm_out.forward(&hidden)?)?;
        Ok(moments.f_add_(&averaged(&hidden, 2 * self.config.latent_channels)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::weights::key_table;

    #[test]
    fn the_released_encoder_and_decoder_are_the_whole_vae() {
        let config = VaeConfig::default();
        let encoder = key_table(|loader| Encoder::load(loader, &config)).unwrap();
        let decoder = key_table(|loader| super::super::Decoder::load(loader, &config)).unwrap();
        assert_eq!(encoder.parameters() + decoder.parameters(), 1_260_634_115);
        // All but 40 of its 389.3 million values are kernels over three frames, of which the sums stay.
        let kept = Encoder::parameters(&encoder);
        assert!((129_000_000..133_000_000).contains(&kept), "{kept}");
        assert!(encoder.uses("encoder.down_blocks.3.downsamplers.0.conv.conv.weight"));
    }
}
