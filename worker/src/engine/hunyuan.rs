//! The real renderer: a model of any family that the model crate knows, on libtorch.
//!
//! It owns tensors and never hands one out. The state of one job is in its session, which ends with it. A checkpoint is
//! taken at every step boundary, since that is cheap beside a step, and turned into bytes only when one is due or the run is
//! stopped. A run whose values leave the range of 16 bits is computed again in fp32 where the device has room for it.

use std::time::Instant;

use anyhow::Context;
use cache::{StoredEmbeddings, StoredTensor};
use domain::{FailureAction, Geometry};
use hunyuan::runtime::host::{Element, HostTensor};
use hunyuan::{
    Checkpoint, Control, DenoiseRequest, Denoised, DraftPart, EasyCacheConfig, Embeddings, Engine, EngineOptions,
    Error, FirstFrame, Frames, Interpolated, Interpolator, LatentRgb, Leader, Picture, Progressive, Session,
    StepCacheConfig,
};
use tracing::warn;

use super::failures::{broken, failed};
use super::loras::Opened;
use super::pictures::Pictures;
use super::steps::Steps;
use super::{Interpolation, LoadOptions, Paused, RenderError, RenderEvent, RenderOrder, RenderedFrames};
use crate::ranks::{Plan, Ranks};

/// Code of a failure whose result was not finite; the job is tried once more.
pub(crate) const NOT_FINITE: &str = "not_finite";

/// Code of a failure of a worker that cannot interpolate; another worker of the pool may.
const NO_INTERPOLATOR: &str = "no_interpolator";

/// The engine, and what it reports to the fleet.
pub struct HunyuanRenderer {
    engine: Engine,
    pub(super) geometry: Geometry,
    pub(super) memory_bytes: u64,
    /// What turns latents into previews, if the VAE has known factors.
    factors: Option<LatentRgb>,
    loras: Opened,
    interpolator: Option<Interpolator>,
    /// The processes of the other devices, and how they are started.
    ranks: Option<Ranks>,
    pub(super) plan: Option<Plan>,
}

impl HunyuanRenderer {
    /// Loads the model folder.
    ///
    /// # Errors
    /// The engine's, about the folder or the device.
    pub fn load(options: &LoadOptions) -> anyhow::Result<Self> {
        let engine_options = EngineOptions {
            device: options.device,
            attention: options.attention,
            attention_library: options.attention_library.clone(),
            dtype: options.dtype,
            storage: options.storage,
            encoder_dtype: options.encoder_dtype,
            decoder_dtype: options.decoder_dtype,
            largest: options.largest,
            threads: options.threads,
            text_encoders: options.text_encoders,
            hashes_dir: options.hashes_dir.clone(),
            deterministic: options.deterministic,
            ..EngineOptions::new(&options.model_dir)
        };
        let mut engine = Engine::load(&engine_options).context("load the model")?;
        let geometry = geometry(&engine.info().geometry).context("read the checkpoint's geometry")?;
        let factors = LatentRgb::of_folder(&options.model_dir, engine.info().geometry.channels)
            .context("read the preview factors")?;
        if factors.is_none() {
            warn!(folder = %options.model_dir.display(), "no previews: this VAE has no known factors; `worker fit-preview` finds them");
        }
        let interpolator = options.interpolator_dir.as_deref().map(|folder| {
            engine.interpolator(folder).with_context(|| {
                let folder = folder.display();
                format!("load the interpolator from {folder}; `scripts/fetch-interpolator {folder}` fetches it, and interpolation.enabled = false does without")
            })
        });
        let devices = options.devices.clone();
        let several = devices.len() > 1;
        let plan = several.then_some(Plan { devices, limit: options.rank_limit, options: engine_options });
        let ranks = plan.as_ref().map(|plan| Ranks::start(plan, &mut engine, &Control::new()));
        Ok(Self {
            ranks: ranks.transpose().context("worker.devices")?,
            plan,
            engine,
            geometry,
            memory_bytes: options.memory_bytes,
            factors,
            loras: Opened::default(),
            interpolator: interpolator.transpose()?,
        })
    }

    /// Starts the other devices' processes again where one of them is gone or they are at different places.
    pub(super) fn gather(&mut self, control: &Control) -> Result<(), RenderError> {
        let Some(plan) = &self.plan else { return Ok(()) };
        if self.ranks.as_mut().is_some_and(Ranks::are_alive) {
            return Ok(());
        }
        warn!("starting the processes of the other devices again");
        self.ranks = None;
        let started = self.engine.lead(None).and_then(|()| Ranks::start(plan, &mut self.engine, control));
        match started {
            Ok(ranks) => self.ranks = Some(ranks),
            Err(Error::Cancelled) => return Err(Error::Cancelled.into()),
            // They could be started when this worker began, so it is the device or the machine.
            Err(error) => return Err(RenderError::DeviceBroken { reason: error.to_string() }),
        }
        Ok(())
    }

    /// Ends the other devices' processes where a run has left them at different places, and adds to its error what one of them said.
    pub(super) fn end_broken<T>(&mut self, mut outcome: Result<T, RenderError>) -> Result<T, RenderError> {
        if !self.engine.leader().is_some_and(Leader::is_broken) {
            return outcome;
        }
        if let (Err(RenderError::Failed { failure, .. }), Some(ranks)) = (&mut outcome, &self.ranks)
            && let Some(complaint) = ranks.complaint()
        {
            failure.reason = format!("{}; {complaint}", failure.reason);
        }
        warn!("ending the processes of the other devices");
        self.ranks = None;
        outcome
    }

    /// The same model in fp32, where the device has room for it.
    fn full_precision(&self) -> Option<Engine> {
        let loaded = self.engine.in_full_precision(self.memory_bytes);
        loaded.inspect_err(|error| warn!(%error, "the model could not be loaded in fp32")).ok().flatten()
    }
}

/// One engine at work on an order.
pub(super) struct Work<'a> {
    pub(super) engine: &'a Engine,
    pub(super) order: &'a RenderOrder,
    pub(super) factors: Option<&'a LatentRgb>,
    /// Seconds that changing the weights took.
    pub(super) adapters_s: f64,
    pub(super) interpolator: Option<&'a Interpolator>,
}

impl Work<'_> {
    pub(super) fn request(&self, control: &Control) -> Result<DenoiseRequest, RenderError> {
        let order = self.order;
        let draft = order.continues.map(|draft| DraftPart {
            steps: draft.steps as usize,
            after: draft.after as usize,
            step_cache: step_cache((draft.step_cache.threshold > 0.0).then_some(draft.step_cache.threshold)),
            lower_steps: draft.lower_steps.map(|steps| steps as usize),
        });
        let steps = order.continues.map_or(order.steps, |draft| draft.then);
        let negative = match &order.negative {
            Some((stored, scale)) => Some((to_engine(stored)?, *scale)),
            None => None,
        };
        Ok(DenoiseRequest {
            width: i64::from(order.width),
            height: i64::from(order.height),
            frames: i64::from(order.frames),
            steps: steps as usize,
            guidance: order.guidance,
            flow_shift: Some(order.flow_shift),
            flow_reverse: order.flow_reverse,
            negative,
            image: self.first_frame(control)?,
            step_cache: step_cache(order.step_cache_threshold),
            draft,
            riflex: order.riflex,
            progressive: order.progressive.map(|early| Progressive {
                width: i64::from(early.width),
                height: i64::from(early.height),
                steps: early.steps as usize,
                shift: early.shift,
            }),
            ..DenoiseRequest::new(self.engine.defaults(), to_engine(&order.embeddings)?, order.seed)
        })
    }

    /// The order's picture as the model reads it. It is encoded again for each attempt, which takes less than a step.
    fn first_frame(&self, control: &Control) -> Result<Option<FirstFrame>, RenderError> {
        let Some(frame) = &self.order.first_frame else { return Ok(None) };
        let size = [self.order.width, self.order.height, self.order.frames].map(i64::from);
        let picture = Picture::new(frame.width, frame.height, frame.rgb.clone())?;
        Ok(Some(self.engine.encode_picture(&picture, size, control)?))
    }

    /// A draft whose checkpoint reaches its end already: its last attempt stored it and was lost before the pause.
    fn paused_before(&self, session: &Session<'_>, step: u32) -> Result<Option<RenderError>, RenderError> {
        let order = self.order;
        let (Some(until), Some(bytes)) = (order.pause_after, &order.resume) else { return Ok(None) };
        if step < until {
            return Ok(None);
        }
        let preview = match (self.factors, session.estimate()?) {
            (Some(factors), Some(latents)) => Some(factors.frames(&latents)?),
            _ => None,
        };
        Ok(Some(RenderError::Paused(Box::new(Paused { step, checkpoint: bytes.clone(), preview }))))
    }

    /// From noise, or a checkpoint, to frames; `again_because` says why this is not the first try.
    fn run(
        &self,
        again_because: Option<String>,
        control: &Control,
        tell: &mut dyn FnMut(RenderEvent),
    ) -> Result<RenderedFrames, RenderError> {
        let order = self.order;
        let request = self.request(control)?;
        let mut session = self.engine.begin(std::slice::from_ref(&request), control)?;
        let (saved, restarted_because) = resume(&mut session, order.resume.as_deref())?;
        let resumed_from = saved.as_ref().map_or(0, |saved| u32::try_from(saved.step).unwrap_or(u32::MAX));
        tell(RenderEvent::Started { resumed_from, restarted_because: again_because.or(restarted_because) });

        if let Some(paused) = self.paused_before(&session, resumed_from)? {
            return Err(paused);
        }
        let begun = Instant::now();
        let mut steps = Steps::new(saved.as_ref(), order, Pictures::new(self.factors, order.preview_every_s));
        let denoised = session.denoise(&mut |end| steps.after(end, tell));
        let denoised = denoised.and_then(|mut all| all.pop().ok_or_else(|| Error::input("requests", "there is none")));
        let denoised = steps.outcome(denoised)?;
        self.frames(&denoised, begun.elapsed().as_secs_f64(), control, tell)
    }

    /// From latents to frames.
    pub(super) fn frames(
        &self,
        denoised: &Denoised,
        denoise_s: f64,
        control: &Control,
        tell: &mut dyn FnMut(RenderEvent),
    ) -> Result<RenderedFrames, RenderError> {
        let order = self.order;
        tell(RenderEvent::Decoding);
        let begun = Instant::now();
        let frames = self.engine.decode(&denoised.latents, control, &mut |_, _| {})?;
        let decode_s = begun.elapsed().as_secs_f64();
        let (rgb, interpolation) = self.bytes(&frames, control, tell)?;
        let counts = &denoised.counts;
        #[expect(clippy::cast_possible_truncation, reason = "a record for statistics")]
        let convergence = counts.velocity_change.iter().map(|change| *change as f32).collect();
        Ok(RenderedFrames {
            rgb,
            width: order.width,
            height: order.height,
            steps_computed: count(counts.computed),
            steps_skipped: count(counts.skipped),
            lower: counts.lower.map(count),
            convergence,
            batch: (counts.companions > 0)
                .then(|| 1.0 + f64::from(count(counts.companions)) / f64::from(count(counts.computed).max(1))),
            adapters_s: self.adapters_s,
            denoise_s,
            decode_s,
            interpolation,
        })
    }

    /// The video's bytes: the decoded frames, and those between them if the order asks for some.
    fn bytes(
        &self,
        frames: &Frames,
        control: &Control,
        tell: &mut dyn FnMut(RenderEvent),
    ) -> Result<(Vec<u8>, Option<Interpolation>), RenderError> {
        let factor = self.order.interpolate;
        let Some(interpolator) = self.interpolator.filter(|_| factor > 1) else {
            return Ok((frames.rgb8()?, None));
        };
        tell(RenderEvent::Interpolating);
        let begun = Instant::now();
        let Interpolated { rgb, cuts } = interpolator.interpolate(frames, factor, control, &mut |_, _| {})?;
        let weights = interpolator.fingerprint().to_owned();
        Ok((rgb, Some(Interpolation { factor, cuts, weights, seconds: begun.elapsed().as_secs_f64() })))
    }
}

impl HunyuanRenderer {
    /// Refuses an order for interpolation where there is no interpolator.
    pub(super) fn check_interpolator(&self, order: &RenderOrder) -> Result<(), RenderError> {
        if order.interpolate > 1 && self.interpolator.is_none() {
            return Err(failed(NO_INTERPOLATOR, no_interpolator(), FailureAction::Retry));
        }
        Ok(())
    }

    /// Gives the weights their own values back, for orders without adapters; returns the seconds that this took.
    pub(super) fn without_adapters(&mut self, control: &Control) -> Result<f64, RenderError> {
        Ok(self.loras.activate(&mut self.engine, &[], control)?)
    }

    /// This renderer at work on an order.
    pub(super) fn at<'a>(&'a self, order: &'a RenderOrder, adapters_s: f64) -> Work<'a> {
        let (factors, interpolator) = (self.factors.as_ref(), self.interpolator.as_ref());
        Work { engine: &self.engine, order, factors, adapters_s, interpolator }
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn preview_factors(&self) -> Option<&LatentRgb> {
        self.factors.as_ref()
    }

    /// Whether this process computes alone. Videos of several devices are never rendered together.
    pub(super) fn is_alone(&self) -> bool {
        self.plan.is_none()
    }

    /// The video, on all devices; in fp32 on the first one alone where values leave the range of 16 bits.
    pub(super) fn rendered(
        &mut self,
        order: &RenderOrder,
        control: &Control,
        tell: &mut dyn FnMut(RenderEvent),
    ) -> Result<RenderedFrames, RenderError> {
        let adapters_s = self.loras.activate(&mut self.engine, &order.loras, control)?;
        let first = self.at(order, adapters_s).run(None, control, tell);
        self.or_in_full_precision(first, order, control, tell)
    }

    /// Computes again in fp32 what was not finite, where the device has room for it.
    pub(super) fn or_in_full_precision(
        &self,
        first: Result<RenderedFrames, RenderError>,
        order: &RenderOrder,
        control: &Control,
        tell: &mut dyn FnMut(RenderEvent),
    ) -> Result<RenderedFrames, RenderError> {
        let Err(RenderError::Failed { failure, .. }) = &first else { return first };
        if failure.code != NOT_FINITE {
            return first;
        }
        let Some(mut engine) = self.full_precision() else { return first };
        let adapters_s = Opened::default().activate(&mut engine, &order.loras, control)?;
        warn!(reason = failure.reason, "trying again in fp32");
        let why = format!("{}; computed again in fp32", failure.reason);
        let (factors, interpolator) = (self.factors.as_ref(), self.interpolator.as_ref());
        Work { engine: &engine, order, factors, adapters_s, interpolator }.run(Some(why), control, tell)
    }
}

/// A prompt's embeddings in their stored form.
pub(super) fn encode(engine: &Engine, text: &str, control: &Control) -> Result<StoredEmbeddings, RenderError> {
    let mut encoded = engine.encode(&[text], control)?;
    let Some(embeddings) = encoded.pop() else {
        return Err(broken("the encoder returned nothing"));
    };
    let tensors = embeddings.to_store()?.into_iter().map(|(name, tensor)| (name, to_stored(tensor))).collect();
    Ok(StoredEmbeddings { tensors, fingerprint: engine.info().encoder_fingerprint.clone() })
}

/// Continues from a checkpoint's bytes where that is possible; returns the state or why it is not used.
fn resume(
    session: &mut Session<'_>,
    bytes: Option<&[u8]>,
) -> Result<(Option<Checkpoint>, Option<String>), RenderError> {
    let Some(bytes) = bytes else { return Ok((None, None)) };
    let resumed = Checkpoint::from_bytes(bytes).and_then(|saved| session.resume(&saved).map(|()| saved));
    match resumed {
        Ok(saved) => Ok((Some(saved), None)),
        Err(Error::Resume { reason }) => Ok((None, Some(reason))),
        Err(error) => Err(error.into()),
    }
}

fn step_cache(threshold: Option<f64>) -> StepCacheConfig {
    threshold.map_or(StepCacheConfig::Off, |threshold| {
        StepCacheConfig::EasyCache(EasyCacheConfig { threshold, ..EasyCacheConfig::default() })
    })
}

fn to_engine(stored: &StoredEmbeddings) -> Result<Embeddings, RenderError> {
    let tensor = |(name, tensor): (&String, &StoredTensor)| {
        let element = match tensor.element {
            cache::Element::F32 => Element::F32,
            cache::Element::F16 => Element::F16,
            cache::Element::Bf16 => Element::Bf16,
            cache::Element::I64 => Element::I64,
            cache::Element::Bool => Element::Bool,
        };
        (name.clone(), HostTensor { element, shape: tensor.shape.clone(), bytes: tensor.bytes.clone() })
    };
    Ok(Embeddings::from_store(&stored.tensors.iter().map(tensor).collect::<Vec<_>>())?)
}

fn to_stored(tensor: HostTensor) -> StoredTensor {
    let element = match tensor.element {
        Element::F32 => cache::Element::F32,
        Element::F16 => cache::Element::F16,
        Element::Bf16 => cache::Element::Bf16,
        Element::I64 => cache::Element::I64,
        Element::Bool => cache::Element::Bool,
    };
    StoredTensor { element, shape: tensor.shape, bytes: tensor.bytes }
}

/// The model's geometry as the fleet plans with it.
fn geometry(of: &hunyuan::Geometry) -> anyhow::Result<Geometry> {
    Ok(Geometry {
        spatial: u32::try_from(of.spatial)?,
        temporal: u32::try_from(of.temporal)?,
        patch: u32::try_from(of.patch)?,
        patch_t: u32::try_from(of.patch_t)?,
    })
}

impl From<Error> for RenderError {
    fn from(error: Error) -> Self {
        match &error {
            Error::Cancelled => Self::Stopped { checkpoint: None },
            Error::Input { field, reason } => {
                failed("invalid_request", format!("{field}: {reason}"), FailureAction::Fail)
            }
            // Adapters are the only files that a job brings; the model's own were checked when it was loaded.
            Error::Config { .. } => failed("invalid_lora", error.to_string(), FailureAction::Fail),
            Error::DeviceFault { .. } => Self::DeviceBroken { reason: error.to_string() },
            Error::Team { .. } => failed("rank_failed", error.to_string(), FailureAction::Retry),
            Error::NotFinite { .. } => failed(NOT_FINITE, error.to_string(), FailureAction::Retry),
            // Another worker of the pool may have more memory, or this device may have more free by then.
            Error::OutOfMemory { .. } => failed("out_of_memory", error.to_string(), FailureAction::Retry),
            _ => failed("model_failed", error.to_string(), FailureAction::Retry),
        }
    }
}

fn no_interpolator() -> String {
    "this worker has no interpolator; fetch the weights with scripts/fetch-interpolator, set interpolation.enabled, and start the \
     worker again"
        .to_owned()
}

fn count(steps: usize) -> u32 {
    u32::try_from(steps).unwrap_or(u32::MAX)
}
