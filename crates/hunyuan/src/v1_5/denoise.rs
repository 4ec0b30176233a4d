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
    first_frame::FirstFrame,
    run::Run,
    sampler::{Lengths, Predictor, Times},
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

    fn condition(&self, runs: &[&Run], embeddings: &[&Embeddings]) -> Result<Condition> {
        let join = |parts: Vec<&Tensor>| -> Result<Tensor> {
            Ok(Tensor::f_cat(&parts, 0)?.f_to_device(self.device)?.f_to_kind(self.kind)?)
        };
        let texts =
            embeddings.iter().map(|embeddings| Text::of("embeddings", embeddings)).collect::<Result<Vec<_>>>()?;
        let states = join(texts.iter().map(|text| text.prompt).collect())?;
        let glyphs: Vec<&Tensor> = texts.iter().filter_map(|text| text.glyph).collect();
        let glyphs = if glyphs.is_empty() { None } else { Some(join(glyphs)?) };
        // Guidance changes the text alone: both passes see the picture.
        let pictures: Vec<&FirstFrame> = runs.iter().filter_map(|run| run.request.image.as_ref()).collect();
        let image = if pictures.is_empty() {
            None
        } else {
            Some(ImageInput {
                states: join(pictures.iter().map(|picture| &picture.states).collect())?,
                latents: join(pictures.iter().map(|picture| &picture.latents).collect())?,
            })
        };
        let (_, channels, frames, height, width) = runs[0].latents.size5()?;
        let latents = [channels, frames, height, width];
        self.transformer.condition(&states, glyphs.as_ref(), image.as_ref(), (latents, runs[0].full))
    }

    fn select(&self, condition: &Condition, samples: &[i64]) -> Result<Condition> {
        condition.select(samples)
    }

    fn predict(&self, latents: &Tensor, times: &Times, condition: &Condition, control: &Control) -> Result<Tensor> {
        self.transformer.forward(latents, times, condition, control, self.leader)
    }
}
