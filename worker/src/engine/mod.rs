//! The boundary between async code and the model: one OS thread owns the renderer; all other code sends it messages.
//!
//! Rules: a tensor never leaves the thread; async code never blocks on it; each command carries the [`Control`] that can
//! stop it; the thread is joined when the handle is dropped. The thread runs a [`Renderer`], so that the
//! fault tests can put a gated one there and drive everything around it for real. The model crate is used here, in `render`
//! and in `libtorch`; `fleet` knows only this module's types.

mod desk;
mod failures;
mod hunyuan;
mod loras;
mod manifest;
mod pictures;
mod renderer;
mod steps;
mod thread;
mod together;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cache::StoredEmbeddings;
use domain::{BatchKey, DraftSchedule, Failure, FailureAction, Geometry, ImageInput, ModelFamily, ProgressivePlan};

pub use self::desk::{Desk, Encode, Reported, Ticket};
pub use self::hunyuan::HunyuanRenderer;
pub(crate) use self::hunyuan::NOT_FINITE;
pub(crate) use self::manifest::check as check_manifest;
pub(crate) use self::thread::EngineThread;
pub use ::hunyuan::runtime::device::available_host_bytes;
pub use ::hunyuan::{AttentionBackend, Control, DeviceChoice, Dtype, PreviewFrames, Residency, Storage};

/// Longest wait for another device where no setting says otherwise.
pub(crate) const RANK_LIMIT: Duration = Duration::from_secs(60);

/// How to load a model.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Model folder.
    pub model_dir: PathBuf,
    /// Where to run.
    pub device: DeviceChoice,
    /// The devices that compute each video together with [`LoadOptions::device`], which is the first; empty for none.
    pub devices: Vec<DeviceChoice>,
    /// Longest wait for another device within a video.
    pub rank_limit: Duration,
    /// Attention kernel on a GPU; `None` for the fastest one that computes correctly there.
    pub attention: Option<AttentionBackend>,
    /// A build of FlashAttention 3 to be tried beside libtorch's kernels.
    pub attention_library: Option<PathBuf>,
    /// Number format of the transformer; `None` for what suits the device.
    pub dtype: Option<Dtype>,
    /// How the matrices of the transformer's blocks are kept in memory.
    pub storage: Storage,
    /// Number format of the text encoders; `None` for what suits the device.
    pub encoder_dtype: Option<Dtype>,
    /// Number format of the video decoder; `None` for what suits the device.
    pub decoder_dtype: Option<Dtype>,
    /// Width, height and frames of the largest video that the model folder offers.
    pub largest: Option<[i64; 3]>,
    /// CPU threads of libtorch; `None` for its own choice.
    pub threads: Option<usize>,
    /// Whether the text encoders stay in memory between jobs.
    pub text_encoders: Residency,
    /// Folder that remembers hashes of large weight files; none hashes them all.
    pub hashes_dir: Option<PathBuf>,
    /// Whether a GPU runs only kernels whose results do not vary.
    pub deterministic: bool,
    /// Device memory available to this worker, bytes.
    pub memory_bytes: u64,
    /// Folder of the interpolator's weights; `None` for a worker that does not interpolate.
    pub interpolator_dir: Option<PathBuf>,
}

impl LoadOptions {
    /// The defaults for a model folder; `memory_bytes` is the device memory available to this worker.
    #[must_use]
    pub fn new(model_dir: impl Into<PathBuf>, device: DeviceChoice, memory_bytes: u64) -> Self {
        Self {
            model_dir: model_dir.into(),
            device,
            devices: Vec::new(),
            rank_limit: RANK_LIMIT,
            attention: None,
            attention_library: None,
            dtype: None,
            storage: Storage::default(),
            encoder_dtype: None,
            decoder_dtype: None,
            largest: None,
            threads: None,
            text_encoders: Residency::Resident,
            hashes_dir: None,
            deterministic: false,
            memory_bytes,
            interpolator_dir: None,
        }
    }
}

/// What a renderer reports about itself; goes into the worker's registration and each job's record.
#[derive(Debug, Clone)]
pub struct RendererInfo {
    /// Family of the checkpoint.
    pub family: ModelFamily,
    /// Whether its videos begin from a picture, by the checkpoint's pipeline.
    pub image: ImageInput,
    /// How pixels become tokens, by the checkpoint's configuration.
    pub geometry: Geometry,
    /// Shift of the schedule, by the checkpoint's files.
    pub flow_shift: f64,
    /// Scale of classifier-free guidance, by the checkpoint's files; 1 is none.
    pub true_cfg_scale: f64,
    /// Fingerprint of what decides the video, given the embeddings.
    pub model_fingerprint: String,
    /// Fingerprint of what embeddings depend on; part of their cache key.
    pub encoder_fingerprint: String,
    /// `cpu` or the GPU's name; with several devices, all of them, such as `cuda:0,cuda:1`.
    pub device: String,
    /// How many devices compute a video together.
    pub devices: u32,
    /// The class of devices within which results are bit-identical.
    pub device_class: String,
    /// Worker and libtorch version.
    pub build: String,
    /// Threads the model computes with.
    pub threads: u32,
    /// Device memory available to this worker, bytes.
    pub memory_bytes: u64,
    /// Speed of attention at start-up, FLOP per second; 0 where it was not measured.
    pub attention_flops: f64,
    /// The attention kernel in use; none on a CPU.
    pub attention: Option<String>,
    /// Number formats of transformer, text encoders and video decoder, such as `bf16/f16/f16`.
    pub formats: String,
}

/// An adapter on this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraFile {
    /// A safetensors file, or a folder as PEFT saves it.
    pub path: PathBuf,
    /// How strongly it acts.
    pub scale: f64,
}

/// A decoded picture for the first frame of a video, upright. The model crops it to the video's size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstFrame {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// `[height, width, 3]`, 8 bits a channel.
    pub rgb: Vec<u8>,
}

/// Which orders an order may share forward passes with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPlace {
    /// Equal for orders that can share passes.
    pub key: BatchKey,
    /// Most orders of this key at a time.
    pub limit: u32,
}

/// One job, as the model needs it.
#[derive(Debug, Clone)]
pub struct RenderOrder {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames; a length that the model's geometry allows.
    pub frames: u32,
    /// Denoising steps.
    pub steps: u32,
    /// Seed of the initial noise.
    pub seed: u64,
    /// Embedded guidance.
    pub guidance: f64,
    /// Flow-match shift.
    pub flow_shift: f64,
    /// Noise to video; false integrates the inverted sigmas.
    pub flow_reverse: bool,
    /// EasyCache threshold; `None` computes every step.
    pub step_cache_threshold: Option<f64>,
    /// The prompt's embeddings.
    pub embeddings: StoredEmbeddings,
    /// The negative prompt's embeddings and the true guidance scale.
    pub negative: Option<(StoredEmbeddings, f64)>,
    /// The picture that the video begins from; needed exactly where [`RendererInfo::image`] says so.
    pub first_frame: Option<Arc<FirstFrame>>,
    /// Adapters, in any order.
    pub loras: Vec<LoraFile>,
    /// Stretches positions in time, for a long video.
    pub riflex: bool,
    /// A checkpoint's bytes to resume from.
    pub resume: Option<Vec<u8>>,
    /// Seconds of denoising between two checkpoints.
    pub checkpoint_every_s: f64,
    /// Shortest time between two previews, seconds; 0 makes none.
    pub preview_every_s: f64,
    /// Steps after which the run pauses, for a draft.
    pub pause_after: Option<u32>,
    /// The draft that the run continues with another number of steps.
    pub continues: Option<DraftSchedule>,
    /// How many times as many frames per second interpolation makes; 1 for none.
    pub interpolate: u32,
    /// Early steps at half the size.
    pub progressive: Option<ProgressivePlan>,
    /// The orders that it may share forward passes with; `None` to have them alone. Never together with adapters, a picture, a
    /// checkpoint, a continued draft or early steps at half the size.
    pub batch: Option<BatchPlace>,
}

/// What the renderer reports while it works.
#[derive(Debug)]
pub enum RenderEvent {
    /// Denoising begins, after `resumed_from` steps of an earlier attempt.
    Started {
        /// Steps taken over from a checkpoint; 0 without one.
        resumed_from: u32,
        /// Why a given checkpoint was not used.
        restarted_because: Option<String>,
    },
    /// A step is done.
    Step {
        /// Steps done.
        step: u32,
        /// Of these, taken from the step cache.
        skipped: u32,
        /// Estimated seconds left, from the pace of this run.
        remaining_s: Option<f64>,
        /// Jobs in this step's forward pass, this one included; 0 for a step from the step cache.
        members: u32,
    },
    /// State worth storing.
    Checkpoint {
        /// Steps it covers.
        step: u32,
        /// The object's bytes.
        bytes: Vec<u8>,
    },
    /// What the video will probably look like.
    Preview {
        /// Steps done.
        step: u32,
        /// The pictures.
        frames: PreviewFrames,
        /// Seconds that they took the model's thread.
        seconds: f64,
    },
    /// Denoising is over, decoding begins.
    Decoding,
    /// Decoding is over, interpolation begins.
    Interpolating,
}

/// Frames of a finished run.
#[derive(Debug)]
pub struct RenderedFrames {
    /// `[frames, height, width, 3]`, 8 bits a channel; those of interpolation included.
    pub rgb: Vec<u8>,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Steps through the transformer, over all attempts that this run builds on.
    pub steps_computed: u32,
    /// Steps taken from the step cache, likewise.
    pub steps_skipped: u32,
    /// Of these, computed and skipped at half the size.
    pub lower: [u32; 2],
    /// Relative velocity change from step to step.
    pub convergence: Vec<f32>,
    /// Seconds of merging adapters or restoring weights before this attempt; 0 where nothing had to change.
    pub adapters_s: f64,
    /// Mean number of jobs in the forward passes of its computed steps, itself included; `None` for a run that had them alone.
    pub batch: Option<f64>,
    /// Seconds of denoising in this attempt; of shared passes, this job's share.
    pub denoise_s: f64,
    /// Seconds of decoding.
    pub decode_s: f64,
    /// What interpolation did; `None` without it.
    pub interpolation: Option<Interpolation>,
}

/// How the frames between those of the model were made.
#[derive(Debug, Clone, PartialEq)]
pub struct Interpolation {
    /// How many times as many frames per second.
    pub factor: u32,
    /// Scene cuts, at which frames were repeated.
    pub cuts: u32,
    /// Fingerprint of the weights.
    pub weights: String,
    /// Seconds that it took.
    pub seconds: f64,
}

/// A run that paused where its order said.
#[derive(Debug)]
pub struct Paused {
    /// Steps done.
    pub step: u32,
    /// The checkpoint's bytes.
    pub checkpoint: Vec<u8>,
    /// What the video will probably look like; `None` for a model without preview factors.
    pub preview: Option<PreviewFrames>,
}

/// Why a run gave no frames.
#[derive(Debug)]
pub enum RenderError {
    /// Stopped through its [`Control`]; holds the state of the last step boundary if there is one.
    Stopped {
        /// Steps covered and the checkpoint's bytes.
        checkpoint: Option<(u32, Vec<u8>)>,
    },
    /// It is a draft, and has come to its end.
    Paused(Box<Paused>),
    /// The device failed, and this process cannot use it any more. The job is not at fault.
    DeviceBroken {
        /// What the device reported.
        reason: String,
    },
    /// It failed.
    Failed {
        /// For the user.
        failure: Failure,
        /// Whether another attempt makes sense.
        action: FailureAction,
    },
}

/// Something that renders videos. It lives on one thread; its calls block until the work is done.
pub trait Renderer {
    /// What it reports about itself.
    fn info(&self) -> RendererInfo;

    /// Prompt to embeddings, through the stored 16-bit form so that a cache hit gives the same video.
    ///
    /// # Errors
    /// [`RenderError`].
    fn encode(&mut self, text: &str, control: &Control) -> Result<StoredEmbeddings, RenderError>;

    /// The whole video, from noise (or a checkpoint) to frames.
    ///
    /// # Errors
    /// [`RenderError`].
    fn render(
        &mut self,
        order: &RenderOrder,
        control: &Control,
        tell: &mut dyn FnMut(RenderEvent),
    ) -> Result<RenderedFrames, RenderError>;

    /// Renders an order and those that `desk` hands out meanwhile, and gives each its own result. A renderer that cannot share
    /// forward passes renders one after the other.
    fn render_together(&mut self, first: Ticket, desk: &mut dyn Desk) {
        let mut next = Some(first);
        while let Some(ticket) = next {
            let control = Control::over(std::slice::from_ref(&ticket.control), &desk.waiting());
            ticket.serve(&control, |order, control, tell| self.render(order, control, tell));
            desk.encode(&mut |text, control| self.encode(text, control));
            next = desk.next();
        }
    }
}
