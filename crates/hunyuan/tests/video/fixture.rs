//! What the comparisons share: finding fixtures, reading their tensors, measuring distance.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its fixture has nothing to say")]

use std::{collections::BTreeMap, ops::ControlFlow, path::PathBuf};

use hunyuan::{
    Control, DenoiseRequest, Denoised, DeviceChoice, Dtype, Embeddings, Engine, EngineOptions, Family, Frames, Latents,
    Residency, StepEnd, Tiling,
    runtime::tiling::TileSizes,
    runtime::weights::{self, Loader, Weights},
    v1::config::ModelConfig,
    v1::text::{POOLED, PROMPT},
};
use serde::Deserialize;
use tch::{Device, Kind, Tensor};

/// A model folder with what the reference computed from it.
pub(crate) struct Fixture {
    pub(crate) name: String,
    pub(crate) model_dir: PathBuf,
    pub(crate) case: Case,
    tensors: BTreeMap<String, Tensor>,
}

/// The request that the reference ran.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    pub(crate) model: String,
    pub(crate) true_cfg_scale: f64,
    pub(crate) width: i64,
    pub(crate) height: i64,
    pub(crate) frames: i64,
    pub(crate) steps: usize,
    pub(crate) guidance: f64,
    pub(crate) flow_shift: Option<f64>,
    pub(crate) flow_reverse: bool,
    pub(crate) seed: u64,
    pub(crate) dtype: String,
    pub(crate) tiling: Option<Tiles>,
}

/// Tile sizes with which the reference decoded, in its own names; absent ones have its defaults.
#[derive(Debug, Default, Deserialize, Clone, Copy)]
#[serde(default)]
pub(crate) struct Tiles {
    tile_sample_min_height: Option<i64>,
    tile_sample_min_width: Option<i64>,
    tile_sample_min_num_frames: Option<i64>,
    tile_sample_stride_height: Option<i64>,
    tile_sample_stride_width: Option<i64>,
    tile_sample_stride_num_frames: Option<i64>,
}

impl Tiles {
    fn sizes(self) -> TileSizes {
        let default = TileSizes::default();
        TileSizes {
            height: self.tile_sample_min_height.unwrap_or(default.height),
            width: self.tile_sample_min_width.unwrap_or(default.width),
            frames: self.tile_sample_min_num_frames.unwrap_or(default.frames),
            stride_height: self.tile_sample_stride_height.unwrap_or(default.stride_height),
            stride_width: self.tile_sample_stride_width.unwrap_or(default.stride_width),
            stride_frames: self.tile_sample_stride_num_frames.unwrap_or(default.stride_frames),
        }
    }
}

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

impl Fixture {
    /// The committed fixture of this name.
    pub(crate) fn open(name: &str) -> Self {
        let dir = fixtures().join(name);
        let text = std::fs::read_to_string(dir.join("case.json")).unwrap();
        let case: Case = serde_json::from_str(&text).unwrap();
        let tensors = Tensor::read_safetensors(dir.join("reference.safetensors")).unwrap().into_iter().collect();
        Self { name: name.to_owned(), model_dir: dir.join(&case.model), case, tensors }
    }

    /// Every committed fixture that has recorded latents.
    pub(crate) fn all() -> Vec<Self> {
        let mut names: Vec<String> = std::fs::read_dir(fixtures())
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().join("case.json").exists())
            // Those that only hold prompts belong to the tests of the text encoders.
            .filter(|entry| !entry.file_name().to_string_lossy().starts_with("text"))
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names.iter().map(|name| Self::open(name)).filter(|fixture| fixture.has("latents")).collect()
    }

    /// What the reference recorded under this name, as fp32.
    pub(crate) fn tensor(&self, name: &str) -> Tensor {
        self.tensors.get(name).unwrap_or_else(|| panic!("no `{name}` in {}", self.name)).to_kind(Kind::Float)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    pub(crate) fn config(&self) -> ModelConfig {
        ModelConfig::read(&self.model_dir).unwrap()
    }

    /// One network of the folder on the CPU.
    pub(crate) fn network<N>(&self, component: &str, kind: Kind, build: impl Fn(&Loader) -> hunyuan::Result<N>) -> N {
        let weights = Weights::open(&self.model_dir.join(component)).unwrap();
        weights::load(&weights, Device::Cpu, kind, build).unwrap()
    }

    pub(crate) fn dtype(&self) -> Dtype {
        self.case.dtype.parse().unwrap()
    }

    /// An engine on the CPU without text encoders in memory, in the dtype of the case; whole frames.
    pub(crate) fn engine(&self) -> Engine {
        Engine::load(&self.options()).unwrap()
    }

    /// The same with the tiles of the case, if it has some.
    pub(crate) fn tiled_engine(&self) -> Option<Engine> {
        Some(Engine::load(&self.tiled_options()?).unwrap())
    }

    /// How [`Fixture::tiled_engine`] loads the model.
    pub(crate) fn tiled_options(&self) -> Option<EngineOptions> {
        let tiles = self.case.tiling?.sizes();
        Some(EngineOptions { tiling: Tiling::On, tiles, ..self.options() })
    }

    /// How [`Fixture::engine`] loads the model.
    pub(crate) fn options(&self) -> EngineOptions {
        EngineOptions {
            device: DeviceChoice::Cpu,
            dtype: Some(self.dtype()),
            text_encoders: Residency::OnDemand,
            tiling: Tiling::Off,
            // More threads only wait for each other at these sizes.
            threads: Some(1),
            ..EngineOptions::new(&self.model_dir)
        }
    }

    /// The reference's embeddings of the prompt.
    pub(crate) fn embeddings(&self) -> Embeddings {
        self.recorded("prompt_embeds", "pooled_prompt_embeds")
    }

    fn recorded(&self, prompt: &str, pooled: &str) -> Embeddings {
        Embeddings::new([(PROMPT, self.tensor(prompt)), (POOLED, self.tensor(pooled))]).unwrap()
    }

    /// The case as a request, with the reference's embeddings and noise.
    pub(crate) fn request(&self) -> DenoiseRequest {
        let case = &self.case;
        let mut request = DenoiseRequest::new(Family::V1.defaults(), self.embeddings(), case.seed);
        (request.width, request.height, request.frames) = (case.width, case.height, case.frames);
        (request.steps, request.guidance) = (case.steps, case.guidance);
        (request.flow_shift, request.flow_reverse) = (case.flow_shift, case.flow_reverse);
        if self.has("negative_prompt_embeds") {
            let negative = self.recorded("negative_prompt_embeds", "negative_pooled_prompt_embeds");
            request.negative = Some((negative, case.true_cfg_scale));
        }
        request
    }
}

/// The small request that the tests of running share: few tokens, `steps` steps.
pub(crate) fn small(fixture: &Fixture, steps: usize, seed: u64) -> DenoiseRequest {
    let mut request = DenoiseRequest::new(Family::V1.defaults(), fixture.embeddings(), seed);
    (request.width, request.height, request.frames, request.steps) = (32, 48, 5, steps);
    request
}

/// Goes on after every step.
pub(crate) fn go_on(_: &StepEnd) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

pub(crate) fn denoise(engine: &Engine, request: &DenoiseRequest) -> Denoised {
    engine.denoise(request, None, &Control::new(), &mut go_on).unwrap()
}

pub(crate) fn decode(engine: &Engine, latents: &Latents) -> Frames {
    engine.decode(latents, &Control::new(), &mut |_, _| {}).unwrap()
}

/// A run's checkpoints after each step, as bytes, and its latents.
pub(crate) fn recorded(engine: &Engine, request: &DenoiseRequest) -> (Vec<Vec<u8>>, Denoised) {
    let mut checkpoints = Vec::new();
    let done = engine
        .denoise(request, None, &Control::new(), &mut |end| {
            checkpoints.push(end.checkpoint().to_bytes().unwrap());
            ControlFlow::Continue(())
        })
        .unwrap();
    (checkpoints, done)
}

/// The same embeddings with this part of the prompt's states along one axis.
pub(crate) fn narrowed(embeddings: &Embeddings, axis: i64, start: i64, length: i64) -> Embeddings {
    let prompt = embeddings.get(PROMPT).unwrap().narrow(axis, start, length).contiguous();
    Embeddings::new([(PROMPT, prompt), (POOLED, embeddings.get(POOLED).unwrap().shallow_clone())]).unwrap()
}

/// Largest absolute difference.
pub(crate) fn distance(left: &Tensor, right: &Tensor) -> f64 {
    assert_eq!(left.size(), right.size());
    let difference = (left.to_kind(Kind::Float) - right.to_kind(Kind::Float)).abs().max().double_value(&[]);
    assert!(difference.is_finite());
    difference
}

/// Peak signal to noise ratio of values in 0..1, in dB.
pub(crate) fn psnr(left: &Tensor, right: &Tensor) -> f64 {
    assert_eq!(left.size(), right.size());
    let difference = left.to_kind(Kind::Double) - right.to_kind(Kind::Double);
    -10.0 * difference.square().mean(Kind::Double).double_value(&[]).log10()
}
