//! What 1.0's transformer is given in the denoising loop.
//!
//! Upstream: `HunyuanVideoPipeline.__call__` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/pipelines/hunyuan_video/pipeline_hunyuan_video.py>.

use tch::{Device, Kind, Tensor};

use super::text::Text;
use super::transformer::{Condition, Transformer, VideoShape};
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
        Ok([Text::of(field, embeddings)?.tokens(), 0])
    }

    fn condition(&self, run: &Run, embeddings: &Embeddings) -> Result<Condition> {
        let here = |tensor: &Tensor| -> Result<Tensor> { Ok(tensor.f_to_device(self.device)?.f_to_kind(self.kind)?) };
        let text = Text::of("embeddings", embeddings)?;
        let (states, pooled) = (here(text.prompt)?, here(text.pooled)?);
        let (_, channels, frames, height, width) = run.latents.size5()?;
        let (latents, full) = ([channels, frames, height, width], run.full);
        let shape = VideoShape { latents, full, stretch: run.request.riflex };
        self.transformer.condition(&states, &pooled, &[run.request.guidance], &shape)
    }

    fn join(&self, conditions: &[&Condition]) -> Result<Condition> {
        Condition::join(conditions)
    }

    fn predict(&self, latents: &Tensor, times: &Times, condition: &Condition, control: &Control) -> Result<Tensor> {
        self.transformer.forward(latents, &times.now, condition, control, self.leader)
    }
}
