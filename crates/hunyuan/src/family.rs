//! What a model family is: the folders that it reads, its defaults, and the networks behind [`Networks`].
//!
//! The rule: everything that differs between families is here or in the family's own folder. To add one, write its folder beside
//! `v1`, implement [`Networks`] for its networks, and add a variant to [`Family`]; what is missing then does not compile.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use tch::Device;

use crate::engine::Residency;
use crate::runtime::{
    control::Control,
    dtype::Dtype,
    embeddings::Embeddings,
    error::{Error, Result},
    json::read_json,
    request::{Defaults, DenoiseRequest, Geometry},
    run::{Denoised, Latents, OnStep, Run},
    tiling::{Progress, TileSizes},
    weights::{self, Placements, WeightSource},
};
use crate::v1;
use crate::v1::decode::Frames;

/// A model family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// HunyuanVideo 1.0.
    V1,
}

/// Which fingerprint a component's files belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fingerprint {
    /// Decides the video when the embeddings are given.
    Weights,
    /// Decides the embeddings.
    Encoders,
}

/// The files of a component that decide what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComponentFiles {
    /// All safetensors files and `config.json`.
    Network,
    /// Those of these that exist.
    Named(&'static [&'static str]),
}

/// One component: a folder of the model folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Component {
    /// The folder's name.
    pub folder: &'static str,
    /// What in it counts.
    pub files: ComponentFiles,
    /// The fingerprint that covers it; none for a component whose values a request can replace.
    pub fingerprint: Option<Fingerprint>,
}

/// The part of `model_index.json` that says which family a folder is of.
#[derive(Deserialize)]
struct ModelIndex {
    #[serde(rename = "_class_name")]
    class_name: String,
}

impl Family {
    /// All families.
    pub const ALL: [Self; 1] = [Self::V1];

    /// The family of a model folder, by the pipeline that its `model_index.json` names.
    ///
    /// # Errors
    /// A file that cannot be read, or a pipeline of no known family.
    pub fn of(model_dir: &Path) -> Result<Self> {
        let path = model_dir.join("model_index.json");
        let index: ModelIndex = read_json(&path)?;
        Self::ALL.into_iter().find(|family| family.pipeline() == index.class_name).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|family| family.pipeline()).collect();
            let reason = format!("is a `{}`; the known pipelines are {}", index.class_name, known.join(", "));
            Error::Config { path, reason }
        })
    }

    /// The name in `fleet.toml` and in checkpoints.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
        }
    }

    /// The pipeline's class in diffusers.
    fn pipeline(self) -> &'static str {
        match self {
            Self::V1 => "HunyuanVideoPipeline",
        }
    }

    /// What a request means where it says nothing.
    #[must_use]
    pub fn defaults(self) -> &'static Defaults {
        match self {
            Self::V1 => &v1::config::defaults::REQUEST,
        }
    }

    /// The components of a model folder.
    #[must_use]
    pub fn components(self) -> &'static [Component] {
        match self {
            Self::V1 => v1::COMPONENTS,
        }
    }

    /// Texts around a prompt, on which embeddings depend as they do on the encoders' files.
    fn templates(self) -> &'static [&'static str] {
        match self {
            Self::V1 => &v1::prompt::TEMPLATE,
        }
    }

    /// blake3 of everything that a fingerprint covers, hex. Needs no network in memory.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn fingerprint(self, model_dir: &Path, source: WeightSource, which: Fingerprint) -> Result<String> {
        let mut files: Vec<PathBuf> = Vec::new();
        for component in self.components().iter().filter(|component| component.fingerprint == Some(which)) {
            let dir = model_dir.join(component.folder);
            match component.files {
                ComponentFiles::Network => {
                    files.extend(source.open(&dir)?.paths().map(PathBuf::from));
                    files.push(dir.join("config.json"));
                }
                ComponentFiles::Named(names) => {
                    files.extend(names.iter().map(|name| dir.join(name)).filter(|path| path.exists()));
                }
            }
        }
        let content = weights::fingerprint(files.iter().map(PathBuf::as_path))?;
        if which == Fingerprint::Weights {
            return Ok(content);
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(content.as_bytes());
        for template in self.templates() {
            hasher.update(template.as_bytes());
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// Loads the networks of a model folder.
    pub(crate) fn load(self, plan: &LoadPlan) -> Result<Loaded> {
        match self {
            Self::V1 => v1::model::load(plan),
        }
    }
}

/// How to load the networks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoadPlan<'a> {
    pub(crate) model_dir: &'a Path,
    pub(crate) source: WeightSource,
    pub(crate) device: Device,
    /// Of the transformer.
    pub(crate) dtype: Dtype,
    pub(crate) encoder_dtype: Dtype,
    pub(crate) decoder_dtype: Dtype,
    pub(crate) text_encoders: Residency,
}

/// Networks, and what their configurations say of them.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) networks: Box<dyn Networks>,
    /// Parameters of the transformer.
    pub(crate) parameters: i64,
    /// Bytes of weights that stay in memory.
    pub(crate) resident_bytes: u64,
    pub(crate) geometry: Geometry,
    /// The checkpoint's own shift of the schedule.
    pub(crate) flow_shift: f64,
    /// Time of the noisiest level, as the transformer counts it.
    pub(crate) train_timesteps: i64,
    pub(crate) attention: AttentionShape,
}

/// The attention of a transformer's blocks, as its kernels see it.
#[derive(Debug)]
pub(crate) struct AttentionShape {
    /// Number and width of the heads.
    pub(crate) heads: [i64; 2],
    /// Elements from one token to the next in the buffers that hold queries, keys and values: one per kind of block.
    pub(crate) row_widths: Vec<i64>,
}

/// Videos of one size that are decoded together.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) videos: &'a [&'a Latents],
    pub(crate) tiles: &'a TileSizes,
    /// Whether tiles in height and width are allowed.
    pub(crate) spatial: bool,
}

/// The loaded networks of a family: its stages, each written out in the family's folder.
pub(crate) trait Networks: std::fmt::Debug + Send {
    /// Refuses a request whose embeddings are not this family's; returns its number of text tokens.
    ///
    /// # Errors
    /// [`Error::Input`] naming the field.
    fn text_tokens(&self, request: &DenoiseRequest) -> Result<i64>;

    /// Embeds prompts, each trimmed to its true length.
    ///
    /// # Errors
    /// [`Error::Cancelled`] between layers; those of loading when the encoders are not resident; libtorch.
    fn encode(&self, prompts: &[&str], control: &Control) -> Result<Vec<Embeddings>>;

    /// Takes all runs, which have latents of one shape, to their end.
    ///
    /// # Errors
    /// [`Error::Cancelled`] between blocks, [`Error::OutOfMemory`], libtorch.
    fn denoise(&self, runs: Vec<Run>, control: &Control, on_step: OnStep) -> Result<Vec<Denoised>>;

    /// Decodes a batch; frames in the order of the videos.
    ///
    /// # Errors
    /// [`Error::Cancelled`] between blocks of a tile, [`Error::OutOfMemory`], libtorch.
    fn decode(&self, batch: &Batch, control: &Control, progress: Progress) -> Result<Vec<Frames>>;

    /// Bytes of activations that a forward pass over this many videos and tokens needs.
    fn denoise_bytes(&self, videos: i64, tokens: i64) -> u64;

    /// Bytes of activations that decoding this many frames, rows and columns at once needs.
    fn decode_bytes(&self, frames: i64, height: i64, width: i64) -> u64;

    /// Checks of [`Control`] in one forward pass of the transformer and in one tile of the decoder.
    fn checks(&self) -> (u64, u64);

    /// Where the transformer's weights came from and are now.
    fn placements(&self) -> &Placements;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/base/model")
    }

    #[test]
    fn a_folder_says_its_family_and_an_unknown_one_is_refused_with_the_known_ones() {
        assert_eq!(Family::of(&fixture()).unwrap(), Family::V1);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model_index.json"), r#"{"_class_name": "OtherPipeline"}"#).unwrap();
        let error = Family::of(folder.path()).unwrap_err().to_string();
        assert!(error.contains("OtherPipeline") && error.contains("HunyuanVideoPipeline"), "{error}");
    }

    #[test]
    fn every_component_is_a_folder_and_both_fingerprints_cover_some() {
        for family in Family::ALL {
            for component in family.components() {
                assert!(fixture().join(component.folder).is_dir(), "{}", component.folder);
            }
            for which in [Fingerprint::Weights, Fingerprint::Encoders] {
                assert!(family.components().iter().any(|component| component.fingerprint == Some(which)), "{which:?}");
            }
        }
    }
}
