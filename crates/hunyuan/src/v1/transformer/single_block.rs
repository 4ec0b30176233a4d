//! A single-stream block: attention and MLP side by side over the joint tokens.
//!
//! The rule: one matrix product makes queries, keys, values and the MLP's hidden units in one buffer. The attention's
//! result then takes the place of the values, next to the hidden units, and the output projection reads both as one
//! matrix without a concatenation.
//!
//! Upstream: `HunyuanVideoSingleTransformerBlock` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/models/transformers/transformer_hunyuan_video.py>.

use tch::{Kind, Tensor};

use super::{
    attention::{Heads, QkNorm, Sequence},
    layers::{Activation, Linear, activate, add_gated, modulated_norm},
};
use crate::runtime::{error::Result, weights::Loader};

/// See the module.
#[derive(Debug)]
pub(crate) struct SingleBlock {
    modulation: Linear,
    input: Linear,
    qk_norm: QkNorm,
    output: Linear,
    heads: Heads,
    mlp: i64,
}

impl SingleBlock {
    pub(crate) fn load(loader: &Loader, heads: Heads, mlp: i64) -> Result<Self> {
        let width = heads.width();
        let names = ["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"];
        Ok(Self {
            modulation: Linear::load(&loader.pp("norm.linear"), width, 3 * width)?,
            input: Linear::load_fused(loader, &names, width, &[width, width, width, mlp])?,
            qk_norm: QkNorm::load(&loader.pp("attn"), ["norm_q", "norm_k"], heads)?,
            output: Linear::load(&loader.pp("proj_out"), width + mlp, width)?,
            heads,
            mlp,
        })
    }

    /// Updates `tokens` (`[batch, own video + text, width]`) in place. `condition` is the activated modulation vector.
    pub(crate) fn forward(&self, tokens: &mut Tensor, condition: &Tensor, sequence: Sequence) -> Result<()> {
        let size = tokens.size();
        let width = size[2];
        let options = (tokens.kind(), tokens.device());
        let modulation = self.modulation.forward(condition)?.f_chunk(3, 1)?;
        let joint = Tensor::f_empty([size[0], size[1], 3 * width + self.mlp], options)?;
        let normed = modulated_norm(tokens, &modulation[1].f_add_scalar(1.0)?, &modulation[0])?;
        self.input.forward_into(&normed, &joint)?;
        self.normalise(&joint, sequence.own, sequence.rotation)?;
        let attended = sequence.attend(&joint, self.heads)?;
        joint.f_narrow(2, 2 * width, width)?.f_copy_(&attended)?;
        drop(attended);
        activate(&mut joint.f_narrow(2, 3 * width, self.mlp)?, Activation::GeluTanh)?;
        // The normed tokens are no longer needed; their memory is reused for the update.
        self.output.forward_into(&joint.f_narrow(2, 2 * width, width + self.mlp)?, &normed)?;
        add_gated(tokens, &normed, &modulation[2])
    }

    fn normalise(&self, joint: &Tensor, video: i64, rotation: &Tensor) -> Result<()> {
        if joint.kind() == Kind::Float {
            self.qk_norm.apply(joint, None)?;
            return self.qk_norm.rotate(&joint.f_narrow(1, 0, video)?, rotation);
        }
        // In 16 bits, norm and rotation share one conversion to fp32, so each stream does its own.
        self.qk_norm.apply(&joint.f_narrow(1, 0, video)?, Some(rotation))?;
        let text = joint.size()[1] - video;
        self.qk_norm.apply(&joint.f_narrow(1, video, text)?, None)
    }
}
