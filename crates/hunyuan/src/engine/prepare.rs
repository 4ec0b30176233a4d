//! From a request to a run: its checks, its noise and levels, and what determines its video.

use tch::{Device, Tensor};

use super::Engine;
use crate::networks::TAKES_NO_PICTURE;
use crate::runtime::{
    checkpoint::{DraftIdentity, Identity, ProgressiveIdentity},
    device,
    error::{Error, Result},
    first_frame::FirstFrame,
    flow_match::Schedule,
    noise,
    progressive::ratio,
    request::{DenoiseRequest, DraftPart},
    run::{Asked, Run},
    step_cache::StepCacheConfig,
};

impl Engine {
    /// The noise that a request starts from, `[1, channels, frames, height, width]` fp32 on the host.
    ///
    /// # Errors
    /// [`Error::Input`], memory.
    pub fn initial_latents(&self, request: &DenoiseRequest) -> Result<Tensor> {
        let shape = self.info.geometry.latent_shape(request.width, request.height, request.frames)?;
        match &request.initial_latents {
            Some(latents) => Ok(latents.f_to_device(Device::Cpu)?),
            None => noise::normal(request.seed, &shape),
        }
    }

    /// The noise levels of a request.
    ///
    /// # Errors
    /// [`Error::Input`].
    pub fn schedule(&self, request: &DenoiseRequest) -> Result<Schedule> {
        let shift = request.flow_shift.unwrap_or(self.info.flow_shift);
        let of = |steps, shift| Schedule::new(steps, shift, request.flow_reverse, self.train_timesteps);
        let whole = match &request.draft {
            Some(draft) => of(request.steps, shift)?.after_draft(&of(draft.steps, shift)?, draft.after),
            None => of(request.steps, shift)?,
        };
        let Some(progressive) = &request.progressive else { return Ok(whole) };
        let lower = of(request.draft.map_or(request.steps, |draft| draft.steps), progressive.shift)?;
        let ratio = ratio([progressive.height, progressive.width], [request.height, request.width]);
        whole.raised_after(&lower, progressive.steps, ratio)
    }

    /// What determines a request's video on this engine: a saved state of another identity is not resumed.
    ///
    /// # Errors
    /// [`Error::Input`], libtorch.
    pub fn identity(&self, request: &DenoiseRequest) -> Result<Identity> {
        self.check(request)?;
        let noise = match &request.initial_latents {
            Some(latents) => format!("latents {}", content_hash(latents)?),
            None => format!("seed {}", request.seed),
        };
        let negative = request.active_negative();
        let draft = request.draft.map(|DraftPart { steps, after, step_cache, lower_steps }| {
            Ok::<_, Error>(DraftIdentity { steps, after, step_cache: json(&step_cache)?, lower_steps })
        });
        let progressive = request.progressive.map(|one| ProgressiveIdentity {
            size: [one.width, one.height],
            steps: one.steps,
            shift: one.shift.to_bits(),
        });
        Ok(Identity {
            family: self.info.family.name().to_owned(),
            noise,
            embeddings: request.embeddings.fingerprint().to_owned(),
            negative: negative.map(|(embeddings, scale)| (embeddings.fingerprint().to_owned(), scale.to_bits())),
            model: self.info.model_fingerprint.clone(),
            build: self.info.build.clone(),
            device_class: self.info.device_class.clone(),
            threads: device::threads(self.device),
            dtype: self.info.formats(),
            size: [request.width, request.height, request.frames],
            steps: request.steps,
            guidance: request.guidance.to_bits(),
            flow_shift: request.flow_shift.unwrap_or(self.info.flow_shift).to_bits(),
            flow_reverse: request.flow_reverse,
            step_cache: json(&request.step_cache)?,
            draft: draft.transpose()?,
            adapters: self.adapters.active()?.clone(),
            riflex: request.riflex,
            image: request.image.as_ref().map(|image| image.sha256.clone()),
            progressive,
        })
    }

    /// A run of this request, at step 0.
    pub(crate) fn run<'r>(&self, request: Asked<'r>) -> Result<Run<'r>> {
        let noise = self.initial_latents(&request)?;
        let (identity, schedule) = (self.identity(&request)?, self.schedule(&request)?);
        Run::new(request, identity, schedule, &noise, self.device)
    }

    /// Checks requests of one size, then whether there is enough memory to denoise them together.
    pub(crate) fn reserve_denoise(&self, requests: &[&DenoiseRequest]) -> Result<()> {
        let Some(first) = requests.first() else { return Ok(()) };
        let mut text = 0;
        for request in requests {
            self.check(request)?;
            let picture = request.image.as_ref().map_or(0, FirstFrame::tokens);
            text = text.max(self.networks.text_tokens(request)?.saturating_add(picture));
        }
        let shape = self.info.geometry.latent_shape(first.width, first.height, first.frames)?;
        let tokens = self.info.geometry.tokens(shape).saturating_add(text);
        let videos = i64::try_from(requests.len()).unwrap_or(i64::MAX);
        device::reserve(self.device, "denoise", self.networks.denoise_bytes(videos, tokens))
    }

    /// Refuses a request that this model does not support.
    fn check(&self, request: &DenoiseRequest) -> Result<()> {
        match (&request.image, self.info.family.takes_picture()) {
            (Some(_), false) => return Err(Error::input("image", TAKES_NO_PICTURE)),
            (None, true) => {
                return Err(Error::input(
                    "image",
                    "this model makes a video from a picture; give one for the first frame",
                ));
            }
            _ => {}
        }
        request.check(&self.info.geometry)
    }
}

fn json(config: &StepCacheConfig) -> Result<String> {
    serde_json::to_string(config).map_err(|error| Error::input("step_cache", error.to_string()))
}

/// blake3 of a tensor's values as fp32, hex.
fn content_hash(tensor: &Tensor) -> Result<String> {
    let host = tensor.f_to_kind(tch::Kind::Float)?.f_to_device(Device::Cpu)?.f_contiguous()?;
    let mut bytes = vec![0; host.numel() * size_of::<f32>()];
    host.f_copy_data_u8(&mut bytes, host.numel())?;
    Ok(blake3::hash(&bytes).to_hex().to_string())
}
