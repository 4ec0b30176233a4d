//! Flags, `fleet.toml` and the checkpoint's files, resolved to one request.

use std::path::Path;

use anyhow::{Context, bail};
use domain::model::RenderShape;
use domain::{ModelManifest, ProgressiveMode};
use hunyuan::{Control, DenoiseRequest, Embeddings, Engine, Family, FirstFrame, Picture, Progressive, StepCacheConfig};
use tch::{Kind, Tensor};

use super::RenderArgs;

/// Limits of a `--image` file: far above any camera, low enough to fail before memory does.
const PICTURE_LIMITS: pictures::Limits = pictures::Limits { pixels_max: 1 << 28, memory_max_bytes: 2 << 30 };

/// Name of the tensor in a `--latents` file.
const INITIAL_LATENTS: &str = "initial_latents";

/// The request without its embeddings.
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
    riflex: bool,
    progressive: Option<Progressive>,
    picture: Option<Picture>,
}

/// The embeddings of a prompt and, with true guidance, of a negative one.
pub(crate) struct Encoded {
    prompt: Embeddings,
    negative: Option<Embeddings>,
}

impl Resolved {
    /// Fills in what the flags leave out.
    ///
    /// # Errors
    /// Files that cannot be read, flags that contradict each other.
    pub(crate) fn new(args: &RenderArgs) -> anyhow::Result<Self> {
        let manifest = read_manifest(&args.model)?;
        let manifest = manifest.as_ref();
        let family = Family::of(&args.model)?;
        let defaults = family.defaults_of(&args.model)?;
        let picture = args.image.as_deref().map(read_picture).transpose()?;
        match (family.takes_picture(), &picture) {
            (true, None) => bail!("this model begins a video from a picture; give --image FILE"),
            (false, Some(_)) => bail!("--image: this model makes videos from text alone"),
            _ => {}
        }
        let own_size = manifest.and_then(|manifest| manifest.sizes.first()?.aspects.first().cloned());
        let (width, height) = match (args.size, &picture) {
            (Some(size), _) => size,
            (None, Some(picture)) => {
                let [width, height] = family.size_for_picture(&args.model, [picture.width(), picture.height()])?;
                (width, height)
            }
            (None, None) => {
                own_size.map_or((defaults.width, defaults.height), |size| (size.width.into(), size.height.into()))
            }
        };
        let frames = args
            .frames
            .unwrap_or_else(|| manifest.map_or(defaults.frames, |manifest| i64::from(manifest.length.rendered_at_max)));
        let guidance = manifest.map(|manifest| &manifest.sampling.guidance);
        let own_true_cfg = guidance.map_or(defaults.true_cfg_scale, |guidance| guidance.true_cfg_scale);
        let true_cfg = args.true_cfg.unwrap_or(own_true_cfg);
        let true_cfg_on = true_cfg > 1.0;
        if true_cfg_on && args.true_cfg.is_some() && args.negative_prompt.is_none() {
            bail!("--true-cfg above 1 needs --negative-prompt; it may be empty");
        }
        let mut prompts = vec![args.prompt.clone()];
        // A model that needs guidance gets the reference's empty negative prompt where none is given.
        prompts.extend(true_cfg_on.then(|| args.negative_prompt.clone().unwrap_or_default()));
        let steps = args.steps.unwrap_or(own_steps(manifest, defaults.steps));
        Ok(Self {
            width,
            height,
            frames,
            fps: resolve_fps(args.fps, manifest, defaults.fps)?,
            flow_shift: args.flow_shift.or_else(|| manifest.map(|manifest| manifest.sampling.flow_shift)),
            prompts,
            true_cfg,
            steps,
            seed: args.seed,
            guidance: args.guidance.unwrap_or(guidance.map_or(defaults.guidance, |guidance| guidance.cfg_scale)),
            flow_reverse: args.flow_reverse,
            initial_latents: args.latents.as_deref().map(read_latents).transpose()?,
            riflex: args.riflex.unwrap_or_else(|| {
                let above = manifest.and_then(|manifest| manifest.length.riflex_above);
                above.is_some_and(|limit| frames > i64::from(limit))
            }),
            progressive: progressive(args, manifest, [width, height, frames], steps)?,
            picture,
        })
    }

    /// Runs both encoders.
    pub(crate) fn encode(&self, engine: &Engine, control: &Control) -> hunyuan::Result<Encoded> {
        let prompts: Vec<&str> = self.prompts.iter().map(String::as_str).collect();
        let mut all = engine.encode(&prompts, control)?.into_iter();
        let missing = || hunyuan::Error::input("prompt", "the encoder returned fewer prompts than it was given");
        Ok(Encoded { prompt: all.next().ok_or_else(missing)?, negative: all.next() })
    }

    /// Crops and encodes the picture, if there is one.
    pub(crate) fn first_frame(&self, engine: &Engine, control: &Control) -> hunyuan::Result<Option<FirstFrame>> {
        let size = [self.width, self.height, self.frames];
        self.picture.as_ref().map(|picture| engine.encode_picture(picture, size, control)).transpose()
    }

    /// Whether the video begins from a picture.
    pub(crate) fn has_picture(&self) -> bool {
        self.picture.is_some()
    }

    /// The request with its embeddings and its picture.
    pub(crate) fn denoise_request(&self, encoded: Encoded, image: Option<FirstFrame>) -> DenoiseRequest {
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
            image,
            initial_latents: self.initial_latents.as_ref().map(Tensor::shallow_clone),
            step_cache: StepCacheConfig::Off,
            draft: None,
            riflex: self.riflex,
            progressive: self.progressive,
        }
    }

    /// What the model renders.
    pub(crate) fn shape(&self) -> anyhow::Result<RenderShape> {
        let number = |value: i64| u32::try_from(value).with_context(|| format!("{value} cannot be a size of a video"));
        Ok(RenderShape {
            width: number(self.width)?,
            height: number(self.height)?,
            frames: number(self.frames)?,
            fps: self.fps,
        })
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

/// The reference's number of steps, as far as the model can run it.
fn own_steps(manifest: Option<&ModelManifest>, default: usize) -> usize {
    let possible = |manifest: &ModelManifest| manifest.sampling.possible(u32::try_from(default).unwrap_or(u32::MAX));
    manifest.map_or(default, |manifest| usize::try_from(possible(manifest)).unwrap_or(default))
}

/// The early steps at half the size that the mode means for this model and run.
fn progressive(
    args: &RenderArgs,
    manifest: Option<&ModelManifest>,
    size: [i64; 3],
    steps: usize,
) -> anyhow::Result<Option<Progressive>> {
    if args.progressive == ProgressiveMode::Off {
        return Ok(None);
    }
    let known = manifest.and_then(|manifest| Some((manifest, manifest.progressive.as_ref()?)));
    let Some((manifest, levels)) = known else {
        bail!("--progressive: the model's fleet.toml has no table [progressive], so only off is possible");
    };
    if !args.flow_reverse {
        bail!("--progressive must be off with --flow-reverse false: inverted levels have no change of resolution");
    }
    let number = |value: i64| u32::try_from(value).with_context(|| format!("{value} cannot be a size of a video"));
    let size = [number(size[0])?, number(size[1])?, number(size[2])?];
    let run = (u32::try_from(steps)?, args.flow_shift.unwrap_or(manifest.sampling.flow_shift));
    let Some(early) = levels.plan(args.progressive, size, &manifest.geometry, run) else {
        bail!(
            "--progressive {}: {}x{} cannot be halved, or {steps} steps are too few for any at half the size; use off",
            args.progressive,
            size[0],
            size[1]
        );
    };
    Ok(Some(Progressive {
        width: early.width.into(),
        height: early.height.into(),
        steps: usize::try_from(early.steps)?,
        shift: early.shift,
    }))
}

/// As requested, else such that the model's longest video lasts as long as the full-scale one, else the reference's.
fn resolve_fps(asked: Option<f64>, manifest: Option<&ModelManifest>, default: u32) -> anyhow::Result<f64> {
    let own = manifest.map(|manifest| {
        let length = &manifest.length;
        domain::model::Length::FPS * f64::from(length.rendered_at_max) / f64::from(length.max)
    });
    let fps = asked.or(own).unwrap_or(f64::from(default));
    if !(fps.is_finite() && fps > 0.0 && fps <= 240.0) {
        bail!("--fps {fps}: give a number above 0 and up to 240");
    }
    Ok(fps)
}

/// A PNG, JPEG or WebP file, upright.
fn read_picture(path: &Path) -> anyhow::Result<Picture> {
    let bytes = std::fs::read(path).with_context(|| format!("--image: read {}", path.display()))?;
    let pixels = pictures::decode(&bytes, &PICTURE_LIMITS).with_context(|| format!("--image: {}", path.display()))?;
    Ok(Picture::new(pixels.width, pixels.height, pixels.rgb)?)
}

/// The tensor `initial_latents` of a safetensors file.
fn read_latents(path: &Path) -> anyhow::Result<Tensor> {
    let tensors = Tensor::read_safetensors(path).with_context(|| format!("read {}", path.display()))?;
    let found = tensors.into_iter().find(|(name, _)| name == INITIAL_LATENTS);
    let Some((_, tensor)) = found else { bail!("{} holds no tensor `{INITIAL_LATENTS}`", path.display()) };
    Ok(tensor.f_to_kind(Kind::Float)?)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use clap::{Args, Command, FromArgMatches};

    use super::*;

    fn resolved(model: &str, flags: &[&str]) -> anyhow::Result<Resolved> {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(model);
        let mut words: Vec<PathBuf> =
            ["render", "--prompt", "a cat", "--out", "out.mp4", "--model"].map(Into::into).into();
        words.push(model);
        words.extend(flags.iter().map(Into::into));
        let matches = RenderArgs::augment_args(Command::new("render")).try_get_matches_from(words)?;
        Resolved::new(&RenderArgs::from_arg_matches(&matches)?)
    }

    #[test]
    fn a_plain_checkpoint_gets_the_references_defaults() {
        let request = resolved("crates/hunyuan/tests/fixtures/base/model", &[]).unwrap();
        assert_eq!((request.width, request.height, request.frames, request.steps), (1280, 720, 129, 50));
        assert_eq!((request.guidance, request.true_cfg, request.fps), (6.0, 1.0, 24.0));
        assert!(request.flow_reverse && request.initial_latents.is_none());
        assert_eq!(request.flow_shift, None, "the checkpoint's own scheduler file says it");
        assert_eq!(request.prompts, ["a cat"]);
    }

    #[test]
    fn a_model_folder_says_its_own_sizes_and_a_flag_wins() {
        let request = resolved("models/default", &[]).unwrap();
        let manifest =
            read_manifest(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/default")).unwrap().unwrap();
        let first = &manifest.sizes[0].aspects[0];
        assert_eq!((request.width, request.height), (i64::from(first.width), i64::from(first.height)));
        assert_eq!(request.frames, i64::from(manifest.length.rendered_at_max));
        assert_eq!(request.flow_shift, Some(manifest.sampling.flow_shift));
        let flags = ["--size", "32x48", "--frames", "9", "--flow-shift", "2.5", "--fps", "8"];
        let request = resolved("models/default", &flags).unwrap();
        assert_eq!((request.width, request.height, request.frames, request.fps), (32, 48, 9, 8.0));
        assert_eq!(request.flow_shift, Some(2.5));
    }

    #[test]
    fn early_steps_at_half_the_size_follow_the_manifest() {
        let request = resolved("models/default", &["--steps", "8", "--progressive", "fast"]).unwrap();
        let early = request.progressive.unwrap();
        assert_eq!((early.width, early.height, early.steps), (request.width / 2, request.height / 2, 3));
        assert_eq!(resolved("models/default", &["--progressive", "off"]).unwrap().progressive, None);
        let error = |model, flags: &[&str]| resolved(model, flags).unwrap_err().to_string();
        let plain = error("crates/hunyuan/tests/fixtures/base/model", &["--progressive", "fast"]);
        assert!(plain.contains("[progressive]"), "{plain}");
        let inverted = error("models/default", &["--progressive", "fast", "--flow-reverse", "false"]);
        assert!(inverted.contains("--flow-reverse"), "{inverted}");
        let few = error("models/default", &["--progressive", "fast", "--steps", "1"]);
        assert!(few.contains("1 steps are too few"), "{few}");
    }

    #[test]
    fn a_checkpoint_that_needs_guidance_gets_an_empty_negative_prompt_and_a_distilled_one_none() {
        let base = resolved("crates/hunyuan/tests/fixtures/v1_5/base/model", &[]).unwrap();
        assert_eq!((base.width, base.height, base.frames, base.true_cfg), (848, 480, 121, 6.0));
        assert_eq!(base.prompts, ["a cat", ""]);
        let distilled = resolved("crates/hunyuan/tests/fixtures/v1_5/deep/model", &[]).unwrap();
        assert_eq!((distilled.true_cfg, distilled.prompts), (1.0, vec!["a cat".to_owned()]));
        let off = resolved("crates/hunyuan/tests/fixtures/v1_5/base/model", &["--true-cfg", "1"]).unwrap();
        assert_eq!(off.prompts, ["a cat"]);
    }

    #[test]
    fn a_picture_decides_the_size_is_needed_by_image_to_video_and_refused_by_text_to_video() {
        let folder = tempfile::tempdir().unwrap();
        let model = "crates/hunyuan/tests/fixtures/v1_5_i2v/base/model";
        let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(model).join("../picture.png");
        let path = folder.path().join("picture.png");
        std::fs::copy(recorded, &path).unwrap();
        let flags = ["--image", path.to_str().unwrap()];
        let request = resolved(model, &flags).unwrap();
        assert_eq!((request.width, request.height, request.has_picture()), (48, 32, true));
        let sized = resolved(model, &[flags[0], flags[1], "--size", "32x32"]).unwrap();
        assert_eq!((sized.width, sized.height), (32, 32));
        let error = resolved(model, &[]).unwrap_err().to_string();
        assert!(error.contains("--image"), "{error}");
        let error = resolved("crates/hunyuan/tests/fixtures/v1_5/base/model", &flags).unwrap_err().to_string();
        assert!(error.contains("text alone"), "{error}");
        std::fs::write(&path, b"not a picture").unwrap();
        let error = format!("{:#}", resolved(model, &flags).unwrap_err());
        assert!(error.contains("picture.png"), "{error}");
    }

    #[test]
    fn a_negative_prompt_counts_only_with_true_guidance() {
        let model = "crates/hunyuan/tests/fixtures/base/model";
        let quiet = resolved(model, &["--negative-prompt", "blurry"]).unwrap();
        assert_eq!(quiet.prompts, ["a cat"]);
        let loud = resolved(model, &["--negative-prompt", "", "--true-cfg", "2"]).unwrap();
        assert_eq!(loud.prompts, ["a cat", ""]);
        let error = resolved(model, &["--true-cfg", "2"]).unwrap_err().to_string();
        assert!(error.contains("--negative-prompt"), "{error}");
    }
}
