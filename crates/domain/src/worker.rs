//! What a worker reports about itself when it registers.

use serde::{Deserialize, Serialize};

use crate::ids::WorkerId;
use crate::pool::PoolId;

/// What the bytes of a worker's videos depend on, besides the job. Two workers with equal identities render a job to the same
/// bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WorkerIdentity {
    /// Fingerprint of the model's weights.
    pub model: String,
    /// Version of the worker and of libtorch.
    pub build: String,
    /// The scope within which determinism is promised.
    pub device_class: String,
    /// Threads that the model computes with.
    pub threads: u32,
    /// Number formats of transformer, text encoders and video decoder.
    pub formats: String,
    /// The attention kernel in use; absent on a CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention: Option<String>,
}

impl WorkerIdentity {
    /// A hash of all fields, for comparisons in SQL.
    #[must_use]
    pub fn key(&self) -> String {
        let Self { model, build, device_class, threads, formats, attention } = self;
        let text = format!("{model:?} {build:?} {device_class:?} {threads} {formats:?} {attention:?}");
        blake3::hash(text.as_bytes()).to_hex()[..32].to_owned()
    }
}

/// A worker as the fleet knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// Id of this run of the process.
    pub id: WorkerId,
    /// A display name: host and process by default.
    pub name: String,
    /// Its pool, and thereby its ready queue.
    pub pool: PoolId,
    /// The model it holds.
    pub model_id: String,
    /// Fingerprint of that model's weights; must equal the one registered for the model.
    pub model_fingerprint: String,
    /// `cpu`, or the GPU's name.
    pub device: String,
    /// The scope within which determinism is promised: `cpu-avx512`, `cuda-sm90`.
    pub device_class: String,
    /// Version of the worker and of libtorch.
    pub build: String,
    /// Threads that the model computes with; part of the determinism tuple.
    pub threads: u32,
    /// The attention kernel in use: `cudnn`, `flash`, `efficient` or `math`; none on a CPU.
    #[serde(default)]
    pub attention: Option<String>,
    /// Usable device memory, bytes.
    pub memory_bytes: u64,
    /// Jobs that it renders at once. Always 1 today; a field so that batching needs no migration.
    pub slots: u32,
    /// Number formats of transformer, text encoders and video decoder, such as `bf16/f16/f16`.
    #[serde(default)]
    pub formats: String,
    /// Price of an hour of all its devices together, US dollars.
    #[serde(default)]
    pub gpu_hour_usd: f64,
    /// Most jobs that it renders together; 1 for one after the other.
    #[serde(default = "one")]
    pub batch_max: u32,
    /// Most video tokens of the jobs that it renders together.
    #[serde(default)]
    pub batch_tokens: u64,
    /// Devices that compute each of its videos together.
    #[serde(default = "one")]
    pub devices: u32,
}

fn one() -> u32 {
    1
}

impl WorkerInfo {
    /// What its videos depend on.
    #[must_use]
    pub fn identity(&self) -> WorkerIdentity {
        WorkerIdentity {
            model: self.model_fingerprint.clone(),
            build: self.build.clone(),
            device_class: self.device_class.clone(),
            threads: self.threads,
            formats: self.formats.clone(),
            attention: self.attention.clone(),
        }
    }
}
