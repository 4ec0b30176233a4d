//! What a finished run is recorded with.

use domain::{InterpolationRecord, ProgressiveRecord, RunRecord, Savings, StageSeconds, VideoRequest, WorkerIdentity};
use optimizer::RunFacts;

use super::Fleet;
use super::assignment::Assignment;
use super::embeddings::Text;
use super::progress::Seen;
use crate::engine::{Interpolation, RenderedFrames};

/// The device on which shared passes change no bit.
const CPU: &str = "cpu";

/// The part of the record that describes rendering, without the frames.
pub(super) struct Measured {
    computed: u32,
    skipped: u32,
    /// Of these, at half the size.
    lower: [u32; 2],
    convergence: Vec<f32>,
    /// Mean number of jobs that shared its forward passes.
    pub(super) batch: Option<f64>,
    pub(super) adapters_s: f64,
    pub(super) denoise_s: f64,
    pub(super) decode_s: f64,
    pub(super) interpolation: Option<Interpolation>,
}

impl Measured {
    pub(super) fn of(frames: &RenderedFrames) -> Self {
        Self {
            computed: frames.steps_computed,
            skipped: frames.steps_skipped,
            lower: frames.lower,
            convergence: frames.convergence.clone(),
            batch: frames.batch,
            adapters_s: frames.adapters_s,
            denoise_s: frames.denoise_s,
            decode_s: frames.decode_s,
            interpolation: frames.interpolation.clone(),
        }
    }
}

/// The record of a run, but for what reproducing it depends on.
pub(super) fn record(
    fleet: &Fleet,
    job: &Assignment,
    text: &Text,
    measured: Measured,
    stages: StageSeconds,
    (seen, gpu_s): (Seen, f64),
) -> RunRecord {
    let info = fleet.engine.info();
    let gpu_seconds = job.gpu_seconds_before + gpu_s;
    let mut record = RunRecord {
        cache_match: text.matched,
        cache_score: text.score,
        steps_computed: measured.computed,
        steps_skipped: measured.skipped,
        stages,
        interpolation: measured.interpolation.map(|done| interpolated(job, done)),
        progressive: job.plan.progressive.map(|early| ProgressiveRecord {
            width: early.width,
            height: early.height,
            tokens: early.tokens,
            steps_computed: measured.lower[0],
            steps_skipped: measured.lower[1],
        }),
        batch: measured.batch,
        devices: info.devices,
        device: info.device.clone(),
        build: info.build.clone(),
        resumed_from: seen.resumed_from,
        restarted_because: seen.restarted_because,
        adapters: adapters(&job.job.request),
        convergence: measured.convergence,
        gpu_seconds,
        cost_usd: optimizer::price_usd(gpu_seconds, fleet.gpu_hour_usd),
        saved_s: 0.0,
        saved_usd: 0.0,
        savings: Savings::default(),
        reproduction: None,
    };
    // A resumed run spreads its seconds over several workers, so there is nothing to compare with the baseline.
    if record.resumed_from.is_none() {
        let run = RunFacts {
            model_id: &fleet.manifest.id,
            worker_class: &record.device,
            request: &job.job.request,
            tokens: job.job.shape.tokens(&fleet.manifest.geometry),
            plan: &job.plan,
            record: &record,
        };
        let saving = optimizer::saving(&run, &fleet.manifest, &fleet.cost, fleet.gpu_hour_usd);
        (record.saved_s, record.saved_usd, record.savings) = (saving.saved_s, saving.saved_usd, saving.parts);
    }
    record
}

/// What a video depends on that was made on this worker. On a GPU, kernels are chosen by the size of a product, so a video whose passes
/// were shared may differ in its last bits from one that had them alone; a CPU computes each sample as it does alone.
pub(super) fn identity(fleet: &Fleet, shared: bool) -> WorkerIdentity {
    let mut identity = fleet.identity();
    if shared && fleet.engine.info().device != CPU {
        identity.device_class.push_str(" batched");
    }
    identity
}

fn interpolated(job: &Assignment, done: Interpolation) -> InterpolationRecord {
    let shape = job.job.shape;
    let video = shape.interpolated(done.factor);
    InterpolationRecord {
        factor: done.factor,
        frames: video.frames,
        fps: video.fps,
        cuts: done.cuts,
        megapixels: shape.interpolated_megapixels(done.factor),
        weights: done.weights,
    }
}

/// Fingerprints of the adapters that were active.
fn adapters(request: &VideoRequest) -> Vec<String> {
    request.loras.iter().filter(|lora| lora.scale != 0.0).filter_map(|lora| lora.fingerprint.clone()).collect()
}
