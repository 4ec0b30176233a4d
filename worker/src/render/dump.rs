//! `--dump`: every intermediate result in one safetensors file, all float32, to be compared with another implementation.

use std::path::Path;

use anyhow::Context;
use hunyuan::{DenoiseRequest, Engine};
use tch::{Device, Kind, Tensor};

/// Tensors by name, in the order of the stages.
#[derive(Debug, Default)]
pub(crate) struct Dump {
    tensors: Vec<(String, Tensor)>,
}

impl Dump {
    /// The inputs of the first step: embeddings, the picture, noise, schedule.
    pub(crate) fn start(&mut self, engine: &Engine, request: &DenoiseRequest) -> anyhow::Result<()> {
        for (name, tensor) in request.embeddings.tensors() {
            self.add(name, tensor)?;
        }
        if let Some(image) = &request.image {
            self.add("image_embeds", &image.states)?;
            self.add("image_latents", &image.latents)?;
        }
        self.add("initial_latents", &engine.initial_latents(request)?)?;
        self.add("sigmas", &Tensor::f_from_slice(engine.schedule(request)?.sigmas())?)
    }

    /// Adds the results and writes the file.
    pub(crate) fn finish(
        mut self,
        first_velocity: Option<&Tensor>,
        latents: &Tensor,
        frames: &Tensor,
        path: &Path,
    ) -> anyhow::Result<()> {
        let first = first_velocity.context("no step gave a velocity to dump")?;
        self.add("noise_pred_0", first)?;
        self.add("latents", latents)?;
        self.add("frames", frames)?;
        Tensor::write_safetensors(&self.tensors, path).with_context(|| format!("write {}", path.display()))
    }

    fn add(&mut self, name: &str, tensor: &Tensor) -> anyhow::Result<()> {
        let copy = tensor.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?;
        self.tensors.push((name.to_owned(), copy));
        Ok(())
    }
}
