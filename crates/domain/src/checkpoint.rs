//! Where a running job can be resumed: the row's reference to the checkpoint object.

use serde::{Deserialize, Serialize};

/// A stored checkpoint of a job. The object store holds the bytes (`hunyuan::Checkpoint`); the row holds this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointRef {
    /// Object key, `<job>/<token>/checkpoint-<step>.safetensors`.
    pub key: String,
    /// Steps done; equal to the plan's steps for the checkpoint after the last one.
    pub step: u32,
    /// blake3 of the object, hex; a mismatch drops the checkpoint, not the job.
    pub checksum: String,
    /// How often a worker has resumed from it. At the limit it is dropped, since it may be what kills the workers.
    pub resumes: u32,
}
