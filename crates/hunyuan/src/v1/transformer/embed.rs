//! The inputs of the transformer other than text states: patches of the latents, time, guidance and the pooled prompt.
//!
//! The rule: everything that does not change between steps (pooled prompt, guidance) is embedded once per video.
//!
//! Upstream: `HunyuanVideoConditionEmbedding` and `HunyuanVideoPatchEmbed` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/models/transformers/transformer_hunyuan_video.py>.

use tch::{Kind, Tensor};

use super::layers::{Activation, Mlp};
use crate::runtime::{error::Result, weights::Loader};

/// Width of the sinusoidal features of a number.
const FEATURES: i64 = 256;
/// Longest period of the sinusoids.
const MAX_PERIOD: f64 = 10_000.0;

/// Sinusoidal features of `values` (`[batch]` fp32): cosines, then sines, `[batch, 256]` fp32.
fn sinusoids(values: &Tensor) -> Result<Tensor> {
    let half = FEATURES / 2;
    let exponent =
        Tensor::f_arange(half, (Kind::Float, values.device()))?.f_mul_scalar(-MAX_PERIOD.ln())?.f_div_scalar(half)?;
    let angles = values.f_unsqueeze(1)?.f_mul(&exponent.f_exp()?.f_unsqueeze(0)?)?;
    Ok(Tensor::f_cat(&[angles.f_cos()?, angles.f_sin()?], 1)?)
}

/// Embeds a number (time in 0..1000, or guidance x 1000).
#[derive(Debug)]
pub(crate) struct NumberEmbed {
    mlp: Mlp,
}

impl NumberEmbed {
    pub(crate) fn load(loader: &Loader, hidden: i64) -> Result<Self> {
        let mlp = Mlp::load(loader, ["linear_1", "linear_2"], [FEATURES, hidden, hidden], Activation::Silu)?;
        Ok(Self { mlp })
    }

    /// `[batch]` fp32 to `[batch, hidden]` of `kind`.
    pub(crate) fn forward(&self, values: &Tensor, kind: Kind) -> Result<Tensor> {
        self.mlp.forward(&sinusoids(values)?.f_to_kind(kind)?)
    }
}

/// Embeds a pooled text vector.
pub(crate) fn pooled_embed(loader: &Loader, input: i64, hidden: i64) -> Result<Mlp> {
    Mlp::load(loader, ["linear_1", "linear_2"], [input, hidden, hidden], Activation::Silu)
}

/// The three sources of the modulation vector.
#[derive(Debug)]
pub(crate) struct ConditionEmbed {
    time: NumberEmbed,
    text: Mlp,
    guidance: Option<NumberEmbed>,
}

impl ConditionEmbed {
    pub(crate) fn load(loader: &Loader, hidden: i64, pooled: i64, guidance: bool) -> Result<Self> {
        Ok(Self {
            time: NumberEmbed::load(&loader.pp("timestep_embedder"), hidden)?,
            text: pooled_embed(&loader.pp("text_embedder"), pooled, hidden)?,
            guidance: guidance.then(|| NumberEmbed::load(&loader.pp("guidance_embedder"), hidden)).transpose()?,
        })
    }

    /// The parts that stay the same for all steps: `[batch, hidden]` of the pooled prompt, and of guidance if the model has it.
    ///
    /// `guidance` has one value a sample.
    pub(crate) fn constants(&self, pooled: &Tensor, guidance: &[f64], kind: Kind) -> Result<(Tensor, Option<Tensor>)> {
        let text = self.text.forward(pooled)?;
        let guidance = match &self.guidance {
            None => None,
            Some(embed) => Some(embed.forward(&scaled_guidance(guidance, kind)?.f_to_device(pooled.device())?, kind)?),
        };
        Ok((text, guidance))
    }

    /// The modulation vector of one step, `[batch, hidden]`. `times` is `[batch]` fp32.
    pub(crate) fn forward(&self, times: &Tensor, text: &Tensor, guidance: Option<&Tensor>) -> Result<Tensor> {
        let mut sum = self.time.forward(times, text.kind())?;
        let mut sum = sum.f_add_(text)?;
        match guidance {
            Some(guidance) => Ok(sum.f_add_(guidance)?),
            None => Ok(sum),
        }
    }
}

/// Guidance times 1000, fp32. It is rounded to `kind` before and after the multiplication, because the weights were trained
/// on that number: 6.0 becomes 6016 in bf16.
fn scaled_guidance(guidance: &[f64], kind: Kind) -> Result<Tensor> {
    let values: Vec<f32> = guidance.iter().map(|&value| value as f32).collect();
    let scaled = Tensor::f_from_slice(&values)?.f_to_kind(kind)?.f_mul_scalar(1000.0)?;
    Ok(scaled.f_to_kind(Kind::Float)?)
}

/// Cuts latents into patches and projects them: a convolution whose stride is its kernel, done as one matrix product.
#[derive(Debug)]
pub(crate) struct PatchEmbed {
    /// `[hidden, channels * patch_t * patch * patch]`
    weight: Tensor,
    bias: Tensor,
    patch: [i64; 3],
}

impl PatchEmbed {
    pub(crate) fn load(loader: &Loader, channels: i64, hidden: i64, patch: [i64; 3]) -> Result<Self> {
        let proj = loader.pp("proj");
        let weight = proj.tensor("weight", &[hidden, channels, patch[0], patch[1], patch[2]])?;
        // A dry load gives undefined tensors, which have no shape to change.
        let weight = if weight.defined() { weight.f_reshape([hidden, -1])? } else { weight };
        Ok(Self { weight, bias: proj.tensor("bias", &[hidden])?, patch })
    }

    /// Tokens along (frames, rows, columns) of latents `[batch, channels, frames, height, width]`.
    pub(crate) fn grid(&self, latents: &Tensor) -> [i64; 3] {
        let size = latents.size();
        [size[2] / self.patch[0], size[3] / self.patch[1], size[4] / self.patch[2]]
    }

    /// Latents to tokens from number `first` on, as many as `out` has room for (`[batch, tokens, hidden]`).
    pub(crate) fn forward_into(&self, latents: &Tensor, first: i64, out: &Tensor) -> Result<()> {
        let size = latents.size();
        let [frames, rows, columns] = self.grid(latents);
        let [patch_t, patch_h, patch_w] = self.patch;
        let cut = latents.f_view([size[0], size[1], frames, patch_t, rows, patch_h, columns, patch_w].as_slice())?;
        let tokens = cut.f_permute([0, 2, 4, 6, 1, 3, 5, 7])?.f_reshape([size[0], frames * rows * columns, -1])?;
        let tokens = tokens.f_narrow(1, first, out.size()[1])?;
        let transposed = self.weight.f_tr()?;
        for sample in 0..size[0] {
            let _ = self.bias.f_addmm_out(&out.f_select(0, sample)?, &tokens.f_select(0, sample)?, &transposed)?;
        }
        Ok(())
    }
}

/// Tokens `[batch, tokens, channels * patch]` back to `[batch, channels, frames, height, width]`.
pub(crate) fn unpatch(tokens: &Tensor, [frames, rows, columns]: [i64; 3], patch: [i64; 3]) -> Result<Tensor> {
    let batch = tokens.size()[0];
    let [patch_t, patch_h, patch_w] = patch;
    let split = tokens.f_view([batch, frames, rows, columns, -1, patch_t, patch_h, patch_w].as_slice())?;
    let ordered = split.f_permute([0, 4, 1, 5, 2, 6, 3, 7])?;
    Ok(ordered.f_reshape([batch, -1, frames * patch_t, rows * patch_h, columns * patch_w])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guidance_is_rounded_as_the_weights_were_trained() {
        let scaled = |kind| Vec::<f32>::try_from(scaled_guidance(&[6.0, 4.5], kind).unwrap()).unwrap();
        assert_eq!(scaled(Kind::BFloat16), [6016.0, 4512.0]);
        assert_eq!(scaled(Kind::Float), [6000.0, 4500.0]);
    }
}
