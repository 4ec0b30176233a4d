//! The diffusion transformer of 1.5: double-stream blocks alone, over video tokens and one sequence of all else.
//!
//! The rule: what does not change between steps is prepared once per video in a [`Condition`]. The sequence is the picture's tokens, then
//! the quoted text's, then the prompt's, each marked with the kind it is of; there is no padding, so no mask. Only time enters the
//! modulation.
//!
//! Upstream: `HunyuanVideo15Transformer3DModel` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/models/transformers/transformer_hunyuan_video15.py>.

mod embed;

use tch::{Kind, Tensor};

use self::embed::{GlyphProjection, ImageProjection, TimeEmbed};
use super::config::TransformerConfig;
use crate::runtime::{
    control::Control,
    error::{Error, InOp, Result},
    predictor::Times,
    team::{Leader, Order, Team},
    weights::{Loader, Weights},
};
use crate::v1::transformer::{
    Shared,
    attention::{Heads, Sequence},
    double_block::DoubleBlock,
    embed::{PatchEmbed, unpatch},
    layers::{Linear, cat, modulated_norm},
    refiner::{RefinerInput, TokenRefiner},
    rope,
};

/// Rows of the table of kinds: the prompt, quoted text, a picture.
const KINDS: i64 = 3;
const PROMPT_KIND: i64 = 0;
const GLYPH_KIND: i64 = 1;
const IMAGE_KIND: i64 = 2;

/// Width inside the projection of glyph states where no file says otherwise: a constant of the reference.
const GLYPH_INNER: i64 = 2048;

/// What a checkpoint's files say of the network beside its configuration.
#[derive(Debug, Clone, Copy)]
pub struct Variant {
    /// Width inside the projection of glyph states.
    pub glyph_inner: i64,
    /// Whether it begins from a picture.
    pub takes_image: bool,
}

/// A first frame as the network is given it, of several samples.
#[derive(Debug)]
pub struct ImageInput {
    /// `[batch, tokens, image_embed_dim]`
    pub states: Tensor,
    /// `[batch, channels, 1, height, width]`
    pub latents: Tensor,
}

/// The network with its weights.
#[derive(Debug)]
pub struct Transformer {
    x_embedder: PatchEmbed,
    context_embedder: TokenRefiner,
    context_embedder_2: GlyphProjection,
    /// Absent in text-to-video.
    image_embedder: Option<ImageProjection>,
    time_embed: TimeEmbed,
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
    /// Tokens of the picture, then of the quoted text, `[batch, tokens, hidden]`; none without either.
    before: Option<Tensor>,
    /// The channels beside the latents, `[batch, latent channels + 1, frames, height, width]`: the picture and where it is.
    beside: Tensor,
    /// Complex rotation of the video tokens.
    rotation: Tensor,
    grid: [i64; 3],
    /// Grid over which positions are spread.
    spread: [i64; 3],
}

impl Condition {
    /// Tokens beside those of the video.
    #[must_use]
    pub fn text_tokens(&self) -> i64 {
        self.tokens_before() + self.text.tokens()
    }

    /// Those before the prompt's.
    fn tokens_before(&self) -> i64 {
        self.before.as_ref().map_or(0, |before| before.size()[1])
    }

    /// The conditions of several samples as one of all, in their order. Their sizes and lengths must be equal.
    ///
    /// # Errors
    /// [`Error::Input`] for none, or libtorch.
    pub fn join(conditions: &[&Self]) -> Result<Self> {
        let first = conditions.first().ok_or_else(|| Error::input("conditions", "there are none"))?;
        let before: Vec<&Tensor> = conditions.iter().filter_map(|one| one.before.as_ref()).collect();
        Ok(Self {
            text: RefinerInput::join(conditions.iter().map(|one| &one.text))?,
            before: if before.is_empty() { None } else { Some(cat(before.into_iter())?) },
            beside: cat(conditions.iter().map(|one| &one.beside))?,
            rotation: first.rotation.shallow_clone(),
            grid: first.grid,
            spread: first.spread,
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
    pub fn load(loader: &Loader, config: &TransformerConfig, variant: Variant) -> Result<Self> {
        let heads = Heads { count: config.num_attention_heads, dim: config.attention_head_dim };
        let (hidden, mlp, patch) = (config.hidden_size(), config.mlp_size(), config.patch());
        let image = loader.pp("image_embedder");
        let image_embedder = if variant.takes_image {
            Some(ImageProjection::load(&image, [config.image_embed_dim, hidden])?)
        } else {
            // Text-to-video has no picture to project.
            loader.ignore("image_embedder");
            None
        };
        let blocks = loader.pp("transformer_blocks").compact();
        let refiner = loader.pp("context_embedder");
        let glyph = [config.text_embed_2_dim, variant.glyph_inner, hidden];
        let outputs = patch.iter().product::<i64>() * config.out_channels;
        Ok(Self {
            x_embedder: PatchEmbed::load(&loader.pp("x_embedder"), config.in_channels, hidden, patch)?,
            context_embedder: TokenRefiner::load(&refiner, config.text_embed_dim, heads, config.num_refiner_layers)?,
            context_embedder_2: GlyphProjection::load(&loader.pp("context_embedder_2"), glyph)?,
            image_embedder,
            time_embed: TimeEmbed::load(&loader.pp("time_embed"), hidden, config.use_meanflow)?,
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
    /// model's device and of its dtype; `latents` is `[channels, frames, height, width]`, and `full` the height and width over which
    /// positions are spread, larger for steps at a lower resolution. `image` is given exactly to a model that takes one.
    ///
    /// # Errors
    /// Shapes that this model does not have, or libtorch.
    pub fn condition(
        &self,
        states: &Tensor,
        glyph: Option<&Tensor>,
        image: Option<&ImageInput>,
        (latents, full): ([i64; 4], [i64; 2]),
    ) -> Result<Condition> {
        let (config, patch) = (&self.config, self.config.patch());
        check_last("prompt_embeds", states, config.text_embed_dim)?;
        let kind = |kind: i64| self.cond_type_embed.f_select(0, kind);
        let mut before = Vec::new();
        match (&self.image_embedder, image) {
            (Some(embedder), Some(image)) => {
                check_last("image", &image.states, config.image_embed_dim)?;
                before.push(embedder.forward(&image.states).in_op("condition")?.f_add(&kind(IMAGE_KIND)?)?);
            }
            (None, None) => {}
            (embedder, _) => {
                let reason = if embedder.is_some() { "this model needs one" } else { "this model takes none" };
                return Err(Error::input("image", reason));
            }
        }
        if let Some(glyph) = glyph {
            check_last("glyph_embeds", glyph, config.text_embed_2_dim)?;
            before.push(self.context_embedder_2.forward(glyph).in_op("condition")?.f_add(&kind(GLYPH_KIND)?)?);
        }
        for (axis, name) in ["frames", "height", "width"].into_iter().enumerate() {
            if latents[axis + 1] < patch[axis] || latents[axis + 1] % patch[axis] != 0 {
                let reason = format!("{} latents do not divide into patches of {}", latents[axis + 1], patch[axis]);
                return Err(Error::input(name, reason));
            }
        }
        let grid = [latents[1] / patch[0], latents[2] / patch[1], latents[3] / patch[2]];
        let spread = [grid[0], full[0] / patch[1], full[1] / patch[2]];
        let size = [states.size()[0], config.in_channels - config.out_channels, latents[1], latents[2], latents[3]];
        let beside = Tensor::f_zeros(size, (states.kind(), states.device())).in_op("condition")?;
        if let Some(image) = image {
            // The picture's latents in the first frame, and a mask that says so.
            let first = beside.f_narrow(2, 0, 1)?;
            first.f_narrow(1, 0, config.out_channels)?.f_copy_(&image.latents).in_op("condition")?;
            let _ = first.f_narrow(1, config.out_channels, 1)?.f_fill_(1.0)?;
        }
        Ok(Condition {
            text: self.context_embedder.prepare(states).in_op("condition")?,
            before: if before.is_empty() { None } else { Some(Tensor::f_cat(&before, 1)?) },
            beside,
            rotation: rope::rotation([grid, spread], &config.rope_axes_dim, config.rope_theta, false, states.device())
                .in_op("condition")?,
            grid,
            spread,
        })
    }

    /// Velocity of `latents` `[batch, channels, frames, height, width]` (of the model's dtype) at `times`; same shape and dtype. A
    /// leader's team takes part in it, unless the video has too few tokens.
    ///
    /// # Errors
    /// [`Error::Cancelled`] between blocks, or libtorch.
    pub fn forward(
        &self,
        latents: &Tensor,
        times: &Times,
        condition: &Condition,
        control: &Control,
        leader: Option<&Leader>,
    ) -> Result<Tensor> {
        let (kind, device) = (latents.kind(), latents.device());
        let video: i64 = condition.grid.iter().product();
        let (before, prompt) = (condition.tokens_before(), condition.text.tokens());
        let times_on = |times: &[f32]| Tensor::f_from_slice(times)?.f_to_device(device);
        let (now, next) = (times_on(&times.now)?, times_on(&times.next)?);
        let modulation = self.time_embed.forward(&now, &next, kind)?.f_silu_()?;
        let leader = leader.filter(|leader| leader.team().can_share(video));
        let (first, own) = leader.map_or((0, video), |leader| leader.team().own_rows(video));
        let shape = [latents.size()[0], own + before + prompt, self.config.hidden_size()];
        // 1. Video tokens, of the latents and the channels beside them.
        let tokens = Tensor::f_empty(shape, (kind, device))?;
        control.check_at(device)?;
        let input = Tensor::f_cat(&[latents, &condition.beside], 1)?;
        self.x_embedder.forward_into(&input, first, &tokens.f_narrow(1, 0, own)?).in_op("patches")?;
        // 2. The picture and quoted text, then the refined prompt.
        if let Some(prepared) = &condition.before {
            tokens.f_narrow(1, own, before)?.f_copy_(prepared)?;
        }
        let mut refined = tokens.f_narrow(1, own + before, prompt)?;
        self.context_embedder.forward_into(&condition.text, &now, &mut refined).in_op("refiner")?;
        let _ = refined.f_add_(&self.cond_type_embed.f_select(0, PROMPT_KIND)?)?;
        // 3. Blocks.
        let rotation = condition.rotation.f_narrow(0, first, own)?;
        let sequence = Sequence { own, video, rotation: &rotation, team: None };
        let rows = match leader {
            None => self.blocks(tokens, &modulation, sequence, control)?,
            Some(leader) => {
                let (latents, spread) = (input.size5()?.into(), condition.spread);
                let order = Order::Forward { latents, text: before + prompt, spread, stretch: false };
                let text = tokens.f_narrow(1, own, before + prompt)?;
                leader.share(&order, &[&input, &text, &modulation], |team| {
                    let sequence = Sequence { team: Some(team), ..sequence };
                    team.gather_rows(&self.blocks(tokens, &modulation, sequence, control)?, video)
                })?
            }
        };
        // 4. Back to latents. With patches of one latent it is a view; sums over it would differ from those over a restored copy in
        // their last bits.
        Ok(unpatch(&rows, condition.grid, self.config.patch())?.f_contiguous()?)
    }

    /// The part of another process of the team in a forward pass.
    pub(crate) fn follow(&self, shared: &Shared, team: &Team) -> Result<()> {
        let Shared { latents, text, modulation, spread, .. } = *shared;
        let (config, device) = (&self.config, latents.device());
        let grid = self.x_embedder.grid(latents);
        let video = grid.iter().product();
        let (first, own) = team.own_rows(video);
        let (batch, count) = (text.size()[0], text.size()[1]);
        let tokens = Tensor::f_empty([batch, own + count, config.hidden_size()], (latents.kind(), device))?;
        self.x_embedder.forward_into(latents, first, &tokens.f_narrow(1, 0, own)?).in_op("patches")?;
        tokens.f_narrow(1, own, count)?.f_copy_(text)?;
        let rotation = rope::rotation([grid, spread], &config.rope_axes_dim, config.rope_theta, false, device)?;
        let sequence = Sequence { own, video, rotation: &rotation.f_narrow(0, first, own)?, team: Some(team) };
        let rows = self.blocks(tokens, modulation, sequence, &Control::new())?;
        team.gather_rows(&rows, video).map(drop)
    }

    /// Takes `[batch, own video + text, hidden]` tokens through all blocks; returns the own video rows of the output.
    fn blocks(&self, tokens: Tensor, modulation: &Tensor, sequence: Sequence, control: &Control) -> Result<Tensor> {
        let device = tokens.device();
        for block in &self.transformer_blocks {
            sequence.check(control, device)?;
            block.forward(&tokens, modulation, sequence).in_op("double block")?;
        }
        sequence.check(control, device)?;
        let chunk = self.norm_out.forward(modulation)?.f_chunk(2, 1)?;
        let normed = modulated_norm(&tokens.f_narrow(1, 0, sequence.own)?, &chunk[0].f_add_scalar(1.0)?, &chunk[1])?;
        drop(tokens);
        self.proj_out.forward(&normed)
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
        let table = |config: &TransformerConfig, takes_image| {
            let variant = Variant { glyph_inner: GLYPH_INNER, takes_image };
            key_table(|loader| Transformer::load(loader, config, variant)).unwrap()
        };
        let from_text = table(&config, false);
        // All 8,326,608,160 but for the image projection, which is not read.
        let image = 2 * 1152 + (1152 * 1152 + 1152) + (1152 * 2048 + 2048) + 2 * 2048;
        assert_eq!(from_text.parameters() + image, 8_326_608_160);
        assert!(from_text.ignores("image_embedder.linear_1.weight"));
        assert!(from_text.uses("transformer_blocks.53.attn.norm_added_k.weight"));
        assert_eq!(table(&config, true).parameters(), 8_326_608_160);
        let distilled = table(&TransformerConfig { use_meanflow: true, ..config }, true);
        assert!(distilled.uses("time_embed.timestep_embedder_r.linear_2.bias"));
    }
}
