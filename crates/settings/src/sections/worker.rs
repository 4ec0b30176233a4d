//! The worker: model, device, lease, checkpoints, stop.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;

/// Whether the text encoders stay in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EncoderResidence {
    /// Always there: a miss costs only the encoding.
    Resident,
    /// Loaded for a miss and dropped again: a hit needs no memory for them.
    OnDemand,
}

/// `[worker]` of `configuration/base.toml`, which explains every key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerSettings {
    /// The model folder.
    pub model_dir: PathBuf,
    /// A name for people; empty for host and process.
    pub name: String,
    /// Port of `/metrics` and the probes; 0 for any.
    pub metrics_port: u16,
    /// Address of that port.
    pub metrics_bind: IpAddr,
    /// `auto`, `cpu` or `cuda:N`.
    pub device: String,
    /// Threads of the model on a CPU; 0 for all cores.
    pub threads: u32,
    /// Memory for the model, bytes; 0 for all.
    pub memory_max_bytes: u64,
    /// Whether the text encoders stay in memory.
    pub encoders: EncoderResidence,
    /// Life of a claim without renewal, seconds.
    pub lease_s: u64,
    /// Pause between renewals, seconds.
    pub heartbeat_s: u64,
    /// Times the expected block time before the heart stops.
    pub stall_factor: f64,
    /// But never sooner, seconds.
    pub stall_min_s: u64,
    /// Pause between progress messages, milliseconds.
    pub progress_ms: u64,
    /// Work that may be lost, seconds; 0 stores no checkpoint.
    pub checkpoint_every_s: u64,
    /// Pause between questions for work without RabbitMQ, milliseconds.
    pub poll_ms: u64,
    /// Time to hand the job back, seconds.
    pub drain_s: u64,
    /// The program that writes MP4.
    pub ffmpeg: PathBuf,
    /// Quality of the MP4; smaller is better.
    pub video_crf: u8,
    /// Folder for files in the making; empty for the system's.
    pub scratch_dir: PathBuf,
}
