//! What a worker reports about itself when it registers.

use serde::{Deserialize, Serialize};

use crate::ids::WorkerId;
use crate::pool::PoolId;

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
}
