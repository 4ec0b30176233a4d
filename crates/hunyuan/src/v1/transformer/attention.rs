//! Attention over one joint buffer of video and text tokens.
//!
//! The rule: queries, keys and values stay where their projection wrote them, `[batch, tokens, 3, heads, head_dim]` in one
//! buffer; normalisation and rotation happen there in place, and the attention kernel reads strided views. There is no
//! mask: text is trimmed to its true length before it gets here.
//!
//! In 16 bits the rotation is computed in fp32, for a few tokens at a time, so that the fp32 values never leave a GPU's cache:
//! two reads of queries and keys and one write, in place of the eleven passes over their size that an fp32 copy of them costs.
//!
//! Upstream: `HunyuanVideoAttnProcessor2_0` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/models/transformers/transformer_hunyuan_video.py>.

use tch::{Device, Kind, Tensor};

use crate::runtime::{
    attention,
    control::Control,
    error::Result,
    team::{Parts, Team},
    weights::Loader,
};

/// Epsilon of the query and key norms.
const HEAD_NORM_EPS: f64 = 1e-6;

/// fp32 values that are kept of queries and keys at a time, bytes. More does not fit beside its source into the second-level cache
/// of a Hopper GPU (50 MB), less makes launches dominate.
const ROTATED_BYTES: i64 = 24 << 20;

/// Number and width of the heads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads {
    pub(crate) count: i64,
    pub(crate) dim: i64,
}

impl Heads {
    /// Width of all heads together.
    pub(crate) fn width(self) -> i64 {
        self.count * self.dim
    }
}

/// What 16-bit queries and keys are multiplied by.
struct Factors<'a> {
    /// The norm's weights.
    weight: &'a Tensor,
    /// `[tokens, 1, 1, head_dim / 2]` complex.
    rotation: &'a Tensor,
    /// The norm's own factor of each head of each token.
    scale: Tensor,
}

/// RMS norms of queries and keys over the head dimension.
#[derive(Debug)]
pub(crate) struct QkNorm {
    /// `[2 * head_dim]`: the query's weights, then the key's.
    weight: Tensor,
    heads: Heads,
}

impl QkNorm {
    /// Reads the weights called `names` (query, key).
    pub(crate) fn load(loader: &Loader, names: [&str; 2], heads: Heads) -> Result<Self> {
        let weight = loader.fused(&names, "weight", &[&[heads.dim], &[heads.dim]])?;
        Ok(Self { weight, heads })
    }

    /// Normalises, and rotates if `rotation` is given, the first two thirds of `qkv` (`[batch, tokens, >= 2 * width]`) in place.
    ///
    /// `rotation` is `[tokens, 1, 1, head_dim / 2]` complex. Both happen in fp32 whatever the dtype of `qkv`.
    pub(crate) fn apply(&self, qkv: &Tensor, rotation: Option<&Tensor>) -> Result<()> {
        let size = qkv.size();
        let shape = [size[0], size[1], 2, self.heads.count, self.heads.dim];
        let view = qkv.f_narrow(2, 0, 2 * self.heads.width())?.f_view(shape)?;
        let weight = self.weight.f_view([2, 1, self.heads.dim])?.f_to_kind(Kind::Float)?;
        let scale = self.scale(&view)?;
        if view.kind() == Kind::Float {
            let mut qk = view;
            let qk = qk.f_mul_(&scale)?.f_mul_(&weight)?;
            return rotation.map_or(Ok(()), |rotation| rotate(&qk, rotation, self.heads));
        }
        let Some(rotation) = rotation else {
            // The product of the two factors is small, so one pass over the tokens does for both.
            let _ = view.f_mul_out(&view, &scale.f_mul(&weight)?)?;
            return Ok(());
        };
        let token_bytes = size[0] * 2 * self.heads.width() * size_of::<f32>() as i64;
        let factors = Factors { weight: &weight, rotation, scale };
        self.rotate_in_parts(&view, &factors, (ROTATED_BYTES / token_bytes.max(1)).max(1))
    }

    /// Normalises and rotates 16-bit values through fp32, `at_once` tokens at a time.
    fn rotate_in_parts(&self, view: &Tensor, factors: &Factors, at_once: i64) -> Result<()> {
        let tokens = view.size()[1];
        let mut shape = view.size();
        shape[1] = at_once.min(tokens);
        let room = Tensor::f_empty(shape, (Kind::Float, view.device()))?;
        let mut first = 0;
        while first < tokens {
            let count = at_once.min(tokens - first);
            let (part, qk) = (view.f_narrow(1, first, count)?, room.f_narrow(1, 0, count)?);
            // Conversions happen inside the products: each reads one format and writes the other.
            let _ = part.f_mul_out(&qk, factors.weight)?;
            rotate(&qk, &factors.rotation.f_narrow(0, first, count)?, self.heads)?;
            let _ = qk.f_mul_out(&part, &factors.scale.f_narrow(1, first, count)?)?;
            first += count;
        }
        Ok(())
    }

    /// The norm's factor of each head of each token, fp32.
    fn scale(&self, view: &Tensor) -> Result<Tensor> {
        let mut scale = view.f_norm_scalaropt_dim_dtype(2.0, [-1_i64].as_slice(), true, Kind::Float)?;
        let mut scale = scale.f_square_()?.f_mul_scalar_(1.0 / self.heads.dim as f64)?;
        Ok(scale.f_add_scalar_(HEAD_NORM_EPS)?.f_rsqrt_()?)
    }

    /// Only the rotation, of the first tokens of an already normalised buffer.
    pub(crate) fn rotate(&self, qkv: &Tensor, rotation: &Tensor) -> Result<()> {
        let size = qkv.size();
        let shape = [size[0], size[1], 2, self.heads.count, self.heads.dim];
        rotate(&qkv.f_narrow(2, 0, 2 * self.heads.width())?.f_view(shape)?, rotation, self.heads)
    }
}

/// Multiplies adjacent pairs of `qk` (`[batch, tokens, 2, heads, head_dim]`, fp32) by the complex `rotation`, in place.
fn rotate(qk: &Tensor, rotation: &Tensor, heads: Heads) -> Result<()> {
    let size = qk.size();
    let pairs = qk.f_view([size[0], size[1], 2, heads.count, heads.dim / 2, 2])?;
    let _ = pairs.f_view_as_complex()?.f_mul_(rotation)?;
    Ok(())
}

/// Where a block's tokens are in the sequence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sequence<'a> {
    /// Video tokens in this process's buffer; the text's follow.
    pub(crate) own: i64,
    /// Video tokens in all.
    pub(crate) video: i64,
    /// Complex rotation of the video tokens in the buffer.
    pub(crate) rotation: &'a Tensor,
    /// The processes that have the other video tokens.
    pub(crate) team: Option<&'a Team>,
}

impl Sequence<'_> {
    /// Full attention of the sequence's tokens; the result has the buffer's rows.
    pub(crate) fn attend(self, qkv: &Tensor, heads: Heads) -> Result<Tensor> {
        let Self { own, video, team, .. } = self;
        match team {
            Some(team) => team.attend(qkv, Parts { heads: heads.count, dim: heads.dim, own, video }),
            None => attend(qkv, heads),
        }
    }

    /// Counts a beat, and stops here when a stop was requested; a team's processes all stop at the same place.
    pub(crate) fn check(self, control: &Control, device: Device) -> Result<()> {
        match self.team {
            Some(team) => team.check(control, device),
            None => control.check_at(device),
        }
    }
}

/// Full attention of a `[batch, tokens, >= 3 * width]` buffer; returns `[batch, tokens, width]`.
pub(crate) fn attend(qkv: &Tensor, heads: Heads) -> Result<Tensor> {
    let size = qkv.size();
    let width = heads.width();
    let part = |index: i64| -> Result<Tensor> {
        let flat = attention::addressable(&qkv.f_narrow(2, index * width, width)?)?;
        Ok(flat.f_view([size[0], size[1], heads.count, heads.dim])?.f_transpose(1, 2)?)
    };
    let (query, key, value) = (part(0)?, part(1)?, part(2)?);
    let out = attention::attend(&query, &key, &value)?;
    Ok(out.f_transpose(1, 2)?.f_reshape([size[0], size[1], width])?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::transformer::rope;

    /// Cutting the tokens into parts changes no bit, whether or not the last part is a whole one.
    #[test]
    fn rotating_a_few_tokens_at_a_time_changes_no_bit() {
        tch::manual_seed(5);
        let heads = Heads { count: 3, dim: 16 };
        let norm = QkNorm { weight: Tensor::randn([32], (Kind::BFloat16, Device::Cpu)), heads };
        let rotation = rope::rotation([[2, 3, 4]; 2], &[4, 6, 6], 256.0, false, Device::Cpu).unwrap();
        let qkv = Tensor::randn([2, 24, 2 * heads.width() + 5], (Kind::BFloat16, Device::Cpu));
        let whole = qkv.copy();
        norm.apply(&whole, Some(&rotation)).unwrap();
        assert!(!whole.equal(&qkv));
        let view = |tensor: &Tensor| tensor.narrow(2, 0, 2 * heads.width()).view([2, 24, 2, heads.count, heads.dim]);
        let weight = norm.weight.view([2, 1, heads.dim]).to_kind(Kind::Float);
        for at_once in [1, 5, 7, 100] {
            let parts = qkv.copy();
            let scale = norm.scale(&view(&parts)).unwrap();
            let factors = Factors { weight: &weight, rotation: &rotation, scale };
            norm.rotate_in_parts(&view(&parts), &factors, at_once).unwrap();
            assert!(parts.equal(&whole), "{at_once} tokens at once");
        }
    }
}
