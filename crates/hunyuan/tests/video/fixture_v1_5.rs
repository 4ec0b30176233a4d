//! Fixtures of HunyuanVideo 1.5: what diffusers made of small checkpoints, and the same requests for the engine.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its fixture has nothing to say")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hunyuan::v1_5::text::{GLYPH, PROMPT};
use hunyuan::{
    DenoiseRequest, DeviceChoice, Embeddings, Engine, EngineOptions, Family, Residency, Tiling,
    runtime::tiling::TileSizes,
};
use serde::Deserialize;
use tch::{Kind, Tensor};

/// What the reference ran: a video, or prompts alone.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(crate) struct Case {
    pub(crate) model: String,
    pub(crate) prompt: String,
    pub(crate) negative_prompt: Option<String>,
    pub(crate) resolved_guidance_scale: f64,
    pub(crate) width: i64,
    pub(crate) height: i64,
    pub(crate) frames: i64,
    pub(crate) steps: usize,
    pub(crate) seed: u64,
    pub(crate) dtype: String,
    pub(crate) tiling: Option<Tiles>,
    pub(crate) prompts: BTreeMap<String, String>,
    /// Scale and step of sizes, where a picture decides the size.
    pub(crate) target_size: i64,
    pub(crate) spatial: i64,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            model: String::new(),
            prompt: String::new(),
            negative_prompt: None,
            resolved_guidance_scale: 1.0,
            width: 48,
            height: 32,
            frames: 5,
            steps: 2,
            seed: 0,
            dtype: "f32".to_owned(),
            tiling: None,
            prompts: BTreeMap::new(),
            target_size: 0,
            spatial: 0,
        }
    }
}

/// Pixels of a square tile; a quarter of it overlaps. Absent for the reference's own size.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct Tiles {
    tile_sample_min_height: Option<i64>,
}

/// A model folder with what the reference computed from it.
pub(crate) struct Fixture {
    pub(crate) name: String,
    pub(crate) model_dir: PathBuf,
    pub(crate) case: Case,
    pub(crate) tensors: BTreeMap<String, Tensor>,
}

impl Fixture {
    /// The fixture of this name among those of `group`.
    pub(crate) fn open(group: &str, name: &str) -> Self {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(group).join(name);
        let case: Case = serde_json::from_str(&std::fs::read_to_string(dir.join("case.json")).unwrap()).unwrap();
        let tensors = Tensor::read_safetensors(dir.join("reference.safetensors")).unwrap().into_iter().collect();
        Self { name: name.to_owned(), model_dir: dir.join(&case.model), case, tensors }
    }

    /// Every fixture of `group`.
    pub(crate) fn all(group: &str) -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(group);
        let mut names: Vec<String> = std::fs::read_dir(root)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().join("case.json").exists())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names.iter().map(|name| Self::open(group, name)).collect()
    }

    pub(crate) fn tensor(&self, name: &str) -> Tensor {
        self.tensors.get(name).unwrap_or_else(|| panic!("no `{name}` in {}", self.name)).to_kind(Kind::Float)
    }

    /// The reference's embeddings whose names begin with `prefix`.
    pub(crate) fn embeddings(&self, prefix: &str) -> Embeddings {
        let named = |name: &'static str| {
            self.tensors.get(&format!("{prefix}{name}")).map(|tensor| (name, tensor.to_kind(Kind::Float)))
        };
        Embeddings::new([PROMPT, GLYPH].into_iter().filter_map(named)).unwrap()
    }

    pub(crate) fn options(&self) -> EngineOptions {
        EngineOptions {
            device: DeviceChoice::Cpu,
            dtype: Some(self.case.dtype.parse().unwrap()),
            tiling: Tiling::Off,
            threads: Some(1),
            text_encoders: Residency::OnDemand,
            ..EngineOptions::new(&self.model_dir)
        }
    }

    pub(crate) fn engine(&self) -> Engine {
        Engine::load(&self.options()).unwrap()
    }

    pub(crate) fn tiled_engine(&self) -> Option<Engine> {
        let default = TileSizes::default();
        let tiles = self.case.tiling?.tile_sample_min_height.map_or(default, |side| TileSizes {
            height: side,
            width: side,
            stride_height: side / 4 * 3,
            stride_width: side / 4 * 3,
            ..default
        });
        Some(Engine::load(&EngineOptions { tiling: Tiling::On, tiles, ..self.options() }).unwrap())
    }

    pub(crate) fn request(&self) -> DenoiseRequest {
        let case = &self.case;
        let mut request = DenoiseRequest::new(Family::V1_5.defaults(), self.embeddings(""), case.seed);
        (request.width, request.height, request.frames, request.steps) =
            (case.width, case.height, case.frames, case.steps);
        if case.resolved_guidance_scale > 1.0 {
            request.negative = Some((self.embeddings("negative_"), case.resolved_guidance_scale));
        }
        request
    }
}
