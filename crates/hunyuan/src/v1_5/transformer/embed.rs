//! What turns quoted text, a picture and time into the transformer's vectors.
//!
//! Upstream: `HunyuanVideo15ByT5TextProjection`, `HunyuanVideo15ImageProjection` and `HunyuanVideo15TimeEmbedding` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/models/transformers/transformer_hunyuan_video15.py>.

use tch::{Kind, Tensor};

use crate::runtime::{error::Result, weights::Loader};
use crate::v1::transformer::embed::NumberEmbed;
use crate::v1::transformer::layers::{Activation, Linear, Mlp, Norm, activate};

/// Epsilon of the norms of encoder states.
const STATES_NORM_EPS: f64 = 1e-5;

/// Projects the glyph encoder's states: a norm, then three dense layers.
#[derive(Debug)]
pub(super) struct GlyphProjection {
    norm: Norm,
    linear_1: Linear,
    linear_2: Linear,
    linear_3: Linear,
}

impl GlyphProjection {
    /// `inner` is the width between the layers, which no configuration names.
    pub(super) fn load(loader: &Loader, [input, inner, hidden]: [i64; 3]) -> Result<Self> {
        Ok(Self {
            norm: Norm::load(&loader.pp("norm"), input, STATES_NORM_EPS)?,
            linear_1: Linear::load(&loader.pp("linear_1"), input, inner)?,
            linear_2: Linear::load(&loader.pp("linear_2"), inner, inner)?,
            linear_3: Linear::load(&loader.pp("linear_3"), inner, hidden)?,
        })
    }

    /// `[batch, tokens, input]` to `[batch, tokens, hidden]`.
    pub(super) fn forward(&self, states: &Tensor) -> Result<Tensor> {
        let mut hidden = self.linear_1.forward(&self.norm.forward(states)?)?;
        activate(&mut hidden, Activation::Gelu)?;
        let mut hidden = self.linear_2.forward(&hidden)?;
        activate(&mut hidden, Activation::Gelu)?;
        self.linear_3.forward(&hidden)
    }
}

/// Projects the image encoder's states: two dense layers between two norms.
#[derive(Debug)]
pub(super) struct ImageProjection {
    norm_in: Norm,
    linear: Mlp,
    norm_out: Norm,
}

impl ImageProjection {
    pub(super) fn load(loader: &Loader, [input, hidden]: [i64; 2]) -> Result<Self> {
        let names = ["linear_1", "linear_2"];
        Ok(Self {
            norm_in: Norm::load(&loader.pp("norm_in"), input, STATES_NORM_EPS)?,
            linear: Mlp::load(loader, names, [input, input, hidden], Activation::Gelu)?,
            norm_out: Norm::load(&loader.pp("norm_out"), hidden, STATES_NORM_EPS)?,
        })
    }

    /// `[batch, tokens, input]` to `[batch, tokens, hidden]`.
    pub(super) fn forward(&self, states: &Tensor) -> Result<Tensor> {
        self.norm_out.forward(&self.linear.forward(&self.norm_in.forward(states)?)?)
    }
}

/// Embeds the time of a step and, in step-distilled checkpoints, the time at which the step ends.
#[derive(Debug)]
pub(super) struct TimeEmbed {
    timestep_embedder: NumberEmbed,
    timestep_embedder_r: Option<NumberEmbed>,
}

impl TimeEmbed {
    pub(super) fn load(loader: &Loader, hidden: i64, use_meanflow: bool) -> Result<Self> {
        let end = || NumberEmbed::load(&loader.pp("timestep_embedder_r"), hidden);
        Ok(Self {
            timestep_embedder: NumberEmbed::load(&loader.pp("timestep_embedder"), hidden)?,
            timestep_embedder_r: use_meanflow.then(end).transpose()?,
        })
    }

    /// Both times `[batch]` fp32 to `[batch, hidden]` of `kind`.
    pub(super) fn forward(&self, now: &Tensor, next: &Tensor, kind: Kind) -> Result<Tensor> {
        let mut sum = self.timestep_embedder.forward(now, kind)?;
        match &self.timestep_embedder_r {
            Some(embedder) => Ok(sum.f_add_(&embedder.forward(next, kind)?)?),
            None => Ok(sum),
        }
    }
}
