//! The fleet's worker: takes jobs, renders them, and never loses one.
//!
//! # Reading order
//! [`run`] puts the parts together; [`take`] finds work, and companions for a job that can share its forward passes; [`job`] is one
//! job from claim to end; [`embeddings`], [`checkpoints`], [`picture`], [`progress`], [`preview`], [`deliver`] and [`pause`] are its
//! parts; [`deliveries`] says what a slot is and delivers beside the next job; [`slot`] says who pays for it; [`heart`] keeps the
//! lease and [`watch`] notices a wedged model; [`trace`] records spans; [`lasting`] makes sure that the result is stored.

mod assignment;
mod checkpoints;
mod deliver;
mod deliveries;
mod device;
mod embeddings;
mod heart;
mod job;
mod lasting;
mod loras;
mod order;
mod pause;
mod picture;
mod preview;
mod progress;
mod record;
mod register;
pub mod run;
mod selftest;
mod slot;
mod take;
mod tokenizers;
mod trace;
mod watch;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use artifacts::Artifacts;
use broker::Broker;
use cache::EmbeddingCache;
use domain::model::RenderShape;
use domain::{ModelManifest, PoolId, WorkerId, WorkerIdentity};
use optimizer::CostModel;
use settings::WorkerSettings;
use store::Store;
use store::leases::RetryPolicy;
use telemetry::{Traces, WorkerMetrics};
use tokio_util::sync::CancellationToken;

use crate::engine::EngineThread;
use crate::mp4::Encoder;
use heart::Heart;
use loras::Merged;
use slot::Slot;

/// Everything that a running job needs: cheap handles and plain values.
pub(crate) struct Fleet {
    /// The id of this run of the process.
    pub(crate) worker_id: WorkerId,
    /// The pool whose jobs it takes.
    pub(crate) pool: PoolId,
    /// Postgres.
    pub(crate) store: Store,
    /// RabbitMQ.
    pub(crate) broker: Broker,
    /// Embeddings.
    pub(crate) cache: EmbeddingCache,
    /// Videos and checkpoints.
    pub(crate) artifacts: Artifacts,
    /// The model.
    pub(crate) engine: EngineThread,
    /// Leases.
    pub(crate) heart: Heart,
    /// The model folder's description.
    pub(crate) manifest: ModelManifest,
    /// ffmpeg.
    pub(crate) mp4: Encoder,
    /// The adapters in the model's weights, as the fleet knows them.
    pub(crate) merged: Merged,
    /// How long a released job may wait for a worker that has merged its adapters; `None` where nobody prefers such jobs.
    pub(crate) patience: Option<Duration>,
    /// What the bytes of an MP4 depend on besides its frames; known before the first job.
    pub(crate) encoder: OnceLock<String>,
    /// Bytes of adapters that are kept on this machine.
    pub(crate) lora_cache_bytes: u64,
    /// Folder for unfinished files.
    pub(crate) scratch: PathBuf,
    /// Why this worker must exit, once it has to.
    pub(crate) leaving: OnceLock<String>,
    /// Cancelled when nothing new is taken: by a stop, or because this worker leaves by itself.
    pub(crate) nothing_new: CancellationToken,
    /// Counters.
    pub(crate) metrics: Arc<WorkerMetrics>,
    /// Spans of traced jobs.
    pub(crate) traces: Traces,
    /// The baseline for savings.
    pub(crate) cost: CostModel,
    /// Price of a GPU hour, US dollars.
    pub(crate) gpu_hour_usd: f64,
    /// Length of a lease.
    pub(crate) lease: Duration,
    /// Work that may be lost.
    pub(crate) checkpoint_every: Duration,
    /// Shortest time between two progress messages.
    pub(crate) progress_every: Duration,
    /// Shortest time between two previews; zero makes none.
    pub(crate) preview_every: Duration,
    /// How long a run may last.
    pub(crate) run_limit: RunLimit,
    /// How failed runs are tried again.
    pub(crate) retries: RetryPolicy,
    /// How often a job may resume from one checkpoint.
    pub(crate) resumes_max: u32,
    /// Videos that may be delivered beside the next job.
    pub(crate) deliveries_max: u32,
    /// How many jobs are rendered together.
    pub(crate) batch: BatchRule,
    /// Who occupies the slot.
    pub(crate) slot: Slot,
}

/// How many jobs are rendered together, as this worker has registered it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchRule {
    /// Most jobs; 1 renders each alone.
    pub(crate) max: u32,
    /// Most video tokens of all together.
    pub(crate) tokens: u64,
}

impl BatchRule {
    /// The rule of a worker: several devices share one video at a time, and a CPU gains nothing from several videos.
    pub(crate) fn of(settings: &WorkerSettings, device: &str, devices: u32) -> Self {
        let max = match (devices, settings.batch_max) {
            (2.., _) => 1,
            (_, 0) if device == "cpu" => 1,
            (_, 0) => GPU_BATCH,
            (_, max) => max,
        };
        Self { max, tokens: settings.batch_tokens }
    }
}

/// Jobs that a GPU renders together where no setting says otherwise: beyond eight, published measurements gain little more.
const GPU_BATCH: u32 = 8;

/// How long a run may last: whatever progress it shows, at some point something is wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunLimit {
    /// Multiple of the estimate; 0 sets no limit.
    pub(crate) factor: f64,
    /// Shortest limit.
    pub(crate) min: Duration,
}

impl RunLimit {
    /// The limit of a run that was estimated to take this many seconds.
    pub(crate) fn of(self, estimate_s: f64) -> Option<Duration> {
        let limit = Duration::try_from_secs_f64(estimate_s * self.factor).ok()?;
        (self.factor > 0.0).then(|| limit.max(self.min))
    }
}

impl Fleet {
    /// The adapters in the model's weights, or on their way there, as [`domain::VideoRequest::adapters_key`] writes them.
    pub(crate) fn merged(&self) -> String {
        self.merged.key()
    }

    /// Most jobs of this kind that are rendered together.
    pub(crate) fn batch_limit(&self, shape: &RenderShape) -> u32 {
        let (tokens, memory) = (shape.tokens(&self.manifest.geometry), self.engine.info().memory_bytes);
        optimizer::batch::limit(tokens, self.batch.max, self.batch.tokens, memory, &self.manifest.memory)
    }

    /// What its videos depend on.
    pub(crate) fn identity(&self) -> WorkerIdentity {
        let info = self.engine.info();
        WorkerIdentity {
            model: info.model_fingerprint.clone(),
            build: info.build.clone(),
            device_class: info.device_class.clone(),
            threads: info.threads,
            formats: info.formats.clone(),
            attention: info.attention.clone(),
        }
    }

    /// Notes why this worker has to leave, and takes nothing new; the first reason counts.
    pub(crate) fn leave(&self, reason: &str) {
        // A second reason follows from the first.
        drop(self.leaving.set(reason.to_owned()));
        self.heart.take_nothing_new();
        self.nothing_new.cancel();
    }
}
