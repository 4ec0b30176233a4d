//! From a job and its plan to what the model is told to do.

use super::Fleet;
use super::assignment::Assignment;
use super::embeddings::Text;
use crate::engine::{BatchPlace, RenderOrder};

/// The order of a job, without the files that are fetched for it.
pub(super) fn order(
    fleet: &Fleet,
    job: &Assignment,
    text: &Text,
    negative: Option<cache::StoredEmbeddings>,
    resume: Option<Vec<u8>>,
) -> RenderOrder {
    let (request, shape, plan) = (&job.job.request, job.job.shape, &job.plan);
    let key = job.batch_key.clone().filter(|_| resume.is_none());
    let batch = key.map(|key| BatchPlace { key, limit: fleet.batch_limit(&shape) });
    RenderOrder {
        width: shape.width,
        height: shape.height,
        frames: shape.frames,
        steps: plan.steps,
        seed: request.seed.unwrap_or_default(),
        guidance: plan.guidance.unwrap_or(request.cfg_scale),
        flow_shift: plan.flow_shift.unwrap_or(fleet.manifest.sampling.flow_shift),
        flow_reverse: request.flow_reverse,
        step_cache_threshold: (plan.step_cache.threshold > 0.0).then_some(plan.step_cache.threshold),
        embeddings: text.embeddings.clone(),
        negative: negative.map(|embeddings| (embeddings, request.true_cfg_scale)),
        // Fetched before the order is given.
        first_frame: None,
        loras: Vec::new(),
        riflex: request.stretches(&fleet.manifest, shape.frames),
        resume,
        checkpoint_every_s: fleet.checkpoint_every.as_secs_f64(),
        preview_every_s: fleet.preview_every.as_secs_f64(),
        pause_after: job.job.draft_until,
        continues: plan.continues,
        interpolate: plan.interpolate.unwrap_or(1),
        progressive: plan.progressive,
        batch: batch.filter(|batch| batch.limit > 1),
    }
}
