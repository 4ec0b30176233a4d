//! Which jobs a worker may render together.

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::model::{ModelManifest, RenderShape};
use crate::plan::Plan;
use crate::request::VideoRequest;

/// Tokens that the text encoders read of a request, one number for each encoder whose tokens the transformer attends to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PromptTokens {
    /// Of the prompt.
    pub prompt: Vec<u64>,
    /// Of the negative prompt; only looked at with true guidance.
    pub negative: Vec<u64>,
}

/// Equal for two jobs of one model exactly when their forward passes can be shared: everything that the samples of a tensor have in
/// common. Seeds, noise levels skipped by the step cache, interpolation and delivery differ from sample to sample.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BatchKey(String);

impl BatchKey {
    /// The key of a planned job, from what the plan says and what the encoders read of its texts; `None` for a job that is always
    /// rendered alone: with adapters, a picture to begin from, steps at half the size, the schedule of a continued draft, or a
    /// deadline, since company makes a run longer.
    #[must_use]
    pub fn of(
        request: &VideoRequest,
        shape: &RenderShape,
        plan: &Plan,
        manifest: &ModelManifest,
        tokens: &PromptTokens,
    ) -> Option<Self> {
        let alone = !request.adapters_key().is_empty()
            || request.image.is_some()
            || plan.progressive.is_some()
            || plan.continues.is_some()
            || request.deadline_s.is_some()
            || tokens.prompt.is_empty();
        if alone {
            return None;
        }
        let shift = plan.flow_shift.unwrap_or(manifest.sampling.flow_shift);
        let guidance = plan.guidance.unwrap_or(request.cfg_scale);
        let stop = plan.draft_steps.unwrap_or(plan.steps);
        let mut key = format!(
            "{}x{}x{}{} steps {}/{} shift {shift}{} guidance {guidance} text {}",
            shape.width,
            shape.height,
            shape.frames,
            if request.stretches(manifest, shape.frames) { "+" } else { "" },
            stop,
            plan.steps,
            if request.flow_reverse { "" } else { "-" },
            numbers(&tokens.prompt),
        );
        if request.true_cfg_scale > 1.0 {
            if tokens.negative.is_empty() {
                return None;
            }
            key = format!("{key} true {} against {}", request.true_cfg_scale, numbers(&tokens.negative));
        }
        Some(Self(key))
    }

    /// Wraps a key from the database.
    #[must_use]
    pub fn from_stored(key: String) -> Self {
        Self(key)
    }

    /// The key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BatchKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn numbers(of: &[u64]) -> String {
    of.iter().map(u64::to_string).collect::<Vec<_>>().join("+")
}
