//! A run's state at a step boundary, as bytes that another process can resume from bit for bit.
//!
//! The rule: a checkpoint holds everything that the rest of the run depends on (latents, step, embeddings, step-cache state)
//! and the [`Identity`] of the run. Damaged bytes, another version of the format and a state of another run are refused with
//! [`Error::Resume`]; the job then starts from step 0.
//!
//! Layout: 8 bytes of magic with the version, 32 bytes of blake3 over the rest, then a safetensors file whose metadata
//! has one entry, JSON.

use std::collections::{BTreeMap, HashMap};

use safetensors::{SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::runtime::{
    adapters::ActiveAdapters,
    embeddings::Embeddings,
    error::{Error, Result},
    host::{self, Element, HostTensor},
    step_cache::StepCacheState,
};

/// What every version begins with; two digits of the version follow.
const NAME: &[u8; 6] = b"HYVCKP";
/// Version 1 held exactly two tensors of embeddings; version 2 holds named ones.
const VERSION: &[u8; 2] = b"02";
const CHECKSUM_BYTES: usize = 32;
const METADATA_KEY: &str = "run";

/// What determines a video's bits: a state may only be resumed by a run with an equal one.
///
/// Numbers that are compared for equality are held as the bits of their floats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Model family.
    pub family: String,
    /// Seed, or hash of the latents that were given instead of one.
    pub noise: String,
    /// Fingerprint of the prompt's embeddings.
    pub embeddings: String,
    /// Fingerprint of the negative prompt's embeddings and bits of its scale, if true guidance is on.
    pub negative: Option<(String, u64)>,
    /// Fingerprint of the transformer's weights and configuration.
    pub model: String,
    /// Version of this crate and of libtorch.
    pub build: String,
    /// See [`crate::runtime::device::class`].
    pub device_class: String,
    /// Threads of libtorch.
    pub threads: usize,
    /// Number format of the weights.
    pub dtype: String,
    /// Width, height in pixels, and frames.
    pub size: [i64; 3],
    /// Steps in all.
    pub steps: usize,
    /// Bits of the embedded guidance.
    pub guidance: u64,
    /// Bits of the schedule's shift.
    pub flow_shift: u64,
    /// Direction of the schedule.
    pub flow_reverse: bool,
    /// The step cache's method and numbers, as JSON.
    pub step_cache: String,
    /// The draft that the run continues with another number of steps, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft: Option<DraftIdentity>,
    /// Fingerprints of the adapters and the bits of their strengths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adapters: ActiveAdapters,
    /// Whether the positions in time are stretched for a long video.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub riflex: bool,
    /// SHA-256 of the picture that the video begins from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The first part at a lower resolution, if the run has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progressive: Option<ProgressiveIdentity>,
}

/// A run's first part at a lower resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgressiveIdentity {
    /// Width and height in pixels.
    pub size: [i64; 2],
    /// Its steps.
    pub steps: usize,
    /// Bits of its schedule's shift.
    pub shift: u64,
}

/// What a continued run took over from its draft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DraftIdentity {
    /// Steps of the draft's schedule.
    pub steps: usize,
    /// How many of them were taken.
    pub after: usize,
    /// The draft's step cache, as JSON.
    pub step_cache: String,
    /// Steps that the draft itself would have taken at its lower resolution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lower_steps: Option<usize>,
}

impl Identity {
    /// The identity of the draft that this run continues; none for other runs.
    #[must_use]
    pub(crate) fn of_draft(&self) -> Option<Self> {
        let DraftIdentity { steps, step_cache, lower_steps, .. } = self.draft.clone()?;
        let progressive =
            self.progressive.map(|one| ProgressiveIdentity { steps: lower_steps.unwrap_or(one.steps), ..one });
        Some(Self { steps, step_cache, draft: None, progressive, ..self.clone() })
    }

    /// The first difference from another run, in words.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<String> {
        let fields = |identity: &Self| match serde_json::to_value(identity) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => serde_json::Map::new(),
        };
        let (mine, theirs) = (fields(self), fields(other));
        let value =
            |fields: &serde_json::Map<String, serde_json::Value>, name| fields.get(name).cloned().unwrap_or_default();
        // A field at its default is left out, on either side.
        let name = mine
            .keys()
            .chain(theirs.keys())
            .find(|name| value(&mine, name.as_str()) != value(&theirs, name.as_str()))?;
        let (here, there) = (value(&mine, name.as_str()), value(&theirs, name.as_str()));
        Some(format!("{name} is {here}, the saved run has {there}"))
    }
}

/// See the module. Tensors share memory with the run until [`Checkpoint::to_bytes`].
#[derive(Debug)]
pub struct Checkpoint {
    /// What the state belongs to.
    pub identity: Identity,
    /// Steps done; equal to the identity's steps after the last one.
    pub step: usize,
    /// `[1, channels, frames, height, width]` fp32.
    pub latents: Tensor,
    /// The last velocity, from which the next step's change is measured.
    pub velocity: Option<Tensor>,
    /// The prompt's embeddings.
    pub embeddings: Embeddings,
    /// The negative prompt's embeddings, if true guidance is on.
    pub negative: Option<Embeddings>,
    /// State of the step cache, if one is on.
    pub step_cache: Option<StepCacheState>,
    /// Steps computed so far.
    pub computed: usize,
    /// Steps skipped so far.
    pub skipped: usize,
    /// Of these, computed and skipped at the lower resolution.
    pub lower: [usize; 2],
    /// See [`RunCounts::companions`](crate::RunCounts::companions).
    pub companions: usize,
    /// Relative change of the velocity at each step after the first.
    pub velocity_change: Vec<f64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    identity: Identity,
    step: usize,
    computed: usize,
    skipped: usize,
    #[serde(default, skip_serializing_if = "is_none")]
    lower: [usize; 2],
    #[serde(default, skip_serializing_if = "is_zero")]
    companions: usize,
    /// Bits of each value, as JSON numbers do not keep floats exactly.
    velocity_change: Vec<u64>,
    /// Names of the prompt's embeddings.
    embeddings: Vec<String>,
    /// Names of the negative prompt's embeddings.
    negative: Option<Vec<String>>,
    step_cache: Option<BTreeMap<String, u64>>,
}

impl Checkpoint {
    /// The state as bytes.
    ///
    /// # Errors
    /// libtorch, when a tensor cannot be copied to the host.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut tensors = vec![("latents".to_owned(), HostTensor::of(&self.latents)?)];
        let mut add = |name: String, tensor: &Tensor| -> Result<()> {
            tensors.push((name, HostTensor::of(tensor)?));
            Ok(())
        };
        if let Some(velocity) = &self.velocity {
            add("velocity".to_owned(), velocity)?;
        }
        for (prefix, embeddings) in [("embeddings", Some(&self.embeddings)), ("negative", self.negative.as_ref())] {
            for (name, tensor) in embeddings.iter().flat_map(|embeddings| embeddings.tensors()) {
                add(format!("{prefix}.{name}"), tensor)?;
            }
        }
        for (name, tensor) in self.step_cache.iter().flat_map(|state| &state.tensors) {
            add(format!("cache.{name}"), tensor)?;
        }
        let metadata = Metadata {
            identity: self.identity.clone(),
            step: self.step,
            computed: self.computed,
            skipped: self.skipped,
            lower: self.lower,
            companions: self.companions,
            velocity_change: self.velocity_change.iter().map(|value| value.to_bits()).collect(),
            embeddings: names(&self.embeddings),
            negative: self.negative.as_ref().map(names),
            step_cache: self
                .step_cache
                .as_ref()
                .map(|state| state.numbers.iter().map(|(name, value)| (name.clone(), value.to_bits())).collect()),
        };
        let json = serde_json::to_string(&metadata).map_err(unwritable)?;
        let views =
            tensors.iter().map(|(name, tensor)| Ok((name.clone(), view(tensor)?))).collect::<Result<Vec<_>>>()?;
        let body = safetensors::serialize(views, Some(HashMap::from([(METADATA_KEY.to_owned(), json)])))
            .map_err(unwritable)?;
        let mut bytes = Vec::with_capacity(NAME.len() + VERSION.len() + CHECKSUM_BYTES + body.len());
        bytes.extend_from_slice(NAME);
        bytes.extend_from_slice(VERSION);
        bytes.extend_from_slice(blake3::hash(&body).as_bytes());
        bytes.extend_from_slice(&body);
        Ok(bytes)
    }

    /// Reads a state. All tensors are on the host.
    ///
    /// # Errors
    /// [`Error::Resume`] for anything that [`Checkpoint::to_bytes`] of this version did not write.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let rest = after_version(bytes)?;
        let (checksum, body) =
            rest.split_at_checked(CHECKSUM_BYTES).ok_or_else(|| Error::resume("cut off in its checksum"))?;
        if blake3::hash(body).as_bytes().as_slice() != checksum {
            return Err(Error::resume("its content does not match its checksum"));
        }
        let (_, header) = SafeTensors::read_metadata(body).map_err(unreadable)?;
        let json = header.metadata().as_ref().and_then(|entries| entries.get(METADATA_KEY));
        let json = json.ok_or_else(|| Error::resume("without its metadata"))?;
        let metadata: Metadata = serde_json::from_str(json).map_err(unreadable)?;
        let stored = SafeTensors::deserialize(body).map_err(unreadable)?;
        let embeddings = |prefix: &str, names: &[String]| -> Result<Embeddings> {
            let one = |name: &String| Ok((name.clone(), read(&stored, &format!("{prefix}.{name}"))?));
            Embeddings::new(names.iter().map(one).collect::<Result<Vec<_>>>()?).map_err(unreadable)
        };
        let step_cache = match &metadata.step_cache {
            None => None,
            Some(numbers) => {
                let numbers = numbers.iter().map(|(name, &bits)| (name.clone(), f64::from_bits(bits))).collect();
                let mut state = StepCacheState { numbers, ..StepCacheState::default() };
                for name in stored.names() {
                    if let Some(name) = name.strip_prefix("cache.") {
                        state.tensors.insert(name.to_owned(), read(&stored, &format!("cache.{name}"))?);
                    }
                }
                Some(state)
            }
        };
        Ok(Self {
            latents: read(&stored, "latents")?,
            velocity: if stored.tensor("velocity").is_ok() { Some(read(&stored, "velocity")?) } else { None },
            embeddings: embeddings("embeddings", &metadata.embeddings)?,
            negative: metadata.negative.as_deref().map(|names| embeddings("negative", names)).transpose()?,
            identity: metadata.identity,
            step: metadata.step,
            step_cache,
            computed: metadata.computed,
            skipped: metadata.skipped,
            lower: metadata.lower,
            companions: metadata.companions,
            velocity_change: metadata.velocity_change.into_iter().map(f64::from_bits).collect(),
        })
    }
}

/// Whether a run took no step at a lower resolution; its checkpoint then has the form of earlier releases.
fn is_none(lower: &[usize; 2]) -> bool {
    *lower == [0, 0]
}

/// Whether a run shared no forward pass; likewise.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_zero(companions: &usize) -> bool {
    *companions == 0
}

fn unreadable(error: impl std::fmt::Display) -> Error {
    Error::resume(error.to_string())
}

fn unwritable(error: impl std::fmt::Display) -> Error {
    Error::Libtorch { op: "checkpoint".to_owned(), reason: error.to_string() }
}

/// What follows the name and the version.
fn after_version(bytes: &[u8]) -> Result<&[u8]> {
    let rest = bytes.strip_prefix(NAME).ok_or_else(|| Error::resume("not a checkpoint"))?;
    let (version, rest) =
        rest.split_at_checked(VERSION.len()).ok_or_else(|| Error::resume("cut off in its version"))?;
    if version != VERSION {
        let [theirs, ours] = [version, VERSION].map(String::from_utf8_lossy);
        return Err(Error::resume(format!("its format is version {theirs}, and this worker reads version {ours}")));
    }
    Ok(rest)
}

fn names(embeddings: &Embeddings) -> Vec<String> {
    embeddings.tensors().map(|(name, _)| name.to_owned()).collect()
}

fn view(tensor: &HostTensor) -> Result<TensorView<'_>> {
    TensorView::new(tensor.element.stored(), tensor.shape.clone(), &tensor.bytes).map_err(unwritable)
}

fn read(stored: &SafeTensors, name: &str) -> Result<Tensor> {
    let view = stored.tensor(name).map_err(unreadable)?;
    let element = Element::of_stored(view.dtype())
        .ok_or_else(|| Error::resume(format!("`{name}` is stored as {:?}", view.dtype())))?;
    host::to_tensor(element, view.shape(), view.data()).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    fn embeddings(value: f64) -> Embeddings {
        Embeddings::new([
            ("prompt", Tensor::full([1, 3, 4], value, (Kind::Half, Device::Cpu))),
            ("pooled", Tensor::full([1, 4], -value, (Kind::BFloat16, Device::Cpu))),
            ("mask", Tensor::from_slice(&[true, false])),
        ])
        .unwrap()
    }

    fn sample() -> Checkpoint {
        let mut state = StepCacheState::default();
        // A number that a decimal text would not keep, and one that JSON cannot hold at all.
        state.numbers.insert("k".to_owned(), 0.1 + 0.2);
        state.numbers.insert("error".to_owned(), f64::INFINITY);
        state.tensors.insert("previous".to_owned(), Tensor::from_slice(&[1.5_f32, f32::MIN_POSITIVE]));
        Checkpoint {
            identity: Identity {
                family: "v1".to_owned(),
                noise: "seed 42".to_owned(),
                embeddings: "print-0.5".to_owned(),
                negative: Some(("print-2".to_owned(), 1.5_f64.to_bits())),
                model: "m".to_owned(),
                build: "b".to_owned(),
                device_class: "cpu".to_owned(),
                threads: 2,
                dtype: "f32".to_owned(),
                size: [32, 16, 5],
                steps: 4,
                guidance: 6.0_f64.to_bits(),
                flow_shift: 7.0_f64.to_bits(),
                flow_reverse: true,
                step_cache: "\"off\"".to_owned(),
                draft: None,
                adapters: Vec::new(),
                riflex: false,
                image: None,
                progressive: None,
            },
            step: 2,
            latents: Tensor::arange(24, (Kind::Float, Device::Cpu)).view([1, 2, 3, 2, 2]),
            velocity: Some(Tensor::from_slice(&[0.25_f32])),
            embeddings: embeddings(0.5),
            negative: Some(embeddings(2.0)),
            step_cache: Some(state),
            computed: 2,
            skipped: 0,
            lower: [1, 0],
            companions: 3,
            velocity_change: vec![0.1 + 0.7],
        }
    }

    #[test]
    fn bytes_bring_everything_back() {
        let saved = sample();
        let bytes = saved.to_bytes().unwrap();
        let read = Checkpoint::from_bytes(&bytes).unwrap();
        assert_eq!(read.identity, saved.identity);
        assert_eq!((read.step, read.computed, read.skipped, read.lower), (2, 2, 0, [1, 0]));
        assert_eq!(read.velocity_change, saved.velocity_change);
        assert!(read.latents.equal(&saved.latents));
        let (negative, wanted) = (read.negative.as_ref().unwrap(), saved.negative.as_ref().unwrap());
        for (name, tensor) in wanted.tensors() {
            assert!(negative.get(name).unwrap().equal(tensor), "{name}");
        }
        assert_eq!(negative.get("pooled").unwrap().kind(), Kind::BFloat16);
        assert_eq!(negative.fingerprint(), wanted.fingerprint());
        let (state, wanted) = (read.step_cache.as_ref().unwrap(), saved.step_cache.as_ref().unwrap());
        assert_eq!(state.numbers, wanted.numbers);
        assert!(state.tensors["previous"].equal(&wanted.tensors["previous"]));
        assert_eq!(read.to_bytes().unwrap(), bytes, "a second trip changes nothing");
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let bytes = sample().to_bytes().unwrap();
        for position in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[position] ^= 0x10;
            assert!(matches!(Checkpoint::from_bytes(&broken), Err(Error::Resume { .. })), "byte {position}");
        }
        for length in 0..bytes.len() {
            assert!(matches!(Checkpoint::from_bytes(&bytes[..length]), Err(Error::Resume { .. })), "cut at {length}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(matches!(Checkpoint::from_bytes(&longer), Err(Error::Resume { .. })));
    }

    #[test]
    fn another_version_says_so() {
        let mut bytes = sample().to_bytes().unwrap();
        bytes[7] = b'1';
        let error = Checkpoint::from_bytes(&bytes).unwrap_err().to_string();
        assert!(error.contains("version 01") && error.contains("version 02"), "{error}");
    }

    #[test]
    fn a_difference_is_named() {
        let saved = sample().identity;
        let mut other = saved.clone();
        assert_eq!(saved.difference(&other), None);
        let with = Identity { adapters: vec![("aa".to_owned(), 1)], ..saved.clone() };
        for difference in [saved.difference(&with), with.difference(&saved)] {
            assert!(difference.is_some_and(|text| text.contains("adapters") && text.contains("null")), "either way");
        }
        other.threads = 8;
        let difference = saved.difference(&other).unwrap();
        assert!(difference.contains("threads is 2") && difference.contains('8'), "{difference}");
    }
}
