//! How long a run takes: a linear cost model that starts from the model folder's prior and is fitted to the fleet's
//! own records, one for each pair of model and worker class.
//!
//! ```text
//! run = encode (miss or hit) + passes * computed * (linear * r + square * r^2) + passes * skipped * skip * r
//!       + once + tail_once + tail * r            with r = video tokens / the prior's tokens
//! ```
//! `linear` and `square` are the two parts of a step (projections and attention), `tail` is decoding and delivery.
//! The queue wait is no part of it.

mod fit;
mod records;
mod skips;

use domain::model::CostPrior;
use serde::{Deserialize, Serialize};

pub use fit::{CostBook, FitRules, fit_model, median_relative_error};
pub use records::{CostRecord, RunFacts};
pub use skips::{SkipShare, SkipTable};

/// What is to be rendered, as far as time depends on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Work {
    /// Video tokens of the shape.
    pub tokens: u64,
    /// Planned denoising steps.
    pub steps: u32,
    /// Transformer passes for each step: 2 with real guidance.
    pub passes: u32,
    /// Step-cache threshold; 0 for off.
    pub threshold: f64,
}

/// Where a cost model's numbers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CostSource {
    /// The model folder alone.
    Prior,
    /// The model folder's proportions, at the pace of a few runs of our own.
    Scaled,
    /// Our own runs.
    Fitted,
}

/// Seconds of a run, split by what they grow with. All coefficients are 0 or more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CostModel {
    /// Video tokens at which the seconds below hold (r = 1).
    pub reference_tokens: u64,
    /// Part of a pass that grows with the tokens, seconds.
    pub linear_s: f64,
    /// Part of a pass that grows with their square, seconds.
    pub square_s: f64,
    /// A skipped step's pass, seconds.
    pub skip_s: f64,
    /// Denoising's fixed part, seconds.
    pub once_s: f64,
    /// Encoding a prompt that no cache holds, seconds.
    pub encode_miss_s: f64,
    /// Fetching cached embeddings, seconds.
    pub encode_hit_s: f64,
    /// Decoding and delivery, fixed part, seconds.
    pub tail_once_s: f64,
    /// Decoding and delivery, part that grows with the tokens, seconds.
    pub tail_s: f64,
    /// How many steps the step cache answers.
    pub skips: SkipTable,
    /// Runs behind the numbers.
    pub runs: usize,
    /// Where they come from.
    pub source: CostSource,
}

impl CostModel {
    /// What the model folder believes. It promises no skipped step: those count once the fleet has seen them.
    #[must_use]
    pub fn from_prior(prior: &CostPrior) -> Self {
        Self {
            reference_tokens: prior.tokens.max(1),
            linear_s: prior.step_s * (1.0 - prior.attention_share),
            square_s: prior.step_s * prior.attention_share,
            skip_s: 0.0,
            once_s: 0.0,
            encode_miss_s: (prior.around_s - prior.around_cached_s).max(0.0),
            encode_hit_s: 0.0,
            tail_once_s: 0.0,
            tail_s: prior.around_cached_s,
            skips: SkipTable::default(),
            runs: 0,
            source: CostSource::Prior,
        }
    }

    /// Tokens relative to the reference.
    pub(crate) fn ratio(&self, tokens: u64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "token counts are far below 2^52")]
        let ratio = tokens as f64 / self.reference_tokens as f64;
        ratio
    }

    /// One computed step with one pass, seconds.
    #[must_use]
    pub fn step_s(&self, tokens: u64) -> f64 {
        let r = self.ratio(tokens);
        self.linear_s * r + self.square_s * r * r
    }

    /// Denoising with known numbers of computed and skipped steps, seconds.
    #[must_use]
    pub fn denoise_s(&self, tokens: u64, passes: u32, computed: u32, skipped: u32) -> f64 {
        let passes = f64::from(passes);
        let skip_s = self.skip_s * self.ratio(tokens);
        self.once_s + passes * (f64::from(computed) * self.step_s(tokens) + f64::from(skipped) * skip_s)
    }

    /// Everything around the denoising, seconds.
    #[must_use]
    pub fn around_s(&self, tokens: u64, hit: bool) -> f64 {
        let encode_s = if hit { self.encode_hit_s } else { self.encode_miss_s };
        encode_s + self.tail_once_s + self.tail_s * self.ratio(tokens)
    }

    /// A whole run with known numbers of computed and skipped steps, seconds.
    #[must_use]
    pub fn run_s(&self, tokens: u64, passes: u32, computed: u32, skipped: u32, hit: bool) -> f64 {
        self.around_s(tokens, hit) + self.denoise_s(tokens, passes, computed, skipped)
    }

    /// What turns seconds of this model into seconds at the pace of the folder's prior: their ratio for the prior's baseline
    /// request. A fleet that gets slower or faster as a whole moves both, so equal work stays equal.
    #[must_use]
    pub fn to_pace_of(&self, prior: &CostPrior) -> f64 {
        let baseline = Work { tokens: prior.tokens.max(1), steps: prior.baseline_steps, passes: 1, threshold: 0.0 };
        let own_s = self.estimate_s(&baseline, false);
        if own_s > 0.0 { Self::from_prior(prior).estimate_s(&baseline, false) / own_s } else { 1.0 }
    }

    /// A run that is still to come, seconds: its skipped steps are those of runs like it.
    #[must_use]
    pub fn estimate_s(&self, work: &Work, hit: bool) -> f64 {
        let skipped = self.skips.expected(work.threshold, work.steps);
        let computed = f64::from(work.steps) - skipped;
        let passes = f64::from(work.passes);
        let denoise_s = computed * self.step_s(work.tokens) + skipped * self.skip_s * self.ratio(work.tokens);
        self.around_s(work.tokens, hit) + self.once_s + passes * denoise_s
    }
}
