//! Flags, `fleet.toml` and the checkpoint's files, resolved to one request.

use std::path::Path;

use anyhow::{Context, bail};
use domain::ModelManifest;
use hunyuan::{Control, DenoiseRequest, Embeddings, Engine, config::defaults, step_cache::StepCacheConfig};
use tch::{Kind, Tensor};

use super::RenderArgs;

/// Name of the tensor in a `--latents` file.
const INITIAL_LATENTS: &str = "initial_latents";

/// Everything about the video but its embeddings.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// Pixels.
    pub(crate) width: i64,
    /// Pixels.
    pub(crate) height: i64,
    /// Frames.
    pub(crate) frames: i64,
    /// Frames a second of the MP4.
    pub(crate) fps: f64,
    flow_shift: Option<f64>,
    prompts: Vec<String>,
    true_cfg: f64,
    steps: usize,
    seed: u64,
    guidance: f64,
    flow_reverse: bool,
    initial_latents: Option<Tensor>,
}

/// The embeddings of a prompt and, with true guidance, of a negative one.
pub(crate) struct Encoded {
    prompt: Embeddings,
    negative: Option<Embeddings>,
}

impl Resolved {
    /// Fills what the flags leave open.
    ///
    /// # Errors
    /// Files that cannot be read, flags that contradict each other.
    pub(crate) fn new(args: &RenderArgs) -> anyhow::Result<Self> {
        let manifest = read_manifest(&args.model)?;
        let manifest = manifest.as_ref();
        let own_size = manifest.and_then(|manifest| manifest.sizes.first()?.aspects.first().cloned());
        let (width, height) = args.size.unwrap_or_else(|| {
            own_size.map_or((defaults::WIDTH, defaults::HEIGHT), |size| (i64::from(size.width), i64::from(size.height)))
        });
        let frames = args.frames.unwrap_or_else(|| {
            manifest.map_or(defaults::FRAMES, |manifest| i64::from(manifest.length.rendered_at_max))
        });
        let true_cfg_on = args.true_cfg > 1.0;
        if true_cfg_on && args.negative_prompt.is_none() {
            bail!("--true-cfg above 1 needs --negative-prompt; it may be empty");
        }
        let mut prompts = vec![args.prompt.clone()];
        prompts.extend(args.negative_prompt.clone().filter(|_| true_cfg_on));
        Ok(Self {
            width,
            height,
            frames,
            fps: resolve_fps(args.fps, manifest)?,
            flow_shift: args.flow_shift.or_else(|| manifest.map(|manifest| manifest.sampling.flow_shift)),
            prompts,
            true_cfg: args.true_cfg,
            steps: args.steps,
            seed: args.seed,
            guidance: args.guidance,
            flow_reverse: args.flow_reverse,
            initial_latents: args.latents.as_deref().map(read_latents).transpose()?,
        })
    }

    /// Runs both encoders.
    pub(crate) fn encode(&self, engine: &Engine, control: &Control) -> hunyuan::Result<Encoded> {
        let prompts: Vec<&str> = self.prompts.iter().map(String::as_str).collect();
        let mut all = engine.encode(&prompts, control)?.into_iter();
        let missing = || hunyuan::Error::input("prompt", "the encoder answered for fewer prompts than it was asked");
        Ok(Encoded { prompt: all.next().ok_or_else(missing)?, negative: all.next() })
    }

    /// The request with its embeddings.
    pub(crate) fn denoise_request(&self, encoded: Encoded) -> DenoiseRequest {
        DenoiseRequest {
            width: self.width,
            height: self.height,
            frames: self.frames,
            steps: self.steps,
            seed: self.seed,
            guidance: self.guidance,
            flow_shift: self.flow_shift,
            flow_reverse: self.flow_reverse,
            embeddings: encoded.prompt,
            negative: encoded.negative.map(|embeddings| (embeddings, self.true_cfg)),
            initial_latents: self.initial_latents.as_ref().map(Tensor::shallow_clone),
            step_cache: StepCacheConfig::Off,
        }
    }

    /// A side as the MP4 writer takes it.
    pub(crate) fn pixels(&self, side: i64) -> anyhow::Result<u32> {
        u32::try_from(side).with_context(|| format!("{side} pixels are no size of a video"))
    }
}

/// `fleet.toml`, or none in a plain checkpoint.
fn read_manifest(model: &Path) -> anyhow::Result<Option<ModelManifest>> {
    let path = model.join("fleet.toml");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(ModelManifest::parse(&text).with_context(|| format!("read {}", path.display()))?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

/// As asked for, else such that the model's longest video lasts as long as the full-scale one, else the reference's.
fn resolve_fps(asked: Option<f64>, manifest: Option<&ModelManifest>) -> anyhow::Result<f64> {
    let own = manifest.map(|manifest| {
        let length = &manifest.length;
        domain::model::Length::FPS * f64::from(length.rendered_at_max) / f64::from(length.max)
    });
    let fps = asked.or(own).unwrap_or(f64::from(defaults::FPS));
    if !(fps.is_finite() && fps > 0.0 && fps <= 240.0) {
        bail!("--fps {fps}: give a number above 0 and up to 240");
    }
    Ok(fps)
}

/// The tensor `initial_latents` of a safetensors file.
fn read_latents(path: &Path) -> anyhow::Result<Tensor> {
    let tensors = Tensor::read_safetensors(path).with_context(|| format!("read {}", path.display()))?;
    let found = tensors.into_iter().find(|(name, _)| name == INITIAL_LATENTS);
    let Some((_, tensor)) = found else { bail!("{} holds no tensor `{INITIAL_LATENTS}`", path.display()) };
    Ok(tensor.f_to_kind(Kind::Float)?)
}
