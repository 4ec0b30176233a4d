//! Attention over one joint buffer of video and text tokens.
//!
//! The rule: queries, keys and values stay where their projection wrote them, `[batch, tokens, 3, heads, head_dim]` in one
//! buffer; normalisation and rotation happen there in place, and the attention kernel reads strided views. There is no
//! mask: text is trimmed to its true length before it gets here.
//!
//! Upstream: `HunyuanVideoAttnProcessor2_0` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/models/transformers/transformer_hunyuan_video.py>.

use tch::{Kind, Tensor};

use crate::runtime::{attention, error::Result, weights::Loader};

/// Epsilon of the query and key norms.
const HEAD_NORM_EPS: f64 = 1e-6;

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
        let mut scale = view.f_norm_scalaropt_dim_dtype(2.0, [-1_i64].as_slice(), true, Kind::Float)?;
        let mut scale = scale.f_square_()?.f_mul_scalar_(1.0 / self.heads.dim as f64)?;
        let scale = scale.f_add_scalar_(HEAD_NORM_EPS)?.f_rsqrt_()?;
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
        // Conversions happen inside the products: each pass reads one format and writes the other.
        let qk = Tensor::f_empty(shape, (Kind::Float, view.device()))?;
        let _ = view.f_mul_out(&qk, &weight)?;
        rotate(&qk, rotation, self.heads)?;
        let _ = qk.f_mul_out(&view, &scale)?;
        Ok(())
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

/// Full attention of a `[batch, tokens, >= 3 * width]` buffer; returns `[batch, tokens, width]`.
pub(crate) fn attend(qkv: &Tensor, heads: Heads) -> Result<Tensor> {
    let size = qkv.size();
    let width = heads.width();
    let part = |index: i64| -> Result<Tensor> {
        let flat = attention::addressable(&qkv.f_narrow(2, index * width, width)?)?;
        Ok(flat.f_view([size[0], size[1], heads.count, heads.dim])?.f_transpose(1, 2)?)
    };
    let (query, key, value) = (part(0)?, part(1)?, part(2)?);
    let out = Tensor::f_scaled_dot_product_attention::<&Tensor>(&query, &key, &value, None, 0.0, false, None, false)?;
    Ok(out.f_transpose(1, 2)?.f_reshape([size[0], size[1], width])?)
}
