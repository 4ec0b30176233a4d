//! The worker: model, device, lease, checkpoints, stop.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;

/// Whether the text encoders stay in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EncoderResidence {
    /// Always in memory: a miss costs only the encoding.
    Resident,
    /// Loaded for a miss, then dropped: a hit needs no memory for them.
    OnDemand,
    /// Loaded for the first miss, then kept: the worker is ready sooner.
    FirstUse,
}

/// Which attention kernel runs on a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttentionChoice {
    /// The fastest one that computes correctly there.
    Auto,
    /// cuDNN's.
    Cudnn,
    /// FlashAttention.
    Flash,
    /// The memory-efficient one.
    Efficient,
    /// Plain matrix products.
    Math,
    /// FlashAttention 3 from `attention_library`.
    Flash3,
}

impl AttentionChoice {
    /// The kernel's name; none for [`AttentionChoice::Auto`].
    #[must_use]
    pub const fn forced(self) -> Option<&'static str> {
        match self {
            Self::Auto => None,
            Self::Cudnn => Some("cudnn"),
            Self::Flash => Some("flash"),
            Self::Efficient => Some("efficient"),
            Self::Math => Some("math"),
            Self::Flash3 => Some("flash3"),
        }
    }
}

/// Number format of a network's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DtypeChoice {
    /// What suits the device.
    Auto,
    /// 32 bits.
    F32,
    /// 16 bits with the range of 32.
    Bf16,
    /// 16 bits with more precision and less range.
    F16,
}

/// How large matrices are kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WeightStorage {
    /// In the format that the model computes with.
    Model,
    /// In 8 bits with a scale per layer.
    Fp8,
}

impl DtypeChoice {
    /// The format's name; none for [`DtypeChoice::Auto`].
    #[must_use]
    pub const fn chosen(self) -> Option<&'static str> {
        match self {
            Self::Auto => None,
            Self::F32 => Some("f32"),
            Self::Bf16 => Some("bf16"),
            Self::F16 => Some("f16"),
        }
    }
}

/// `[worker]` of `configuration/base.toml`, which explains every key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerSettings {
    /// The model folder.
    pub model_dir: PathBuf,
    /// Display name; empty for host name and process id.
    pub name: String,
    /// Port of `/metrics` and the probes; 0 for any free port.
    pub metrics_port: u16,
    /// Address of that port.
    pub metrics_bind: IpAddr,
    /// `auto`, `cpu` or `cuda:N`.
    pub device: String,
    /// Devices that compute each video together, with commas between them; empty for `device` alone.
    pub devices: String,
    /// Most jobs that are rendered together; 0 for the device's rule.
    pub batch_max: u32,
    /// Most video tokens of the jobs that are rendered together.
    pub batch_tokens: u64,
    /// `auto`, `cudnn`, `flash`, `flash3`, `efficient` or `math`.
    pub attention: AttentionChoice,
    /// The user's build of FlashAttention 3; empty for none.
    pub attention_library: PathBuf,
    /// Whether a GPU runs only kernels whose results do not vary.
    pub deterministic: bool,
    /// Number format of the transformer: `auto`, `f32`, `bf16` or `f16`.
    pub transformer_dtype: DtypeChoice,
    /// How the matrices of the transformer's blocks are kept in memory.
    pub transformer_storage: WeightStorage,
    /// Number format of the text encoders.
    pub encoder_dtype: DtypeChoice,
    /// Number format of the video decoder.
    pub decoder_dtype: DtypeChoice,
    /// Threads of the model on a CPU; 0 for all cores.
    pub threads: u32,
    /// Memory for the model, bytes; 0 for all memory of the device.
    pub memory_max_bytes: u64,
    /// Whether the text encoders stay in memory.
    pub encoders: EncoderResidence,
    /// Adapters that are kept on this machine, bytes.
    pub lora_cache_bytes: u64,
    /// How long a claim lasts without renewal, seconds.
    pub lease_s: u64,
    /// Pause between renewals, seconds.
    pub heartbeat_s: u64,
    /// Multiple of the expected time of a block after which the lease is not renewed any more.
    pub stall_factor: f64,
    /// Shortest such time, seconds.
    pub stall_min_s: u64,
    /// Multiple of the estimate after which a run is stopped; 0 sets no limit.
    pub run_limit_factor: f64,
    /// Shortest such time, seconds.
    pub run_limit_min_s: u64,
    /// Longest time without progress of ffmpeg, seconds.
    pub ffmpeg_stall_s: u64,
    /// Shortest time between two progress messages, milliseconds.
    pub progress_ms: u64,
    /// Shortest time between two previews of a run, milliseconds; 0 makes none.
    pub preview_ms: u64,
    /// Most work that may be lost, seconds; 0 stores no checkpoint.
    pub checkpoint_every_s: u64,
    /// Pause between an idle worker's queries for work without RabbitMQ, milliseconds.
    pub poll_ms: u64,
    /// How long the worker may take to hand back its job, seconds.
    pub drain_s: u64,
    /// The program that writes MP4.
    pub ffmpeg: PathBuf,
    /// Quality of the MP4 (x264's CRF); smaller is better.
    pub video_crf: u8,
    /// Folder for temporary files; empty for the system's.
    pub scratch_dir: PathBuf,
    /// Where hashes of weight files are remembered; empty for the model folder.
    pub hashes_dir: PathBuf,
    /// Finished videos that may be delivered beside the next job; 0 delivers each before the next job.
    pub deliveries_max: u32,
}
