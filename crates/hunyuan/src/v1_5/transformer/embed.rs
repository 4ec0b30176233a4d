//! What turns quoted text and time into the transformer's vectors.
//!
//! Upstream: `HunyuanVideo15ByT5TextProjection` and `HunyuanVideo15TimeEmbedding` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/models/transformers/transformer_hunyuan_video15.py>.

use tch::Tensor;

use crate::runtime::{error::Result, weights::Loader};
use crate::v1::transformer::layers::{Activation, Linear, Norm, activate};

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
