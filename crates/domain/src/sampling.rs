//! How a model samples and what that costs: the tables `[sampling]`, `[step_cache]` and `[cost_prior]` of `fleet.toml`.
//!
//! These numbers belong to the model. A distilled model needs six steps where the released one needs thirty, and a step
//! cache tuned for one model is wrong for another. What an operator decides (which tier goes first, whether steps are
//! cached at all) is in the settings instead, which may also override the steps of a tier.

use serde::{Deserialize, Serialize};

use crate::guidance::Guidance;
use crate::manifest_error::ManifestError;
use crate::tier::{QualityTier, StepCacheMode, Tier};

/// `[sampling]`: the flow-match schedule, and how many steps the model takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// Flow-match shift.
    pub flow_shift: f64,
    /// Fewest steps that a request may name; planned steps are never fewer either.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub steps_min: u32,
    /// Most steps that a request may name. Planned steps never exceed it either.
    pub steps_max: u32,
    /// Steps planned for requests that name none. A manifest without this table gets the documented numbers.
    // Left out of the JSON when it holds those, so that older processes can read the rows of newer ones.
    #[serde(default, skip_serializing_if = "StepRanges::is_default")]
    pub steps: StepRanges,
    /// How the model is guided.
    #[serde(default, skip_serializing_if = "Guidance::is_default")]
    pub guidance: Guidance,
    /// Values that differ from the checkpoint's own files on purpose.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Override>,
}

fn one() -> u32 {
    1
}

fn is_one(steps: &u32) -> bool {
    *steps == 1
}

/// A value that both the manifest and the checkpoint's files hold. They must agree unless the manifest lists it in
/// `sampling.overrides`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Override {
    /// `sampling.flow_shift`, and `shift` of `scheduler/scheduler_config.json`.
    FlowShift,
    /// `sampling.guidance.true_cfg_scale`, and `guidance_scale` of `guider/guider_config.json`.
    TrueCfgScale,
}

/// `[sampling.steps]`: the steps of each tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StepRanges {
    /// A quick preview.
    pub preview: TierSteps,
    /// The everyday quality.
    pub standard: TierSteps,
    /// As many steps as the model profits from.
    pub premium: TierSteps,
    /// Chosen by the prompt. Its fixed number is `cost_prior.baseline_steps`.
    pub auto: StepRange,
}

/// Steps of a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierSteps {
    /// Steps of the simplest prompt.
    pub min: u32,
    /// Steps of the most complex prompt.
    pub max: u32,
    /// Steps of every prompt while adaptive steps are off.
    pub fixed: u32,
}

/// Fewest and most steps, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepRange {
    /// Steps of the simplest prompt.
    pub min: u32,
    /// Steps of the most complex prompt.
    pub max: u32,
}

/// `[step_cache]`: EasyCache's accumulated-error threshold in each mode. Larger values skip more steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StepCacheThresholds {
    /// Of the mode `balanced`.
    pub balanced: f64,
    /// Of the mode `fast`.
    pub fast: f64,
}

/// `[cost_prior]`: what the cost model assumes before the fleet has measured its own runs:
/// `seconds = around + steps * step`, at one size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostPrior {
    /// Video tokens that the seconds below are for.
    pub tokens: u64,
    /// One denoising step, seconds.
    pub step_s: f64,
    /// Everything around the steps when the prompt must be encoded, seconds.
    pub around_s: f64,
    /// The same with cached embeddings, seconds.
    pub around_cached_s: f64,
    /// Share of a step that grows with the square of the tokens (attention), 0 to 1, at `tokens`.
    pub attention_share: f64,
    /// Steps of the fixed baseline that savings are counted against. Read it with
    /// [`ModelManifest::baseline_steps`](crate::ModelManifest::baseline_steps), which observes `sampling.steps_max`.
    pub baseline_steps: u32,
    /// Interpolating frames of a million pixels, seconds.
    #[serde(default = "interpolate_mpx_s", skip_serializing_if = "is_default_interpolate_mpx_s")]
    pub interpolate_mpx_s: f64,
    /// Queries, keys, values and results of all blocks in a step at `tokens`, GB: what devices that share a video exchange, apart from
    /// each one's own part. 0 for a model of which it is not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub exchanged_gb: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

/// For a GPU; on a CPU it takes a hundred times as long.
fn interpolate_mpx_s() -> f64 {
    0.02
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_default_interpolate_mpx_s(seconds: &f64) -> bool {
    *seconds == interpolate_mpx_s()
}

impl Default for StepRanges {
    /// The documented numbers, for a full-scale model without distillation.
    fn default() -> Self {
        Self {
            preview: TierSteps { min: 15, max: 15, fixed: 15 },
            standard: TierSteps { min: 25, max: 35, fixed: 30 },
            premium: TierSteps { min: 45, max: 50, fixed: 50 },
            auto: StepRange { min: 18, max: 45 },
        }
    }
}

impl Default for StepCacheThresholds {
    /// 0.025 is EasyCache's published threshold for HunyuanVideo.
    fn default() -> Self {
        Self { balanced: 0.025, fast: 0.05 }
    }
}

impl StepRanges {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The steps of a tier.
    #[must_use]
    pub fn tier(&self, tier: Tier) -> TierSteps {
        match tier {
            Tier::Preview => self.preview,
            Tier::Standard => self.standard,
            Tier::Premium => self.premium,
        }
    }

    /// The range of a requested tier.
    #[must_use]
    pub fn range(&self, requested: QualityTier) -> StepRange {
        let of = |tier: TierSteps| StepRange { min: tier.min, max: tier.max };
        match requested {
            QualityTier::Auto => self.auto,
            QualityTier::Preview => of(self.preview),
            QualityTier::Standard => of(self.standard),
            QualityTier::Premium => of(self.premium),
        }
    }
}

impl StepRange {
    /// The range as a model can follow it.
    #[must_use]
    pub fn within(self, sampling: &Sampling) -> Self {
        Self { min: sampling.possible(self.min), max: sampling.possible(self.max) }
    }
}

impl StepCacheThresholds {
    /// Whether these are the documented numbers, which a manifest need not name.
    #[must_use]
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether this model's steps are never skipped, as those of a few-step model.
    #[must_use]
    pub fn is_never(&self) -> bool {
        self.balanced == 0.0 && self.fast == 0.0
    }

    /// The threshold of a mode; 0 for `off`.
    #[must_use]
    pub fn threshold(&self, mode: StepCacheMode) -> f64 {
        match mode {
            StepCacheMode::Off => 0.0,
            StepCacheMode::Balanced => self.balanced,
            StepCacheMode::Fast => self.fast,
        }
    }

    pub(crate) fn check(&self) -> Result<(), ManifestError> {
        let ok = self.balanced > 0.0 && self.balanced <= self.fast && self.fast < 1.0;
        let reason = "balanced and fast must satisfy 0 < balanced <= fast < 1, or both be 0 for a model whose steps are never skipped";
        if ok || self.is_never() { Ok(()) } else { Err(ManifestError::value("step_cache", reason)) }
    }
}

impl Sampling {
    /// The nearest number of steps that this model can run.
    #[must_use]
    pub fn possible(&self, steps: u32) -> u32 {
        steps.min(self.steps_max).max(self.steps_min).max(1)
    }

    /// Whether the manifest differs from the checkpoint's files in this on purpose.
    #[must_use]
    pub fn overrides(&self, value: Override) -> bool {
        self.overrides.contains(&value)
    }

    pub(crate) fn check(&self) -> Result<(), ManifestError> {
        if self.steps_max == 0 {
            return Err(ManifestError::value("sampling.steps_max", "must be above 0"));
        }
        if self.steps_min == 0 || self.steps_min > self.steps_max {
            let reason = format!("{} must be 1 to sampling.steps_max ({})", self.steps_min, self.steps_max);
            return Err(ManifestError::value("sampling.steps_min", reason));
        }
        self.guidance.check()?;
        let shift = self.flow_shift;
        if !(shift.is_finite() && shift > 0.0) {
            return Err(ManifestError::value("sampling.flow_shift", format!("{shift} must be a number above 0")));
        }
        for &tier in QualityTier::ALL {
            let StepRange { min, max } = self.steps.range(tier);
            if min == 0 || min > max {
                let reason = format!("must be at least 1 and at most {tier}.max ({max}), not {min}");
                return Err(ManifestError::value(format!("sampling.steps.{tier}.min"), reason));
            }
        }
        match Tier::ALL.iter().find(|&&tier| self.steps.tier(tier).fixed == 0) {
            Some(tier) => Err(ManifestError::value(format!("sampling.steps.{tier}.fixed"), "must be at least 1")),
            None => Ok(()),
        }
    }
}

impl CostPrior {
    /// How many times as long a step takes at `tokens` as at the prior's size.
    #[must_use]
    pub fn step_scale(&self, tokens: u64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "token counts are far below 2^52")]
        let ratio = tokens as f64 / self.tokens as f64;
        ratio * (1.0 - self.attention_share) + ratio * ratio * self.attention_share
    }

    pub(crate) fn check(&self) -> Result<(), ManifestError> {
        let seconds = [
            ("step_s", self.step_s),
            ("around_s", self.around_s),
            ("around_cached_s", self.around_cached_s),
            ("interpolate_mpx_s", self.interpolate_mpx_s),
            ("exchanged_gb", self.exchanged_gb),
        ];
        if let Some((key, _)) = seconds.into_iter().find(|(_, value)| !value.is_finite() || *value < 0.0) {
            return Err(ManifestError::value(format!("cost_prior.{key}"), "must be 0 or more"));
        }
        if self.tokens == 0 || !(0.0..=1.0).contains(&self.attention_share) {
            let reason = "tokens must be above 0, and attention_share must be between 0 and 1";
            return Err(ManifestError::value("cost_prior", reason));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampling(text: &str) -> Result<Sampling, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn an_old_manifest_gets_the_documented_numbers_and_its_json_does_not_change() {
        let old = sampling("flow_shift = 7.0\nsteps_max = 100").unwrap();
        assert_eq!(old.steps, StepRanges::default());
        assert_eq!(serde_json::to_string(&old).unwrap(), r#"{"flow_shift":7.0,"steps_max":100}"#);
    }

    #[test]
    fn a_manifest_may_name_the_steps_of_some_tiers() {
        let some = "flow_shift = 7.0\nsteps_max = 8\nsteps.preview = { min = 4, max = 4, fixed = 4 }";
        let some = sampling(some).unwrap();
        assert_eq!(some.steps.range(QualityTier::Preview), StepRange { min: 4, max: 4 });
        assert_eq!(some.steps.range(QualityTier::Standard), StepRange { min: 25, max: 35 });
        assert_eq!(StepRange { min: 25, max: 35 }.within(&some), StepRange { min: 8, max: 8 });
        let read: Sampling = serde_json::from_str(&serde_json::to_string(&some).unwrap()).unwrap();
        assert_eq!(read, some);
    }

    #[test]
    fn invalid_steps_are_refused_by_key() {
        let key = |text: &str| match sampling(&format!("flow_shift = 7.0\n{text}")).unwrap().check() {
            Err(ManifestError::Value { key, .. }) => key,
            other => panic!("{other:?}"),
        };
        assert_eq!(key("steps_max = 0"), "sampling.steps_max");
        assert_eq!(key("steps_max = 8\nsteps_min = 9"), "sampling.steps_min");
        let standard = |min: u32, max: u32, fixed: u32| {
            key(&format!("steps_max = 9\nsteps.standard = {{ min = {min}, max = {max}, fixed = {fixed} }}"))
        };
        assert_eq!(standard(5, 4, 4), "sampling.steps.standard.min");
        assert_eq!(standard(0, 4, 4), "sampling.steps.standard.min");
        assert_eq!(standard(4, 4, 0), "sampling.steps.standard.fixed");
        assert_eq!(key("steps_max = 9\nsteps.auto = { min = 7, max = 6 }"), "sampling.steps.auto.min");
    }

    #[test]
    fn thresholds_must_rise_from_balanced_to_fast() {
        assert!(StepCacheThresholds::default().check().is_ok());
        assert!(StepCacheThresholds { balanced: 0.06, ..StepCacheThresholds::default() }.check().is_err());
        assert!(StepCacheThresholds { balanced: 0.0, fast: 0.0 }.check().is_ok());
        assert!(StepCacheThresholds { balanced: 0.0, ..StepCacheThresholds::default() }.check().is_err());
        assert!(StepCacheThresholds { fast: 1.0, ..StepCacheThresholds::default() }.check().is_err());
        assert!(StepCacheThresholds { balanced: f64::NAN, fast: 0.5 }.check().is_err());
    }
}
