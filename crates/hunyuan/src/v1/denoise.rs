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
        Ok([Text::of(field, embeddings)?.tokens(), 0])
    }

    fn condition(&self, runs: &[&Run], embeddings: &[&Embeddings]) -> Result<Condition> {
        let join = |parts: Vec<&Tensor>| -> Result<Tensor> {
            Ok(Tensor::f_cat(&parts, 0)?.f_to_device(self.device)?.f_to_kind(self.kind)?)
        };
        let texts =
            embeddings.iter().map(|embeddings| Text::of("embeddings", embeddings)).collect::<Result<Vec<_>>>()?;
        let states = join(texts.iter().map(|text| text.prompt).collect())?;
        let pooled = join(texts.iter().map(|text| text.pooled).collect())?;
        let guidance: Vec<f64> = runs.iter().map(|run| run.request.guidance).collect();
        let (_, channels, frames, height, width) = runs[0].latents.size5()?;
        let (latents, full) = ([channels, frames, height, width], runs[0].full);
        let shape = VideoShape { latents, full, stretch: runs[0].request.riflex };
        self.transformer.condition(&states, &pooled, &guidance, &shape)
    }

    fn select(&self, condition: &Condition, samples: &[i64]) -> Result<Condition> {
        condition.select(samples)
    }

    fn predict(&self, latents: &Tensor, times: &Times, condition: &Condition, control: &Control) -> Result<Tensor> {
        self.transformer.forward(latents, &times.now, condition, control, self.leader)
    }
}
