//! Domain values for tests that depend on a single field.

use domain::{
    Complexity, JobId, Plan, PoolId, Progress, Stage, StepCacheMode, StepCachePlan, StepsReason, TenantId, Tier,
    VideoRequest,
};

/// A request with everything at its default.
#[must_use]
pub fn request() -> VideoRequest {
    VideoRequest::new("a red ball rolls down a hill")
}

/// The pool of a small worker with the default model.
#[must_use]
pub fn pool() -> PoolId {
    PoolId::of_worker("default", 4 << 30)
}

/// A plan of 25 steps without step cache that fits into [`pool`].
#[must_use]
pub fn plan() -> Plan {
    Plan {
        tier: Tier::Standard,
        complexity: Complexity::Moderate,
        score: 1.0,
        factors: Vec::new(),
        steps: 25,
        steps_reason: StepsReason::Adaptive,
        step_cache: StepCachePlan { mode: StepCacheMode::Off, threshold: 0.0 },
        flow_shift: None,
        guidance: None,
        interpolate: None,
        progressive: None,
        estimate_s: 10.0,
        estimate_cached_s: 8.0,
        memory_bytes: 1 << 30,
        draft_steps: None,
        continues: None,
    }
}

/// A job in the middle of denoising.
#[must_use]
pub fn progress(job_id: JobId) -> Progress {
    Progress {
        job_id,
        tenant_id: TenantId::DEFAULT,
        stage: Stage::Denoise,
        step: 7,
        steps: 25,
        skipped: 2,
        remaining_s: Some(3.5),
    }
}
