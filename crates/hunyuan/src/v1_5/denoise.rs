//! What 1.5's transformer is given in the denoising loop.
//!
//! Upstream: `HunyuanVideo15Pipeline.__call__` and `HunyuanVideo15ImageToVideoPipeline.__call__` in
//! <https://github.com/huggingface/diffusers/tree/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/pipelines/hunyuan_video1_5>.

use tch::{Device, Kind, Tensor};

use super::text::Text;
use super::transformer::{Condition, ImageInput, Transformer};
use crate::runtime::{
    control::Control,
    embeddings::Embeddings,
    error::Result,
    predictor::{Lengths, Predictor, Times},
    run::Run,
    team::Leader,
};

/// The network and the formats it works in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Denoiser<'a> {
    pub(crate) transformer: &'a Transformer,
    pub(crate) device: Device,
    pub(crate) kind: Kind,
    /// The team that computes with it.
    pub(crate) leader: Option<&'a Leader>,
}

impl Predictor for Denoiser<'_> {
    type Condition = Condition;

    fn device(&self) -> Device {
        self.device
    }

    fn kind(&self) -> Kind {
        self.kind
    }

    fn lengths(&self, field: &'static str, embeddings: &Embeddings) -> Result<Lengths> {
        Ok(Text::of(field, embeddings)?.lengths())
    }

    fn condition(&self, run: &Run, embeddings: &Embeddings) -> Result<Condition> {
        let here = |tensor: &Tensor| -> Result<Tensor> { Ok(tensor.f_to_device(self.device)?.f_to_kind(self.kind)?) };
        let text = Text::of("embeddings", embeddings)?;
        let states = here(text.prompt)?;
        let glyphs = text.glyph.map(here).transpose()?;
        // Guidance changes the text alone: both passes see the picture.
        let image = match &run.request.image {
            Some(picture) => Some(ImageInput { states: here(&picture.states)?, latents: here(&picture.latents)? }),
            None => None,
        };
        let (_, channels, frames, height, width) = run.latents.size5()?;
        let latents = [channels, frames, height, width];
        self.transformer.condition(&states, glyphs.as_ref(), image.as_ref(), (latents, run.full))
    }

    fn join(&self, conditions: &[&Condition]) -> Result<Condition> {
        Condition::join(conditions)
    }

    fn predict(&self, latents: &Tensor, times: &Times, condition: &Condition, control: &Control) -> Result<Tensor> {
        self.transformer.forward(latents, times, condition, control, self.leader)
    }
}
