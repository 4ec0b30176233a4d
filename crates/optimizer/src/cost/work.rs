//! What is to be rendered, as far as time depends on it.

use domain::{Plan, VideoRequest};

/// The work of a run that is still to come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Work {
    /// Video tokens of the shape.
    pub tokens: u64,
    /// Planned denoising steps.
    pub steps: u32,
    /// Those of them at half the size.
    pub lower: Option<LowerWork>,
    /// Transformer passes for each step: 2 with real guidance.
    pub passes: u32,
    /// Step-cache threshold; 0 for off.
    pub threshold: f64,
    /// Millions of pixels of the frames that interpolation adds; 0 without it.
    pub interpolated_mpx: f64,
}

/// Steps at half the size, before a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LowerWork {
    /// Video tokens of these steps.
    pub tokens: u64,
    /// How many they are.
    pub steps: u32,
}

impl LowerWork {
    /// Those of a plan.
    #[must_use]
    pub fn of(plan: &Plan) -> Option<Self> {
        plan.progressive.map(|early| Self { tokens: early.tokens, steps: early.steps })
    }
}

/// Passes through the transformer for each step: 2 with real classifier-free guidance.
#[must_use]
pub fn passes(request: &VideoRequest) -> u32 {
    if request.true_cfg_scale > 1.0 { 2 } else { 1 }
}
