//! The diffusion transformer of 1.5: double-stream blocks alone, over video tokens and one sequence of all text.
//!
//! The rule: what does not change between steps is prepared once per video in a [`Condition`]. Text is the quoted text's tokens, then
//! the prompt's, each marked with the kind it is of; there is no padding, so no mask. Only time enters the modulation.
//!
//! Upstream: `HunyuanVideo15Transformer3DModel` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/models/transformers/transformer_hunyuan_video15.py>.

mod embed;

use tch::{Kind, Tensor};

use self::embed::GlyphProjection;
use super::config::TransformerConfig;
use crate::runtime::{
    control::Control,
    error::{Error, InOp, Result},
    weights::{Loader, Weights},
};
use crate::v1::transformer::{
    attention::Heads,
    double_block::DoubleBlock,
    embed::{NumberEmbed, PatchEmbed, unpatch},
    layers::{Linear, modulated_norm},
    refiner::{RefinerInput, TokenRefiner},
    rope,
};

/// Rows of the table of kinds: the prompt, quoted text, an image.
const KINDS: i64 = 3;
const PROMPT_KIND: i64 = 0;
const GLYPH_KIND: i64 = 1;

/// Width inside the projection of glyph states where no file says otherwise: a constant of the reference.
const GLYPH_INNER: i64 = 2048;

/// The network with its weights.
#[derive(Debug)]
pub struct Transformer {
    x_embedder: PatchEmbed,
    context_embedder: TokenRefiner,
    context_embedder_2: GlyphProjection,
    time_embed: NumberEmbed,
    /// `[3, hidden]`
    cond_type_embed: Tensor,
    transformer_blocks: Vec<DoubleBlock>,
    norm_out: Linear,
    proj_out: Linear,
    config: TransformerConfig,
}

/// Everything about a request that is the same for all steps.
#[derive(Debug)]
pub struct Condition {
    text: RefinerInput,
    /// Tokens of the quoted text, `[batch, bytes, hidden]`; none without quoted text.
    glyph: Option<Tensor>,
    /// The channels beside the latents, `[batch, latent channels + 1, frames, height, width]`: an image and where it is.
    image: Tensor,
    /// Complex rotation of the video tokens.
    rotation: Tensor,
    grid: [i64; 3],
}

impl Condition {
    /// Tokens of the text.
    #[must_use]
    pub fn text_tokens(&self) -> i64 {
        self.glyph_tokens() + self.text.tokens()
    }

    fn glyph_tokens(&self) -> i64 {
        self.glyph.as_ref().map_or(0, |glyph| glyph.size()[1])
    }

    /// The condition of some samples of the batch, in the order of `samples`.
    ///
    /// # Errors
    /// libtorch.
    pub fn select(&self, samples: &[i64]) -> Result<Self> {
        let index = Tensor::f_from_slice(samples)?.f_to_device(self.image.device())?;
        Ok(Self {
            text: self.text.select(&index)?,
            glyph: self.glyph.as_ref().map(|glyph| glyph.f_index_select(0, &index)).transpose()?,
            image: self.image.f_index_select(0, &index)?,
            rotation: self.rotation.shallow_clone(),
            grid: self.grid,
        })
    }
}

/// Width inside the projection of glyph states in these files.
pub(crate) fn glyph_inner(files: &Weights) -> i64 {
    let found = files.shapes().find(|(key, _)| *key == "context_embedder_2.linear_1.weight");
    found.and_then(|(_, shape)| shape.first().copied()).unwrap_or(GLYPH_INNER)
}

impl Transformer {
    /// Builds the network from a component's loader (`transformer/`); a dry loader only records keys and shapes.
    ///
    /// # Errors
    /// A configuration whose axes do not fill a head, or a tensor that cannot be read.
    pub fn load(loader: &Loader, config: &TransformerConfig, glyph_inner: i64) -> Result<Self> {
        let heads = Heads { count: config.num_attention_heads, dim: config.attention_head_dim };
        let (hidden, mlp, patch) = (config.hidden_size(), config.mlp_size(), config.patch());
        // Projects the states of an image, of which text-to-video has none.
        loader.ignore("image_embedder");
        let blocks = loader.pp("transformer_blocks");
        let refiner = loader.pp("context_embedder");
        let glyph = [config.text_embed_2_dim, glyph_inner, hidden];
        let outputs = patch.iter().product::<i64>() * config.out_channels;
        Ok(Self {
            x_embedder: PatchEmbed::load(&loader.pp("x_embedder"), config.in_channels, hidden, patch)?,
            context_embedder: TokenRefiner::load(&refiner, config.text_embed_dim, heads, config.num_refiner_layers)?,
            context_embedder_2: GlyphProjection::load(&loader.pp("context_embedder_2"), glyph)?,
            time_embed: NumberEmbed::load(&loader.pp("time_embed.timestep_embedder"), hidden)?,
            cond_type_embed: loader.pp("cond_type_embed").tensor("weight", &[KINDS, hidden])?,
            transformer_blocks: (0..config.num_layers)
                .map(|index| DoubleBlock::load(&blocks.pp(index), heads, mlp))
                .collect::<Result<_>>()?,
            norm_out: Linear::load(&loader.pp("norm_out.linear"), hidden, 2 * hidden)?,
            proj_out: Linear::load(&loader.pp("proj_out"), hidden, outputs)?,
            config: config.clone(),
        })
    }

    /// Prepares the parts of a run that no step changes.
    ///
    /// `states` is `[batch, tokens, text_embed_dim]` and `glyph` `[batch, bytes, text_embed_2_dim]`, both without padding, on the
    /// model's device and of its dtype; `latents` is `[channels, frames, height, width]`.
    ///
    /// # Errors
    /// Shapes that this model does not have, or libtorch.
    pub fn condition(&self, states: &Tensor, glyph: Option<&Tensor>, latents: [i64; 4]) -> Result<Condition> {
        let (config, patch) = (&self.config, self.config.patch());
        check_last("prompt_embeds", states, config.text_embed_dim)?;
        let glyph = match glyph {
            Some(glyph) => {
                check_last("glyph_embeds", glyph, config.text_embed_2_dim)?;
                let kind = self.cond_type_embed.f_select(0, GLYPH_KIND)?;
                Some(self.context_embedder_2.forward(glyph).in_op("condition")?.f_add(&kind)?)
            }
            None => None,
        };
        for (axis, name) in ["frames", "height", "width"].into_iter().enumerate() {
            if latents[axis + 1] < patch[axis] || latents[axis + 1] % patch[axis] != 0 {
                let reason = format!("{} latents do not divide into patches of {}", latents[axis + 1], patch[axis]);
                return Err(Error::input(name, reason));
            }
        }
        let grid = [latents[1] / patch[0], latents[2] / patch[1], latents[3] / patch[2]];
        let beside = [states.size()[0], config.in_channels - config.out_channels, latents[1], latents[2], latents[3]];
        Ok(Condition {
            text: self.context_embedder.prepare(states).in_op("condition")?,
            glyph,
            image: Tensor::f_zeros(beside, (states.kind(), states.device())).in_op("condition")?,
            rotation: rope::rotation(grid, &config.rope_axes_dim, config.rope_theta, false, states.device())
                .in_op("condition")?,
            grid,
        })
    }

    /// Velocity of `latents` `[batch, channels, frames, height, width]` (of the model's dtype) at `times`, one a sample (0..1000);
    /// same shape and dtype.
    ///
    /// # Errors
    /// [`Error::Cancelled`] between blocks, or libtorch.
    pub fn forward(&self, latents: &Tensor, times: &[f32], condition: &Condition, control: &Control) -> Result<Tensor> {
        let (kind, device) = (latents.kind(), latents.device());
        let video: i64 = condition.grid.iter().product();
        let (glyph, prompt) = (condition.glyph_tokens(), condition.text.tokens());
        let times = Tensor::f_from_slice(times)?.f_to_device(device)?;
        let modulation = self.time_embed.forward(&times, kind)?.f_silu_()?;
        let shape = [latents.size()[0], video + glyph + prompt, self.config.hidden_size()];
        // 1. Video tokens, of the latents and the channels beside them.
        let tokens = Tensor::f_empty(shape, (kind, device))?;
        control.check_at(device)?;
        let input = Tensor::f_cat(&[latents, &condition.image], 1)?;
        self.x_embedder.forward_into(&input, &tokens.f_narrow(1, 0, video)?).in_op("patches")?;
        // 2. Text tokens: quoted text, then the refined prompt.
        if let Some(quoted) = &condition.glyph {
            tokens.f_narrow(1, video, glyph)?.f_copy_(quoted)?;
        }
        let mut refined = tokens.f_narrow(1, video + glyph, prompt)?;
        self.context_embedder.forward_into(&condition.text, &times, &mut refined).in_op("refiner")?;
        let _ = refined.f_add_(&self.cond_type_embed.f_select(0, PROMPT_KIND)?)?;
        // 3. Blocks.
        for block in &self.transformer_blocks {
            control.check_at(device)?;
            block.forward(&tokens, video, &modulation, &condition.rotation).in_op("double block")?;
        }
        control.check_at(device)?;
        // 4. Back to latents.
        let chunk = self.norm_out.forward(&modulation)?.f_chunk(2, 1)?;
        let normed = modulated_norm(&tokens.f_narrow(1, 0, video)?, &chunk[0].f_add_scalar(1.0)?, &chunk[1])?;
        drop(tokens);
        // With patches of one latent it is a view; sums over it would differ from those over a restored copy in their last bits.
        Ok(unpatch(&self.proj_out.forward(&normed)?, condition.grid, self.config.patch())?.f_contiguous()?)
    }

    /// Number of [`Control::check_at`] calls of one forward pass.
    #[must_use]
    pub fn checks_per_forward(&self) -> u64 {
        (self.transformer_blocks.len() + 2) as u64
    }

    /// Bytes of activations that a forward pass holds at once, estimated from its largest block.
    #[must_use]
    pub(crate) fn activation_bytes(&self, batch: i64, tokens: i64, kind: Kind) -> u64 {
        let (hidden, mlp) = (self.config.hidden_size(), self.config.mlp_size());
        // Tokens, their normed copy, and the wider of: q, k, v with the attention's result, or the MLP's units.
        let width = 2 * hidden + (4 * hidden).max(mlp);
        let values = batch.saturating_mul(tokens).saturating_mul(width);
        u64::try_from(values).unwrap_or(u64::MAX).saturating_mul(kind.elt_size_in_bytes() as u64)
    }
}

fn check_last(field: &'static str, tensor: &Tensor, width: i64) -> Result<()> {
    match tensor.size().last() {
        Some(&last) if last == width && tensor.numel() > 0 => Ok(()),
        _ => Err(Error::input(field, format!("shape {:?}, but this model's width is {width}", tensor.size()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::weights::key_table;

    #[test]
    fn the_released_configuration_has_its_published_size() {
        let config = TransformerConfig::default();
        let table = key_table(|loader| Transformer::load(loader, &config, GLYPH_INNER)).unwrap();
        // All 8,326,608,160 but for the image projection, which is not read.
        let image = 2 * 1152 + (1152 * 1152 + 1152) + (1152 * 2048 + 2048) + 2 * 2048;
        assert_eq!(table.parameters() + image, 8_326_608_160);
        assert!(table.ignores("image_embedder.linear_1.weight"));
        assert!(table.uses("transformer_blocks.53.attn.norm_added_k.weight"));
    }
}
