//! The small layers that all parts of the transformer are built from.
//!
//! The rule: a layer allocates its result at most once, and where a caller owns a larger buffer it writes straight into
//! it. Sequences are `[batch, tokens, width]` throughout.
//!
//! On a CPU every sample of a batch is computed as it is alone: matrix products and convolutions of other sizes are summed in
//! another order there (a product of one row is a kernel of its own), and a CPU gains nothing from larger ones. So a video's
//! bits do not depend on those that share its batch. On a GPU, where larger products are the gain, its last bits may.
//!
//! Upstream: feed-forward and norm layers in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/models/attention.py> and
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/models/normalization.py>.

use tch::{Device, Tensor};

use crate::runtime::{
    error::Result,
    weights::{Loader, Matrix},
};

/// LayerNorm epsilon of all blocks.
pub(crate) const NORM_EPS: f64 = 1e-6;

/// A dense layer with bias. Several projections of one input are one layer: their weights are joined at load.
#[derive(Debug)]
pub(crate) struct Linear {
    /// `[out, in]`
    weight: Matrix,
    /// `[out]`
    bias: Tensor,
}

impl Linear {
    /// Reads `weight` and `bias` below the loader's prefix.
    pub(crate) fn load(loader: &Loader, input: i64, output: i64) -> Result<Self> {
        Ok(Self { weight: loader.matrix(&[""], &[[output, input]])?, bias: loader.tensor("bias", &[output])? })
    }

    /// Reads a convolution whose stride is its kernel, `[out, channels, ..]`, as a layer over the values of a patch.
    pub(crate) fn load_flattened(loader: &Loader, kernel: &[i64]) -> Result<Self> {
        let weight = loader.tensor("weight", kernel)?;
        // A dry load gives undefined tensors, which have no shape to change.
        let weight = if weight.defined() { weight.f_reshape([kernel[0], -1])? } else { weight };
        let weight = Matrix::plain(weight, loader.kind());
        Ok(Self { weight, bias: loader.tensor("bias", &kernel[..1])? })
    }

    /// Reads several layers of the same input and stacks their outputs in the order of `names`.
    pub(crate) fn load_fused(loader: &Loader, names: &[&str], input: i64, outputs: &[i64]) -> Result<Self> {
        let weights: Vec<[i64; 2]> = outputs.iter().map(|&output| [output, input]).collect();
        let biases: Vec<&[i64]> = outputs.iter().map(std::slice::from_ref).collect();
        Ok(Self { weight: loader.matrix(names, &weights)?, bias: loader.fused(names, "bias", &biases)? })
    }

    /// `[batch, .., in]` to `[batch, .., out]`.
    pub(crate) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        sample_by_sample(input, |sample, _| self.product(sample))
    }

    fn product(&self, input: &Tensor) -> Result<Tensor> {
        let output = input.f_linear(&self.weight.value()?, Some(&self.bias))?;
        self.weight.add_beside(input, &output)?;
        Ok(output)
    }

    /// `[batch, tokens, in]` into `out`, a `[batch, tokens, out]` view whose rows may be strided.
    pub(crate) fn forward_into(&self, input: &Tensor, out: &Tensor) -> Result<()> {
        let transposed = self.weight.value()?.f_tr()?;
        for sample in 0..out.size()[0] {
            // A sample is a plain matrix even inside a wider buffer, so the product lands there without a copy.
            let _ = self.bias.f_addmm_out(&out.f_select(0, sample)?, &input.f_select(0, sample)?, &transposed)?;
        }
        self.weight.add_beside(input, out)
    }
}

/// Two dense layers with an activation between them, as all embedders use.
#[derive(Debug)]
pub(crate) struct Mlp {
    first: Linear,
    second: Linear,
    activation: Activation,
}

/// The activations of this model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    Silu,
    Gelu,
    GeluTanh,
}

impl Mlp {
    /// Reads `names[0]` (`[hidden, input]`) and `names[1]` (`[output, hidden]`).
    pub(crate) fn load(
        loader: &Loader,
        names: [&str; 2],
        [input, hidden, output]: [i64; 3],
        activation: Activation,
    ) -> Result<Self> {
        Ok(Self {
            first: Linear::load(&loader.pp(names[0]), input, hidden)?,
            second: Linear::load(&loader.pp(names[1]), hidden, output)?,
            activation,
        })
    }

    /// `[.., input]` to `[.., output]`.
    pub(crate) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let mut hidden = self.first.forward(input)?;
        activate(&mut hidden, self.activation)?;
        self.second.forward(&hidden)
    }
}

/// Applies the activation in place.
pub(crate) fn activate(tensor: &mut Tensor, activation: Activation) -> Result<()> {
    let _ = match activation {
        Activation::Silu => tensor.f_silu_()?,
        Activation::Gelu => tensor.f_gelu_("none")?,
        Activation::GeluTanh => tensor.f_gelu_("tanh")?,
    };
    Ok(())
}

/// LayerNorm with weights.
#[derive(Debug)]
pub(crate) struct Norm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl Norm {
    /// Reads `weight` and `bias` below the loader's prefix.
    pub(crate) fn load(loader: &Loader, width: i64, eps: f64) -> Result<Self> {
        Ok(Self { weight: loader.tensor("weight", &[width])?, bias: loader.tensor("bias", &[width])?, eps })
    }

    /// Same size in and out.
    pub(crate) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        Ok(input.f_layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), self.eps, true)?)
    }
}

/// LayerNorm without weights of its own, then `x * scale + shift` with a scale and shift per sample (`[batch, width]`).
///
/// `scale` already holds the `1 +` of the adaptive norm.
pub(crate) fn modulated_norm(input: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor> {
    let width = [scale.size()[1]];
    if scale.size()[0] == 1 {
        // For one sample the modulation is an ordinary affine norm: one pass over the tokens instead of three.
        let (scale, shift) = (scale.f_select(0, 0)?, shift.f_select(0, 0)?);
        return Ok(input.f_layer_norm(width, Some(&scale), Some(&shift), NORM_EPS, true)?);
    }
    if input.device() == Device::Cpu {
        return sample_by_sample(input, |sample, index| {
            modulated_norm(sample, &scale.f_narrow(0, index, 1)?, &shift.f_narrow(0, index, 1)?)
        });
    }
    let mut normed = input.f_layer_norm::<&Tensor>(width, None, None, NORM_EPS, true)?;
    let mut normed = normed.f_mul_(&scale.f_unsqueeze(1)?)?;
    Ok(normed.f_add_(&shift.f_unsqueeze(1)?)?)
}

/// The samples of a batch one after another on a CPU (see the module), and together elsewhere.
fn sample_by_sample(input: &Tensor, compute: impl Fn(&Tensor, i64) -> Result<Tensor>) -> Result<Tensor> {
    let batch = input.size()[0];
    if batch == 1 || input.device() != Device::Cpu {
        return compute(input, 0);
    }
    let samples: Vec<Tensor> =
        (0..batch).map(|index| compute(&input.f_narrow(0, index, 1)?, index)).collect::<Result<_>>()?;
    cat(samples.iter())
}

/// Joins tensors along the batch.
pub(crate) fn cat<'a>(parts: impl Iterator<Item = &'a Tensor>) -> Result<Tensor> {
    Ok(Tensor::f_cat(&parts.collect::<Vec<_>>(), 0)?)
}

/// `target += update * gate`, in place; `gate` is `[batch, width]`.
pub(crate) fn add_gated(target: &mut Tensor, update: &Tensor, gate: &Tensor) -> Result<()> {
    let _ = target.f_addcmul_(update, &gate.f_unsqueeze(1)?)?;
    Ok(())
}
