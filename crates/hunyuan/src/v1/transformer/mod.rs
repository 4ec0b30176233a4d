//! The diffusion transformer: predicts the velocity of the latents at one time.
//!
//! The rule: what does not change between steps is prepared once per video in a [`Condition`]; a forward pass then makes one joint
//! token buffer and every block updates it in place. [`Control::check_at`] is called before each block.
//!
//! Upstream: `HunyuanVideoTransformer3DModel` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/models/transformers/transformer_hunyuan_video.py>.

pub(crate) mod attention;
pub(crate) mod double_block;
pub(crate) mod embed;
pub(crate) mod layers;
pub(crate) mod refiner;
pub(crate) mod rope;
mod single_block;

use tch::{Kind, Tensor};

use self::{
    attention::{Heads, Sequence},
    double_block::DoubleBlock,
    embed::{ConditionEmbed, PatchEmbed, unpatch},
    layers::{Linear, cat, modulated_norm},
    refiner::{RefinerInput, TokenRefiner},
    single_block::SingleBlock,
};
use crate::runtime::{
    control::Control,
    error::{Error, InOp, Result},
    team::{Leader, Order, Team},
    weights::Loader,
};
use crate::v1::config::TransformerConfig;

/// The network with its weights.
#[derive(Debug)]
pub struct Transformer {
    patches: PatchEmbed,
    refiner: TokenRefiner,
    embed: ConditionEmbed,
    double: Vec<DoubleBlock>,
    single: Vec<SingleBlock>,
    out_modulation: Linear,
    out: Linear,
    config: TransformerConfig,
}

/// Everything about a request that is the same for all steps.
#[derive(Debug)]
pub struct Condition {
    text: RefinerInput,
    pooled: Tensor,
    guidance: Option<Tensor>,
    /// Complex rotation of the video tokens.
    rotation: Tensor,
    grid: [i64; 3],
    /// Grid over which positions are spread.
    spread: [i64; 3],
    stretch: bool,
}

/// What another process of a team is given of a forward pass.
#[derive(Debug)]
pub(crate) struct Shared<'a> {
    /// The whole input.
    pub(crate) latents: &'a Tensor,
    /// `[batch, text, hidden]`: the text's tokens before the first block.
    pub(crate) text: &'a Tensor,
    /// The activated modulation vector, `[batch, hidden]`.
    pub(crate) modulation: &'a Tensor,
    /// Grid over which positions are spread.
    pub(crate) spread: [i64; 3],
    pub(crate) stretch: bool,
}

/// What the positions of a video depend on.
#[derive(Debug, Clone, Copy)]
pub struct VideoShape {
    /// `[channels, frames, height, width]` of the latents.
    pub latents: [i64; 4],
    /// Height and width of the latents over which positions are spread: larger than its own for steps at a lower resolution.
    pub full: [i64; 2],
    /// See [`DenoiseRequest::riflex`](crate::DenoiseRequest::riflex).
    pub stretch: bool,
}

impl Condition {
    /// Tokens of the text.
    #[must_use]
    pub fn text_tokens(&self) -> i64 {
        self.text.tokens()
    }

    /// The conditions of several samples as one of all, in their order. Their sizes and lengths must be equal.
    ///
    /// # Errors
    /// [`Error::Input`] for none, or libtorch.
    pub fn join(conditions: &[&Self]) -> Result<Self> {
        let first = conditions.first().ok_or_else(|| Error::input("conditions", "there are none"))?;
        let all = |part: &dyn Fn(&Self) -> &Tensor| -> Result<Tensor> { cat(conditions.iter().map(|one| part(one))) };
        let guidance: Vec<&Tensor> = conditions.iter().filter_map(|one| one.guidance.as_ref()).collect();
        Ok(Self {
            text: RefinerInput::join(conditions.iter().map(|one| &one.text))?,
            pooled: all(&|one| &one.pooled)?,
            guidance: if guidance.is_empty() { None } else { Some(cat(guidance.into_iter())?) },
            rotation: first.rotation.shallow_clone(),
            grid: first.grid,
            spread: first.spread,
            stretch: first.stretch,
        })
    }
}

impl Transformer {
    /// Builds the network from a component's loader (`transformer/`); a dry loader only records keys and shapes.
    ///
    /// # Errors
    /// A configuration whose axes do not fill a head, or a tensor that cannot be read.
    pub fn load(loader: &Loader, config: &TransformerConfig) -> Result<Self> {
        let heads = Heads { count: config.num_attention_heads, dim: config.attention_head_dim };
        let (hidden, mlp) = (config.hidden_size(), config.mlp_size());
        let patch = [config.patch_size_t, config.patch_size, config.patch_size];
        let double = loader.pp("transformer_blocks").compact();
        let single = loader.pp("single_transformer_blocks").compact();
        Ok(Self {
            patches: PatchEmbed::load(&loader.pp("x_embedder"), config.in_channels, hidden, patch)?,
            refiner: TokenRefiner::load(
                &loader.pp("context_embedder"),
                config.text_embed_dim,
                heads,
                config.num_refiner_layers,
            )?,
            embed: ConditionEmbed::load(
                &loader.pp("time_text_embed"),
                hidden,
                config.pooled_projection_dim,
                config.guidance_embeds,
            )?,
            double: (0..config.num_layers)
                .map(|index| DoubleBlock::load(&double.pp(index), heads, mlp))
                .collect::<Result<_>>()?,
            single: (0..config.num_single_layers)
                .map(|index| SingleBlock::load(&single.pp(index), heads, mlp))
                .collect::<Result<_>>()?,
            out_modulation: Linear::load(&loader.pp("norm_out.linear"), hidden, 2 * hidden)?,
            out: Linear::load(&loader.pp("proj_out"), hidden, patch.iter().product::<i64>() * config.out_channels())?,
            config: config.clone(),
        })
    }

    /// Prepares the parts of a run that no step changes.
    ///
    /// `states` is `[batch, tokens, text_embed_dim]` without padding, `pooled` `[batch, pooled_projection_dim]`, both on
    /// the model's device and of its dtype; `guidance` has one value a sample.
    ///
    /// # Errors
    /// Shapes that this model does not have, or libtorch.
    pub fn condition(
        &self,
        states: &Tensor,
        pooled: &Tensor,
        guidance: &[f64],
        shape: &VideoShape,
    ) -> Result<Condition> {
        let VideoShape { latents, full, stretch } = *shape;
        let config = &self.config;
        check_last("prompt_embeds", states, config.text_embed_dim)?;
        check_last("pooled_prompt_embeds", pooled, config.pooled_projection_dim)?;
        let patch = [config.patch_size_t, config.patch_size, config.patch_size];
        for (axis, name) in ["frames", "height", "width"].into_iter().enumerate() {
            if latents[axis + 1] < patch[axis] || latents[axis + 1] % patch[axis] != 0 {
                let reason = format!("{} latents do not divide into patches of {}", latents[axis + 1], patch[axis]);
                return Err(Error::input(name, reason));
            }
        }
        let grid = [latents[1] / patch[0], latents[2] / patch[1], latents[3] / patch[2]];
        let spread = [grid[0], full[0] / patch[1], full[1] / patch[2]];
        if stretch && !rope::can_stretch(config.rope_axes_dim[0]) {
            return Err(Error::input("riflex", "this model's heads have too few channels for time; leave it off"));
        }
        let (pooled, guidance) = self.embed.constants(pooled, guidance, states.kind()).in_op("condition")?;
        Ok(Condition {
            text: self.refiner.prepare(states).in_op("condition")?,
            rotation: rope::rotation(
                [grid, spread],
                &config.rope_axes_dim,
                config.rope_theta,
                stretch,
                states.device(),
            )
            .in_op("condition")?,
            pooled,
            guidance,
            grid,
            spread,
            stretch,
        })
    }

    /// Velocity of `latents` `[batch, channels, frames, height, width]` (of the model's dtype) at `times`, one a sample (0..1000);
    /// same shape and dtype. A leader's team takes part in it, unless the video has too few tokens.
    ///
    /// # Errors
    /// [`Error::Cancelled`] between blocks, or libtorch.
    pub fn forward(
        &self,
        latents: &Tensor,
        times: &[f32],
        condition: &Condition,
        control: &Control,
        leader: Option<&Leader>,
    ) -> Result<Tensor> {
        let batch = latents.size()[0];
        let video: i64 = condition.grid.iter().product();
        let text = condition.text.tokens();
        let times = Tensor::f_from_slice(times)?.f_to_device(latents.device())?;
        let modulation = self.embed.forward(&times, &condition.pooled, condition.guidance.as_ref())?.f_silu_()?;
        let hidden = self.config.hidden_size();
        let leader = leader.filter(|leader| leader.team().can_share(video));
        let (first, own) = leader.map_or((0, video), |leader| leader.team().own_rows(video));
        let tokens = Tensor::f_empty([batch, own + text, hidden], (latents.kind(), latents.device()))?;
        control.check_at(latents.device())?;
        let latents = latents.f_contiguous()?;
        self.patches.forward_into(&latents, first, &tokens.f_narrow(1, 0, own)?).in_op("patches")?;
        self.refiner.forward_into(&condition.text, &times, &mut tokens.f_narrow(1, own, text)?).in_op("refiner")?;
        let rotation = condition.rotation.f_narrow(0, first, own)?;
        let sequence = Sequence { own, video, rotation: &rotation, team: None };
        let rows = match leader {
            None => self.blocks(tokens, &modulation, sequence, control)?,
            Some(leader) => {
                let Condition { spread, stretch, .. } = *condition;
                let order = Order::Forward { latents: latents.size5()?.into(), text, spread, stretch };
                let text = tokens.f_narrow(1, own, text)?;
                leader.share(&order, &[&latents, &text, &modulation], |team| {
                    let sequence = Sequence { team: Some(team), ..sequence };
                    team.gather_rows(&self.blocks(tokens, &modulation, sequence, control)?, video)
                })?
            }
        };
        let patch = [self.config.patch_size_t, self.config.patch_size, self.config.patch_size];
        // Of a single token a frame it is a view; sums over it would differ from those over a restored copy in their last bits.
        Ok(unpatch(&rows, condition.grid, patch)?.f_contiguous()?)
    }

    /// The part of another process of the team in a forward pass.
    pub(crate) fn follow(&self, shared: &Shared, team: &Team) -> Result<()> {
        let Shared { latents, text, modulation, spread, stretch } = *shared;
        let (config, device) = (&self.config, latents.device());
        let grid = self.patches.grid(latents);
        let video = grid.iter().product();
        let (first, own) = team.own_rows(video);
        let (batch, count) = (text.size()[0], text.size()[1]);
        let tokens = Tensor::f_empty([batch, own + count, config.hidden_size()], (latents.kind(), device))?;
        self.patches.forward_into(latents, first, &tokens.f_narrow(1, 0, own)?).in_op("patches")?;
        tokens.f_narrow(1, own, count)?.f_copy_(text)?;
        let rotation = rope::rotation([grid, spread], &config.rope_axes_dim, config.rope_theta, stretch, device)?;
        let sequence = Sequence { own, video, rotation: &rotation.f_narrow(0, first, own)?, team: Some(team) };
        let rows = self.blocks(tokens, modulation, sequence, &Control::new())?;
        team.gather_rows(&rows, video).map(drop)
    }

    /// Takes `[batch, own video + text, hidden]` tokens through all blocks; returns the own video rows of the output.
    fn blocks(&self, mut tokens: Tensor, modulation: &Tensor, sequence: Sequence, control: &Control) -> Result<Tensor> {
        let device = tokens.device();
        for block in &self.double {
            sequence.check(control, device)?;
            block.forward(&tokens, modulation, sequence).in_op("double block")?;
        }
        for block in &self.single {
            sequence.check(control, device)?;
            block.forward(&mut tokens, modulation, sequence).in_op("single block")?;
        }
        sequence.check(control, device)?;
        let chunk = self.out_modulation.forward(modulation)?.f_chunk(2, 1)?;
        let normed = modulated_norm(&tokens.f_narrow(1, 0, sequence.own)?, &chunk[0].f_add_scalar(1.0)?, &chunk[1])?;
        drop(tokens);
        self.out.forward(&normed)
    }

    /// Number of [`Control::check_at`] calls of one forward pass.
    #[must_use]
    pub fn checks_per_forward(&self) -> u64 {
        (self.double.len() + self.single.len() + 2) as u64
    }

    /// Bytes of activations that a forward pass holds at once, estimated from its largest block.
    #[must_use]
    pub(crate) fn activation_bytes(&self, batch: i64, tokens: i64, kind: Kind) -> u64 {
        let (hidden, mlp) = (self.config.hidden_size(), self.config.mlp_size());
        // Tokens, their normed copy, and the wider of: q, k, v with the attention's result, or with the MLP's units.
        let width = 2 * hidden + (4 * hidden).max(3 * hidden + mlp);
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
        let table = key_table(|loader| Transformer::load(loader, &config)).unwrap();
        assert_eq!(table.parameters(), 12_821_012_544);
        let shape = |key: &str| {
            table
                .tensors()
                .find(|(name, _)| *name == key)
                .map(|(_, shape)| shape.to_vec())
                .unwrap_or_else(|| panic!("no {key}"))
        };
        assert_eq!(shape("x_embedder.proj.weight"), [3072, 16, 1, 2, 2]);
        assert_eq!(shape("context_embedder.token_refiner.refiner_blocks.1.ff.net.0.proj.weight"), [12288, 3072]);
        assert_eq!(shape("transformer_blocks.19.attn.norm_added_k.weight"), [128]);
        assert_eq!(shape("single_transformer_blocks.39.proj_out.weight"), [3072, 15360]);
        assert_eq!(shape("norm_out.linear.bias"), [6144]);
    }

    #[test]
    fn a_model_without_guidance_wants_no_weights_for_it() {
        let config = TransformerConfig { guidance_embeds: false, ..TransformerConfig::default() };
        let table = key_table(|loader| Transformer::load(loader, &config)).unwrap();
        assert!(table.tensors().all(|(key, _)| !key.contains("guidance_embedder")));
    }
}
