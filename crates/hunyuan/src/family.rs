//! What a model family is: the folders that it reads, its defaults, and the networks behind [`crate::networks::Networks`].
//!
//! The rule: everything that differs between families is here or in the family's own folder. CONTRIBUTING.md
//! has the steps for adding one.

use std::path::{Path, PathBuf};

use formats::layout::{self, Alias};
use serde::Deserialize;

use crate::networks::{Component, ComponentFiles, Fingerprint, LoadPlan, Loaded, TAKES_NO_PICTURE};
use crate::runtime::{
    error::{Error, Result},
    json::read_json,
    request::Defaults,
    weights::{self, Hashes, WeightSource},
};
use crate::{v1, v1_5};

/// A model family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// HunyuanVideo 1.0.
    V1,
    /// HunyuanVideo 1.5, text-to-video.
    V1_5,
    /// HunyuanVideo 1.5, image-to-video.
    V1_5Image,
}

/// The part of `model_index.json` that says which family a folder is of.
#[derive(Deserialize)]
struct ModelIndex {
    #[serde(rename = "_class_name")]
    class_name: String,
}

impl Family {
    /// All families.
    pub const ALL: [Self; 3] = [Self::V1, Self::V1_5, Self::V1_5Image];

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

    /// The name in `fleet.toml` and in checkpoints; both tasks of 1.5 have the same networks.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1_5 | Self::V1_5Image => "v1_5",
        }
    }

    /// The pipeline's class in diffusers.
    fn pipeline(self) -> &'static str {
        match self {
            Self::V1 => "HunyuanVideoPipeline",
            Self::V1_5 => "HunyuanVideo15Pipeline",
            Self::V1_5Image => "HunyuanVideo15ImageToVideoPipeline",
        }
    }

    /// Whether each video begins from a picture.
    #[must_use]
    pub fn takes_picture(self) -> bool {
        self == Self::V1_5Image
    }

    /// Width and height of the video that the reference makes from a picture of this width and height.
    ///
    /// # Errors
    /// A file that cannot be read; a family that takes no picture.
    pub fn size_for_picture(self, model_dir: &Path, picture: [usize; 2]) -> Result<[i64; 2]> {
        if !self.takes_picture() {
            return Err(Error::input("image", TAKES_NO_PICTURE));
        }
        let config = v1_5::config::ModelConfig::read(model_dir, true)?;
        Ok(v1_5::sizes::nearest(config.transformer.target_size, config.geometry().spatial, picture))
    }

    /// Defaults for the fields that a request leaves out.
    #[must_use]
    pub fn defaults(self) -> &'static Defaults {
        match self {
            Self::V1 => &v1::config::defaults::REQUEST,
            Self::V1_5 | Self::V1_5Image => &v1_5::config::defaults::REQUEST,
        }
    }

    /// The same for one model folder, whose files may say more: a guidance-distilled checkpoint has no scale of guidance.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn defaults_of(self, model_dir: &Path) -> Result<Defaults> {
        Ok(match self {
            Self::V1 => *self.defaults(),
            Self::V1_5 | Self::V1_5Image => {
                Defaults { true_cfg_scale: v1_5::config::ModelConfig::guidance_scale(model_dir)?, ..*self.defaults() }
            }
        })
    }

    /// The components of a model folder.
    #[must_use]
    pub fn components(self) -> &'static [Component] {
        match self {
            Self::V1 => v1::COMPONENTS,
            Self::V1_5 => v1_5::COMPONENTS,
            Self::V1_5Image => v1_5::IMAGE_COMPONENTS,
        }
    }

    /// The transformer's layers under the names of other programs, by which adapters may name them.
    pub(crate) fn aliases(self, has: &dyn Fn(&str) -> bool) -> Vec<Alias> {
        // The table of other names is that of 1.0; adapters of other families use the checkpoint's names.
        if self == Self::V1 { layout::aliases(has) } else { Vec::new() }
    }

    /// Texts around a prompt, on which embeddings depend as they do on the encoders' files.
    fn templates(self) -> &'static [&'static str] {
        match self {
            Self::V1 => &prompts::v1::TEMPLATE,
            Self::V1_5 | Self::V1_5Image => &prompts::v1_5::TEMPLATE,
        }
    }

    /// blake3 of everything that a fingerprint covers, hex. Needs no network in memory; files whose hash is remembered are not read.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub(crate) fn fingerprint(
        self,
        model_dir: &Path,
        source: WeightSource,
        which: Fingerprint,
        hashes: &mut Hashes,
    ) -> Result<String> {
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
        let content = weights::fingerprint(files.iter().map(PathBuf::as_path), hashes)?;
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
            Self::V1_5 | Self::V1_5Image => v1_5::model::load(plan),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(family: Family) -> PathBuf {
        let folder = match family {
            Family::V1 => "base/model",
            Family::V1_5 => "v1_5/base/model",
            Family::V1_5Image => "v1_5_i2v/base/model",
        };
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder)
    }

    #[test]
    fn a_folder_says_its_family_and_an_unknown_one_is_refused_with_the_known_ones() {
        for family in Family::ALL {
            assert_eq!(Family::of(&fixture(family)).unwrap(), family);
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model_index.json"), r#"{"_class_name": "OtherPipeline"}"#).unwrap();
        let error = Family::of(folder.path()).unwrap_err().to_string();
        assert!(error.contains("OtherPipeline") && error.contains("HunyuanVideoPipeline"), "{error}");
    }

    #[test]
    fn every_component_is_a_folder_and_both_fingerprints_cover_some() {
        for family in Family::ALL {
            for component in family.components() {
                assert!(fixture(family).join(component.folder).is_dir(), "{}", component.folder);
            }
            for which in [Fingerprint::Weights, Fingerprint::Encoders] {
                assert!(family.components().iter().any(|component| component.fingerprint == Some(which)), "{which:?}");
            }
        }
    }
}
