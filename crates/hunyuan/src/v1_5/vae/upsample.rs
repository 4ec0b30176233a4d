//! Enlargement by moving channels into space and time.
//!
//! A convolution makes all new pixels of a position as channels, which are then laid out; the input takes the same way as a shortcut,
//! with each of its channels repeated. The first latent frame stands for a single frame: it is enlarged in space alone, and the
//! second half of the channels that its convolution made is not used.
//!
//! Upstream: `HunyuanVideo15Upsample` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/models/autoencoders/autoencoder_kl_hunyuanvideo15.py>.

use tch::Tensor;

use super::layers::{CausalConv, Sees};
use crate::runtime::{error::Result, weights::Loader};
use crate::v1::vae::layers::extent;

/// See the module.
#[derive(Debug)]
pub(super) struct Upsample {
    conv: CausalConv,
    output: i64,
    /// Factor of frames: 1 or 2. Height and width double.
    time: i64,
}

impl Upsample {
    pub(super) fn load(loader: &Loader, [input, output]: [i64; 2], time: i64) -> Result<Self> {
        let channels = [input, output * 4 * time];
        Ok(Self { conv: CausalConv::load(&loader.pp("conv"), channels, Sees::Video)?, output, time })
    }

    /// `[batch, frames, height, width, input]` to `[batch, time * (frames - 1) + 1, 2 height, 2 width, output]`; all frames alike
    /// where time is not enlarged.
    pub(super) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let made = self.conv.forward(input)?;
        if self.time == 1 {
            let out = spread(&made, 1)?;
            add_repeated(&out, &spread(input, 1)?)?;
            return Ok(out);
        }
        let [batch, frames, height, width, _] = extent(input)?;
        let shape = [batch, 2 * frames - 1, 2 * height, 2 * width, self.output];
        let out = Tensor::f_empty(shape, (input.kind(), input.device()))?;
        // 1. The first frame: half of the channels that were made for it.
        let first = spread(&made.f_narrow(1, 0, 1)?, 1)?.f_narrow(4, 0, self.output)?;
        let target = out.f_narrow(1, 0, 1)?;
        target.shallow_clone().f_copy_(&first)?;
        add_repeated(&target, &spread(&input.f_narrow(1, 0, 1)?, 1)?)?;
        // 2. The others, two for each.
        if frames > 1 {
            let target = out.f_narrow(1, 1, 2 * frames - 2)?;
            target.shallow_clone().f_copy_(&spread(&made.f_narrow(1, 1, frames - 1)?, 2)?)?;
            add_repeated(&target, &spread(&input.f_narrow(1, 1, frames - 1)?, 2)?)?;
        }
        Ok(out)
    }
}

/// Channels to positions: `[b, f, h, w, time * 4 * c]`, whose channels are ordered by frame, row, column and only then by channel, to
/// `[b, time * f, 2 h, 2 w, c]`.
fn spread(packed: &Tensor, time: i64) -> Result<Tensor> {
    let [batch, frames, height, width, channels] = extent(packed)?;
    let split = packed.f_reshape([batch, frames, height, width, time, 2, 2, channels / (4 * time)].as_slice())?;
    let ordered = split.f_permute([0, 1, 4, 2, 5, 3, 6, 7])?;
    Ok(ordered.f_reshape([batch, frames * time, 2 * height, 2 * width, -1])?)
}

/// Adds `source` in place, each of its channels to as many neighbouring ones of `target` as there are for it.
fn add_repeated(target: &Tensor, source: &Tensor) -> Result<()> {
    let [batch, frames, height, width, channels] = extent(source)?;
    let repeats = extent(target)?[4] / channels;
    // Channels lie together, so this is a view even of some frames of a larger activation.
    let mut view = target.f_unflatten(4, [channels, repeats])?;
    let _ = view.f_add_(&source.f_view([batch, frames, height, width, channels, 1].as_slice())?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn channels_become_frames_rows_and_columns_in_this_order() {
        let packed = Tensor::arange(16, (Kind::Float, Device::Cpu)).view([1, 1, 1, 1, 16]);
        let out = spread(&packed, 2).unwrap();
        assert_eq!(out.size(), [1, 2, 2, 2, 2]);
        let at = |frame, row, column, channel| out.double_value(&[0, frame, row, column, channel]);
        assert_eq!([at(0, 0, 0, 1), at(0, 0, 1, 0), at(0, 1, 0, 0), at(1, 0, 0, 0)], [1.0, 2.0, 4.0, 8.0]);
    }

    #[test]
    fn each_channel_is_added_to_its_neighbours() {
        let target = Tensor::zeros([1, 3, 1, 1, 4], (Kind::Float, Device::Cpu));
        let source = Tensor::from_slice(&[1.0_f32, 2.0, 3.0, 4.0]).view([1, 2, 1, 1, 2]);
        add_repeated(&target.narrow(1, 1, 2), &source).unwrap();
        let values = Vec::<f32>::try_from(target.reshape(-1)).unwrap();
        assert_eq!(values, [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0]);
    }
}
