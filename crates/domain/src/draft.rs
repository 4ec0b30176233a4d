//! Drafts and candidates: runs that pause after their first steps, and the choice among several seeds.
//!
//! A draft is a job that stops at a step boundary with its checkpoint and holds no worker until somebody continues it. With
//! the same plan the continued run gives the same bytes as one that never paused. Candidates are drafts of one prompt with
//! different seeds; one of them is continued and the others end.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::JobId;
use crate::tier::{UnknownWord, words};

/// Most candidates of one request.
pub(crate) const CANDIDATES_MAX: u32 = 8;

words!(
    /// How far a job runs by itself.
    RenderMode {
        /// To its video.
        Full = "full",
        /// To its draft: it then waits until it is continued.
        Draft = "draft",
    }
);

words!(
    /// Who chooses among candidates.
    Judge {
        /// The fleet, by measuring the drafts: motion, sharpness, flicker and contrast.
        Measures = "measures",
        /// A person, by continuing one of them.
        Person = "person",
    }
);

/// What was measured on the frames of a draft. Only comparable between drafts of one prompt and one step.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DraftScores {
    /// Mean difference between consecutive frames, 0 to 1.
    #[serde(with = "crate::finite")]
    pub motion: f64,
    /// Mean second difference over three consecutive frames, 0 to 2: change that reverses at once.
    #[serde(with = "crate::finite")]
    pub flicker: f64,
    /// Variance of the Laplacian of the brightness, mean over the frames.
    #[serde(with = "crate::finite")]
    pub sharpness: f64,
    /// Standard deviation of the brightness, 0 to 0.5.
    #[serde(with = "crate::finite")]
    pub contrast: f64,
}

/// A finished draft.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DraftRecord {
    /// Denoising steps that it covers.
    pub step: u32,
    /// Its measurements; absent for a model without preview factors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scores: Option<DraftScores>,
    /// GPU seconds of the job so far, over all attempts.
    #[serde(with = "crate::finite")]
    pub gpu_seconds: f64,
    /// Price of the GPU seconds, US dollars.
    #[serde(with = "crate::finite")]
    pub cost_usd: f64,
}

/// One of several candidates at the moment of the choice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Candidate {
    /// Its job.
    #[cfg_attr(feature = "openapi", schema(value_type = uuid::Uuid))]
    pub job_id: JobId,
    /// Its seed; beyond 2^53 as a string of digits.
    #[serde(with = "crate::seed")]
    #[cfg_attr(feature = "openapi", schema(value_type = crate::seed::Seed))]
    pub seed: u64,
    /// Its draft; absent when it had none (yet).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft: Option<DraftRecord>,
    /// Its place by the built-in measures, 1 for the best; absent when the drafts could not be compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
}

/// How one candidate was chosen; kept with its job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Choice {
    /// Who chose.
    pub by: Judge,
    /// All candidates, in the order of their submission.
    pub candidates: Vec<Candidate>,
}

/// Steps after which a draft pauses: the share of all steps, at least one and at most all.
#[must_use]
pub fn draft_steps(steps: u32, share: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the steps below")]
    let wanted = (f64::from(steps) * share).round().max(0.0) as u32;
    wanted.clamp(1, steps.max(1))
}

/// The seed of candidate `index` of a request with `seed`: the request's own for the first, then 53-bit values that follow
/// from both, so that the same request has the same candidates again.
#[must_use]
pub fn candidate_seed(seed: u64, index: u32) -> u64 {
    if index == 0 {
        return seed;
    }
    let hash = blake3::hash(format!("candidate {seed} {index}").as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(bytes) & ((1 << 53) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_has_at_least_one_step_and_never_more_than_the_run() {
        assert_eq!(
            [draft_steps(25, 0.25), draft_steps(1, 0.25), draft_steps(3, 0.01), draft_steps(3, 1.0)],
            [6, 1, 1, 3]
        );
        assert_eq!(draft_steps(0, 0.5), 1);
    }

    #[test]
    fn candidates_have_different_seeds_that_repeat() {
        let seeds: std::collections::BTreeSet<_> = (0..CANDIDATES_MAX).map(|index| candidate_seed(7, index)).collect();
        assert_eq!(seeds.len(), 8);
        assert!(seeds.iter().all(|seed| (0..1 << 53).contains(seed)));
        assert_eq!((candidate_seed(7, 0), candidate_seed(7, 3)), (7, candidate_seed(7, 3)));
    }
}
