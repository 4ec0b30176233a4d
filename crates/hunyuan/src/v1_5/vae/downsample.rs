//! Reduction of a picture by moving space into channels.
//!
//! A convolution makes fewer channels, and those of four neighbouring pixels become one pixel's; the input takes the same way as a
//! shortcut, averaged over groups of channels. Where frames are reduced as well, the first frame stands for a single one, and the channels
//! of its missing neighbour are a second copy of its own.
//!
//! Upstream: `HunyuanVideo15Downsample` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/models/autoencoders/autoencoder_kl_hunyuanvideo15.py>.

use tch::{Kind, Tensor};

use super::layers::{CausalConv, Sees};
use crate::runtime::{error::Result, weights::Loader};
use crate::v1::vae::layers::extent;

/// See the module.
#[derive(Debug)]
pub(super) struct Downsample {
    conv: CausalConv,
    output: i64,
    /// Factor of frames: 1 or 2. Height and width halve.
    time: i64,
}

impl Downsample {
    pub(super) fn load(loader: &Loader, [input, output]: [i64; 2], time: i64) -> Result<Self> {
        let channels = [input, output / (4 * time)];
        Ok(Self { conv: CausalConv::load(&loader.pp("conv"), channels, Sees::Frame)?, output, time })
    }

    /// `[batch, 1, height, width, input]` to `[batch, 1, height / 2, width / 2, output]`.
    pub(super) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let made = gather(&self.conv.forward(input)?)?;
        let mut out = if self.time == 1 { made } else { Tensor::f_cat(&[&made, &made], 4)? };
        Ok(out.f_add_(&averaged(&gather(input)?, self.output)?)?)
    }
}

/// Positions to channels: `[b, f, 2 h, 2 w, c]` to `[b, f, h, w, 4 c]`, ordered by row, column and only then by channel.
fn gather(pixels: &Tensor) -> Result<Tensor> {
    let [batch, frames, height, width, channels] = extent(pixels)?;
    let split = pixels.f_reshape([batch, frames, height / 2, 2, width / 2, 2, channels].as_slice())?;
    let ordered = split.f_permute([0, 1, 2, 4, 3, 5, 6])?;
    Ok(ordered.f_reshape([batch, frames, height / 2, width / 2, 4 * channels])?)
}

/// Means over as many neighbouring channels as leave `output` of them.
pub(super) fn averaged(tensor: &Tensor, output: i64) -> Result<Tensor> {
    let grouped = tensor.f_unflatten(4, [output, -1])?;
    Ok(grouped.f_mean_dim([-1_i64].as_slice(), false, None::<Kind>)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn rows_and_columns_become_channels_in_this_order_and_are_averaged_in_groups() {
        // Two rows, two columns, two channels.
        let pixels = Tensor::arange(8, (Kind::Float, Device::Cpu)).view([1, 1, 2, 2, 2]);
        let gathered = gather(&pixels).unwrap();
        assert_eq!(gathered.size(), [1, 1, 1, 1, 8]);
        assert!(gathered.reshape(-1).equal(&pixels.reshape(-1)));
        let means = Vec::<f32>::try_from(averaged(&gathered, 4).unwrap().reshape(-1)).unwrap();
        assert_eq!(means, [0.5, 2.5, 4.5, 6.5]);
    }
}
