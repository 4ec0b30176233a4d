//! Nearest-neighbour enlargement followed by a causal convolution, without making the enlarged activation.
//!
//! The rule: after repeating values, several taps of the convolution read the same value, so their weights can be summed
//! once at load. Each of the output's phases (even or odd row, column, frame) becomes a smaller convolution of
//! the small activation: 2 taps an enlarged axis instead of 3, so 8 of 27 products remain where all three are enlarged.
//! The first frame stands for itself and later ones may be doubled: frame 0 is phase 0 with its past replicated.
//!
//! Upstream: `HunyuanVideoUpsampleCausal3D` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/models/autoencoders/autoencoder_kl_hunyuan_video.py>.

use tch::{Kind, Tensor};

use super::layers::{Rim, convolve, extent, kernel_layout, padded_copy};
use crate::runtime::{error::Result, weights::Loader};

/// Taps summed for each of the two kernel positions of phase 0 and 1 of an enlarged axis.
const PHASES: [[&[i64]; 2]; 2] = [[&[0], &[1, 2]], [&[0, 1], &[2]]];

/// One phase of the output: which of each two frames, rows and columns it makes, and its kernel.
#[derive(Debug)]
struct Phase {
    frame: i64,
    row: i64,
    column: i64,
    weight: Tensor,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Upsample {
    phases: Vec<Phase>,
    bias: Tensor,
    /// Factors of frames and of pixels each way: 1 or 2.
    factors: [i64; 2],
}

impl Upsample {
    pub(super) fn load(loader: &Loader, channels: i64, factors: [i64; 2]) -> Result<Self> {
        let conv = loader.pp("conv").pp("conv");
        let weight = conv.tensor("weight", &[channels, channels, 3, 3, 3])?;
        let bias = conv.tensor("bias", &[channels])?;
        let [time, space] = factors;
        let mut phases = Vec::new();
        if weight.defined() {
            for frame in 0..time {
                for row in 0..space {
                    for column in 0..space {
                        let folded = fold(&weight.f_to_kind(Kind::Float)?, 2, time, frame)?;
                        let folded = fold(&fold(&folded, 3, space, row)?, 4, space, column)?;
                        let weight = kernel_layout(folded.f_to_kind(weight.kind())?)?;
                        phases.push(Phase { frame, row, column, weight });
                    }
                }
            }
        }
        Ok(Self { phases, bias, factors })
    }

    /// `[batch, frames, height, width, channels]`, enlarged and convolved.
    pub(super) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let [batch, frames, height, width, channels] = extent(input)?;
        let [time, space] = self.factors;
        // An enlarged axis reads one past frame, an unchanged one two; pixels need one more on each side either way.
        let before = if time == 2 { 1 } else { 2 };
        let padded = padded_copy(input, Rim { before })?;
        let out_frames = (frames - 1) * time + 1;
        let options = (input.kind(), input.device());
        let out = Tensor::f_empty([batch, out_frames, height * space, width * space, channels], options)?;
        let view = out.f_view([batch, out_frames, height, space, width, space, channels].as_slice())?;
        for phase in &self.phases {
            // With doubled frames, phase 0 makes frames 0, 2, 4, ...; phase 1 makes 1, 3, ..., one less.
            let (first, count) = if phase.frame == 0 { (0, frames) } else { (1, frames - 1) };
            if count == 0 {
                continue;
            }
            let part = padded.f_narrow(1, first, count + before)?;
            let part = part.f_narrow(2, phase.row, height + 3 - space)?.f_narrow(3, phase.column, width + 3 - space)?;
            let made = convolve(&part.f_contiguous()?, &phase.weight, &self.bias)?;
            let target = view.f_select(5, phase.column)?.f_select(3, phase.row)?;
            target.f_slice(1, phase.frame, None, time)?.f_copy_(&made)?;
        }
        Ok(out)
    }
}

/// Sums the taps of `axis` that read the same value in this phase. An axis that is not enlarged keeps its three taps.
fn fold(weight: &Tensor, axis: i64, factor: i64, phase: i64) -> Result<Tensor> {
    if factor == 1 {
        return Ok(weight.shallow_clone());
    }
    let taps =
        PHASES[usize::from(phase == 1)].map(|taps| -> Result<Tensor> {
            Ok(weight
                .f_index_select(axis, &Tensor::f_from_slice(taps)?.f_to_device(weight.device())?)?
                .f_sum_dim_intlist([axis].as_slice(), true, Kind::Float)?)
        });
    let [first, second] = taps;
    Ok(Tensor::f_cat(&[first?, second?], axis)?)
}
