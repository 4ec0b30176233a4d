//! The token refiner: makes joint-attention tokens out of the LLM's states.
//!
//! The rule: the projection of the states and the pooled prompt do not depend on the step and are made once per video;
//! the blocks do, through their gates, and run each step over the few text tokens.
//!
//! Upstream: `HunyuanVideoTokenRefiner` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/models/transformers/transformer_hunyuan_video.py>.

use tch::{Kind, Tensor};

use super::{
    attention::{Heads, attend},
    embed::{NumberEmbed, pooled_embed},
    layers::{Activation, Linear, Mlp, NORM_EPS, Norm, add_gated, cat},
};
use crate::runtime::{error::Result, weights::Loader};

/// Width of the refiner's MLP relative to its input; not configurable in this architecture.
const MLP_RATIO: i64 = 4;

#[derive(Debug)]
struct RefinerBlock {
    norm1: Norm,
    qkv: Linear,
    out: Linear,
    norm2: Norm,
    mlp: Mlp,
    gates: Linear,
    heads: Heads,
}

impl RefinerBlock {
    fn load(loader: &Loader, heads: Heads) -> Result<Self> {
        let width = heads.width();
        let attn = loader.pp("attn");
        Ok(Self {
            norm1: Norm::load(&loader.pp("norm1"), width, NORM_EPS)?,
            qkv: Linear::load_fused(&attn, &["to_q", "to_k", "to_v"], width, &[width; 3])?,
            out: Linear::load(&attn.pp("to_out.0"), width, width)?,
            norm2: Norm::load(&loader.pp("norm2"), width, NORM_EPS)?,
            mlp: Mlp::load(&loader.pp("ff.net"), ["0.proj", "2"], [width, width * MLP_RATIO, width], Activation::Silu)?,
            gates: Linear::load(&loader.pp("norm_out.linear"), width, 2 * width)?,
            heads,
        })
    }

    /// Updates `text` (`[batch, tokens, width]`) in place; `condition` is the activated modulation vector.
    fn forward(&self, text: &mut Tensor, condition: &Tensor) -> Result<()> {
        let gates = self.gates.forward(condition)?.f_chunk(2, 1)?;
        let qkv = self.qkv.forward(&self.norm1.forward(text)?)?;
        add_gated(text, &self.out.forward(&attend(&qkv, self.heads)?)?, &gates[0])?;
        let update = self.mlp.forward(&self.norm2.forward(text)?)?;
        add_gated(text, &update, &gates[1])
    }
}

/// The parts of a prompt that stay the same for all steps.
#[derive(Debug)]
pub(crate) struct RefinerInput {
    /// `[batch, tokens, hidden]`
    projected: Tensor,
    /// `[batch, hidden]`
    pooled: Tensor,
}

impl RefinerInput {
    /// Number of text tokens.
    pub(crate) fn tokens(&self) -> i64 {
        self.projected.size()[1]
    }

    /// Several samples as one batch.
    pub(crate) fn join<'a>(inputs: impl Iterator<Item = &'a Self> + Clone) -> Result<Self> {
        Ok(Self {
            projected: cat(inputs.clone().map(|one| &one.projected))?,
            pooled: cat(inputs.map(|one| &one.pooled))?,
        })
    }
}

/// Projection, time and text conditioning, and the refiner blocks.
#[derive(Debug)]
pub(crate) struct TokenRefiner {
    project: Linear,
    time: NumberEmbed,
    pooled: Mlp,
    blocks: Vec<RefinerBlock>,
}

impl TokenRefiner {
    pub(crate) fn load(loader: &Loader, text_width: i64, heads: Heads, layers: i64) -> Result<Self> {
        let hidden = heads.width();
        let embed = loader.pp("time_text_embed");
        let blocks = loader.pp("token_refiner.refiner_blocks");
        Ok(Self {
            project: Linear::load(&loader.pp("proj_in"), text_width, hidden)?,
            time: NumberEmbed::load(&embed.pp("timestep_embedder"), hidden)?,
            pooled: pooled_embed(&embed.pp("text_embedder"), text_width, hidden)?,
            blocks: (0..layers).map(|index| RefinerBlock::load(&blocks.pp(index), heads)).collect::<Result<_>>()?,
        })
    }

    /// Projects the LLM's states (`[batch, tokens, text_width]`), and pools them by their mean in fp32.
    pub(crate) fn prepare(&self, states: &Tensor) -> Result<RefinerInput> {
        let mean = states.f_mean_dim([1_i64].as_slice(), false, Kind::Float)?.f_to_kind(states.kind())?;
        Ok(RefinerInput { projected: self.project.forward(states)?, pooled: self.pooled.forward(&mean)? })
    }

    /// Text tokens of one step, written into `out` (`[batch, tokens, hidden]`). `times` is `[batch]` fp32.
    pub(crate) fn forward_into(&self, input: &RefinerInput, times: &Tensor, out: &mut Tensor) -> Result<()> {
        let mut condition = self.time.forward(times, input.pooled.kind())?;
        let condition = condition.f_add_(&input.pooled)?.f_silu_()?;
        out.f_copy_(&input.projected)?;
        for block in &self.blocks {
            block.forward(out, &condition)?;
        }
        Ok(())
    }
}
