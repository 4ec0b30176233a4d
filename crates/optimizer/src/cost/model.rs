//! The cost model: seconds of a run, split by what they grow with.

use domain::model::CostPrior;
use serde::{Deserialize, Serialize};

use super::records::StageSteps;
use super::skips::SkipTable;
use super::work::Work;

/// Where a cost model's numbers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CostSource {
    /// The manifest's prior alone.
    Prior,
    /// The prior's proportions, at the speed of the fleet's first few runs.
    Scaled,
    /// The fleet's own runs.
    Fitted,
}

/// Seconds of a run, split by what they grow with. All coefficients are 0 or more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CostModel {
    /// Video tokens that the seconds below are for (r = 1).
    pub reference_tokens: u64,
    /// Part of a pass that grows with the tokens, seconds.
    pub linear_s: f64,
    /// Part of a pass that grows with their square, seconds.
    pub square_s: f64,
    /// A skipped step's pass, seconds.
    pub skip_s: f64,
    /// Denoising's fixed part, seconds.
    pub once_s: f64,
    /// Encoding a prompt that is not cached, seconds.
    pub encode_miss_s: f64,
    /// Fetching cached embeddings, seconds.
    pub encode_hit_s: f64,
    /// Decoding and delivery, fixed part, seconds.
    pub tail_once_s: f64,
    /// Decoding and delivery, part that grows with the tokens, seconds.
    pub tail_s: f64,
    /// Merging and restoring of a run with adapters, seconds; `None` before such runs were measured.
    pub swap_s: Option<f64>,
    /// Interpolating frames of a million pixels, seconds.
    #[serde(default)]
    pub interpolate_mpx_s: f64,
    /// How many steps the step cache skips.
    pub skips: SkipTable,
    /// Number of runs that the model was fitted to.
    pub runs: usize,
    /// Where the numbers come from.
    pub source: CostSource,
}

impl CostModel {
    /// The manifest's prior. It expects no skipped steps: those count once the fleet has seen some.
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
            swap_s: None,
            interpolate_mpx_s: prior.interpolate_mpx_s,
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

    /// Denoising's steps at half the size, seconds.
    #[must_use]
    pub fn lower_s(&self, lower: Option<StageSteps>, passes: u32) -> f64 {
        let Some(StageSteps { tokens, computed, skipped }) = lower else { return 0.0 };
        let skip_s = self.skip_s * self.ratio(tokens);
        f64::from(passes) * (f64::from(computed) * self.step_s(tokens) + f64::from(skipped) * skip_s)
    }

    /// Everything around the denoising, seconds.
    #[must_use]
    pub fn around_s(&self, tokens: u64, hit: bool) -> f64 {
        let encode_s = if hit { self.encode_hit_s } else { self.encode_miss_s };
        encode_s + self.tail_once_s + self.tail_s * self.ratio(tokens)
    }

    /// A whole run at one size with known numbers of computed and skipped steps, seconds.
    #[must_use]
    pub fn run_s(&self, tokens: u64, passes: u32, computed: u32, skipped: u32, hit: bool) -> f64 {
        self.around_s(tokens, hit) + self.denoise_s(tokens, passes, computed, skipped)
    }

    /// The factor from this model's seconds to seconds at the prior's speed: their ratio for the prior's baseline request.
    /// When the whole fleet becomes slower or faster, the factor changes with it, so equal work keeps its value.
    #[must_use]
    pub fn to_pace_of(&self, prior: &CostPrior) -> f64 {
        let baseline = Work {
            tokens: prior.tokens.max(1),
            steps: prior.baseline_steps,
            lower: None,
            passes: 1,
            threshold: 0.0,
            interpolated_mpx: 0.0,
        };
        let own_s = self.estimate_s(&baseline, false);
        if own_s > 0.0 { Self::from_prior(prior).estimate_s(&baseline, false) / own_s } else { 1.0 }
    }

    /// A run that is still to come, seconds. It is expected to skip as many steps as similar runs did; the step cache starts afresh
    /// at full size.
    #[must_use]
    pub fn estimate_s(&self, work: &Work, hit: bool) -> f64 {
        let stage = |tokens: u64, steps: u32| {
            let skipped = self.skips.expected(work.threshold, steps);
            (f64::from(steps) - skipped) * self.step_s(tokens) + skipped * self.skip_s * self.ratio(tokens)
        };
        let lower_steps = work.lower.map_or(0, |lower| lower.steps);
        let lower_s = work.lower.map_or(0.0, |lower| stage(lower.tokens, lower.steps));
        let denoise_s = stage(work.tokens, work.steps.saturating_sub(lower_steps)) + lower_s;
        let passes = f64::from(work.passes);
        let interpolate_s = work.interpolated_mpx * self.interpolate_mpx_s;
        self.around_s(work.tokens, hit) + self.once_s + passes * denoise_s + interpolate_s
    }
}
