//! A double-stream block: video and text have weights of their own and meet in attention.
//!
//! The rule: both streams are views of one joint buffer (video tokens first) and are updated in place, so that attention
//! needs no concatenation.
//!
//! Upstream: `HunyuanVideoTransformerBlock` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/models/transformers/transformer_hunyuan_video.py>.

use tch::Tensor;

use super::{
    attention::{Heads, QkNorm, Sequence},
    layers::{Activation, Linear, Mlp, add_gated, modulated_norm},
};
use crate::runtime::{error::Result, weights::Loader};

/// The weights of one stream.
#[derive(Debug)]
struct Stream {
    modulation: Linear,
    qkv: Linear,
    qk_norm: QkNorm,
    out: Linear,
    mlp: Mlp,
}

/// Names of a stream's weights.
struct Names {
    modulation: &'static str,
    qkv: [&'static str; 3],
    norms: [&'static str; 2],
    out: &'static str,
    mlp: &'static str,
}

const VIDEO: Names = Names {
    modulation: "norm1.linear",
    qkv: ["to_q", "to_k", "to_v"],
    norms: ["norm_q", "norm_k"],
    out: "to_out.0",
    mlp: "ff.net",
};
const TEXT: Names = Names {
    modulation: "norm1_context.linear",
    qkv: ["add_q_proj", "add_k_proj", "add_v_proj"],
    norms: ["norm_added_q", "norm_added_k"],
    out: "to_add_out",
    mlp: "ff_context.net",
};

/// Shift, scale (with its `1 +`) and gate of attention, then of the MLP; each `[batch, width]`.
struct Modulation {
    shift: [Tensor; 2],
    scale: [Tensor; 2],
    gate: [Tensor; 2],
}

impl Stream {
    fn load(loader: &Loader, names: &Names, heads: Heads, mlp: i64) -> Result<Self> {
        let width = heads.width();
        let attn = loader.pp("attn");
        Ok(Self {
            modulation: Linear::load(&loader.pp(names.modulation), width, 6 * width)?,
            qkv: Linear::load_fused(&attn, &names.qkv, width, &[width; 3])?,
            qk_norm: QkNorm::load(&attn, names.norms, heads)?,
            out: Linear::load(&attn.pp(names.out), width, width)?,
            mlp: Mlp::load(&loader.pp(names.mlp), ["0.proj", "2"], [width, mlp, width], Activation::GeluTanh)?,
        })
    }

    fn modulate(&self, condition: &Tensor) -> Result<Modulation> {
        let chunk = self.modulation.forward(condition)?.f_chunk(6, 1)?;
        let part = |index: usize| chunk[index].shallow_clone();
        let scale = |index: usize| chunk[index].f_add_scalar(1.0);
        Ok(Modulation { shift: [part(0), part(3)], scale: [scale(1)?, scale(4)?], gate: [part(2), part(5)] })
    }

    /// Queries, keys and values of this stream's tokens, into its part of the joint buffer.
    fn project(&self, tokens: &Tensor, modulation: &Modulation, qkv: &Tensor, rotation: Option<&Tensor>) -> Result<()> {
        let normed = modulated_norm(tokens, &modulation.scale[0], &modulation.shift[0])?;
        self.qkv.forward_into(&normed, qkv)?;
        self.qk_norm.apply(qkv, rotation)
    }

    /// Adds the attention's and the MLP's update to this stream's tokens.
    fn update(&self, tokens: &mut Tensor, modulation: &Modulation, attended: &Tensor) -> Result<()> {
        add_gated(tokens, &self.out.forward(attended)?, &modulation.gate[0])?;
        let normed = modulated_norm(tokens, &modulation.scale[1], &modulation.shift[1])?;
        add_gated(tokens, &self.mlp.forward(&normed)?, &modulation.gate[1])
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct DoubleBlock {
    video: Stream,
    text: Stream,
    heads: Heads,
}

impl DoubleBlock {
    pub(crate) fn load(loader: &Loader, heads: Heads, mlp: i64) -> Result<Self> {
        Ok(Self {
            video: Stream::load(loader, &VIDEO, heads, mlp)?,
            text: Stream::load(loader, &TEXT, heads, mlp)?,
            heads,
        })
    }

    /// Updates `tokens` (`[batch, own video + text, width]`) in place. `condition` is the activated modulation vector.
    pub(crate) fn forward(&self, tokens: &Tensor, condition: &Tensor, sequence: Sequence) -> Result<()> {
        let (size, video) = (tokens.size(), sequence.own);
        let split = |tensor: &Tensor| -> Result<(Tensor, Tensor)> {
            Ok((tensor.f_narrow(1, 0, video)?, tensor.f_narrow(1, video, size[1] - video)?))
        };
        let (mut video_tokens, mut text_tokens) = split(tokens)?;
        let (for_video, for_text) = (self.video.modulate(condition)?, self.text.modulate(condition)?);
        let attended = {
            let qkv = Tensor::f_empty([size[0], size[1], 3 * size[2]], (tokens.kind(), tokens.device()))?;
            let (video_qkv, text_qkv) = split(&qkv)?;
            self.video.project(&video_tokens, &for_video, &video_qkv, Some(sequence.rotation))?;
            self.text.project(&text_tokens, &for_text, &text_qkv, None)?;
            sequence.attend(&qkv, self.heads)?
        };
        let (video_attended, text_attended) = split(&attended)?;
        self.video.update(&mut video_tokens, &for_video, &video_attended)?;
        self.text.update(&mut text_tokens, &for_text, &text_attended)
    }
}
