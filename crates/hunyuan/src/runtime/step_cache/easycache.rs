//! EasyCache: skip while the predicted change of the output, summed since the last computed step, stays small.
//!
//! The rule, as published: the first `warmup` steps and the last are computed. `k` is the ratio of mean absolute changes of output
//! and input between the last two computed steps. Before each other step, `k * mean|x - x_prev| / mean|out_last|` is
//! added to the error, where `x_prev` is the input of the step before (computed or not); below the threshold the step
//! is skipped and gives `x + (out - x)` of the last computed step, else it is computed and the error starts again at 0.
//! Everything happens in latent space, so the state is three latents and two numbers.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::{Position, StepCache, StepCacheState};
use crate::runtime::error::{Error, Result};

/// The published setting for this model.
const DEFAULT_THRESHOLD: f64 = 0.025;
const DEFAULT_WARMUP_STEPS: usize = 5;

/// Numbers of the method.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EasyCacheConfig {
    /// Summed relative change of the output at which a step is computed again. Larger is faster and less exact.
    pub threshold: f64,
    /// Steps at the start that are always computed.
    pub warmup_steps: usize,
}

impl Default for EasyCacheConfig {
    fn default() -> Self {
        Self { threshold: DEFAULT_THRESHOLD, warmup_steps: DEFAULT_WARMUP_STEPS }
    }
}

/// See the module.
#[derive(Debug)]
pub struct EasyCache {
    config: EasyCacheConfig,
    /// Input of the step before, computed or not.
    previous: Option<Tensor>,
    /// Input and output of the last computed step.
    computed: Option<(Tensor, Tensor)>,
    k: Option<f64>,
    error: f64,
}

impl EasyCache {
    /// An empty cache.
    ///
    /// # Errors
    /// A threshold that is not a number from 0 up.
    pub fn new(config: EasyCacheConfig) -> Result<Self> {
        if !(config.threshold.is_finite() && config.threshold >= 0.0) {
            return Err(Error::input("step_cache", format!("threshold {}; give a number from 0 up", config.threshold)));
        }
        Ok(Self { config, previous: None, computed: None, k: None, error: 0.0 })
    }

    /// Adds this step's predicted change to the error; whether it stays below the threshold.
    fn may_skip(&mut self, input: &Tensor) -> Result<bool> {
        let (Some(previous), Some((_, output)), Some(k)) = (&self.previous, &self.computed, self.k) else {
            return Ok(false);
        };
        self.error += k * mean_change(input, previous)? / mean_size(output)?;
        if self.error < self.config.threshold {
            return Ok(true);
        }
        self.error = 0.0;
        Ok(false)
    }
}

impl StepCache for EasyCache {
    fn reuse(&mut self, position: Position, input: &Tensor) -> Result<Option<Tensor>> {
        let always = position.step < self.config.warmup_steps || position.step + 1 >= position.total;
        let skip = if always {
            self.error = 0.0;
            false
        } else {
            self.may_skip(input)?
        };
        self.previous = Some(input.shallow_clone());
        match &self.computed {
            Some((at, output)) if skip => Ok(Some(output.f_sub(at)?.f_add_(input)?)),
            _ => Ok(None),
        }
    }

    fn observe(&mut self, input: &Tensor, velocity: &Tensor) -> Result<()> {
        if let Some((at, output)) = &self.computed {
            self.k = Some(mean_change(velocity, output)? / mean_change(input, at)?);
        }
        self.computed = Some((input.shallow_clone(), velocity.shallow_clone()));
        Ok(())
    }

    fn save(&self) -> StepCacheState {
        let mut state = StepCacheState::default();
        state.numbers.insert("error".to_owned(), self.error);
        if let Some(k) = self.k {
            state.numbers.insert("k".to_owned(), k);
        }
        let mut keep = |name: &str, tensor: &Tensor| state.tensors.insert(name.to_owned(), tensor.shallow_clone());
        if let Some(previous) = &self.previous {
            keep("previous", previous);
        }
        if let Some((input, output)) = &self.computed {
            keep("computed_input", input);
            keep("computed_output", output);
        }
        state
    }

    fn restore(&mut self, state: &StepCacheState) -> Result<()> {
        self.error = state.number("error")?;
        self.k = state.numbers.get("k").copied();
        self.previous = state.tensor("previous");
        self.computed = match (state.tensor("computed_input"), state.tensor("computed_output")) {
            (Some(input), Some(output)) => Some((input, output)),
            (None, None) => None,
            _ => return Err(Error::resume("step cache with half of its last computed step")),
        };
        Ok(())
    }
}

/// Mean absolute difference.
fn mean_change(left: &Tensor, right: &Tensor) -> Result<f64> {
    mean_size(&left.f_sub(right)?)
}

/// Mean absolute value.
fn mean_size(tensor: &Tensor) -> Result<f64> {
    Ok(tensor.f_abs()?.f_mean(Kind::Float)?.f_double_value(&[])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a run did at each step, with a "network" given as (input, output) pairs computed by hand.
    fn decisions(cache: &mut EasyCache, from: usize, pairs: &[(f32, f32)]) -> Vec<Option<f32>> {
        let total = from + pairs.len();
        let scalar = |value: f32| Tensor::from_slice(&[value, -value]);
        let mut seen = Vec::new();
        for (offset, &(input, output)) in pairs.iter().enumerate() {
            let input = scalar(input);
            let reused = cache.reuse(Position { step: from + offset, total }, &input).unwrap();
            if reused.is_none() {
                cache.observe(&input, &scalar(output)).unwrap();
            }
            seen.push(reused.map(|tensor| tensor.double_value(&[0]) as f32));
        }
        seen
    }

    /// Inputs move by 0.5 a step. Outputs of the computed steps: 1.0, 1.25 (k = 0.25 / 0.5 = 0.5).
    /// Step 2: error 0.5 * 0.5 / 1.25 = 0.2 < 0.5: skip, x + (out - x)_cached = 9.0 + (1.25 - 9.5) = 0.75.
    /// Step 3: error 0.4 < 0.5: skip, 8.5 - 8.25 = 0.25. Step 4: error 0.6: compute 2.0; k = 0.75 / 1.5 = 0.5, from the
    /// inputs 9.5 and 8.0 of the two computed steps. Step 5: error 0.5 * 0.5 / 2.0 = 0.125: skip, 7.5 + (2.0 - 8.0) = 1.5.
    /// Step 6 is the last: computed though the error would be 0.25.
    const RUN: [(f32, f32); 7] = [(10.0, 1.0), (9.5, 1.25), (9.0, 7.0), (8.5, 7.0), (8.0, 2.0), (7.5, 7.0), (7.0, 2.0)];
    const WANTED: [Option<f32>; 7] = [None, None, Some(0.75), Some(0.25), None, Some(1.5), None];

    fn fresh() -> EasyCache {
        EasyCache::new(EasyCacheConfig { threshold: 0.5, warmup_steps: 2 }).unwrap()
    }

    #[test]
    fn decisions_follow_the_published_rule() {
        assert_eq!(decisions(&mut fresh(), 0, &RUN), WANTED);
    }

    #[test]
    fn a_restored_cache_decides_the_same_from_every_step() {
        for split in 0..RUN.len() {
            let mut before = fresh();
            // `total` of the first half must be the whole run's, or its last step would always be computed.
            let mut seen = Vec::new();
            for (step, &(input, output)) in RUN[..split].iter().enumerate() {
                let at = Tensor::from_slice(&[input, -input]);
                let reused = before.reuse(Position { step, total: RUN.len() }, &at).unwrap();
                if reused.is_none() {
                    before.observe(&at, &Tensor::from_slice(&[output, -output])).unwrap();
                }
                seen.push(reused.map(|tensor| tensor.double_value(&[0]) as f32));
            }
            let mut after = fresh();
            after.restore(&before.save()).unwrap();
            seen.extend(decisions(&mut after, split, &RUN[split..]));
            assert_eq!(seen, WANTED, "split at {split}");
        }
    }

    #[test]
    fn warmup_is_computed_whatever_the_threshold() {
        let mut cache = EasyCache::new(EasyCacheConfig { threshold: 1e9, warmup_steps: 5 }).unwrap();
        let steady: Vec<(f32, f32)> = (0..8).map(|step| (10.0 - step as f32, 1.0 + step as f32)).collect();
        let skipped: Vec<bool> = decisions(&mut cache, 0, &steady).iter().map(Option::is_some).collect();
        assert_eq!(skipped, [false, false, false, false, false, true, true, false]);
    }

    #[test]
    fn a_threshold_of_zero_never_skips() {
        let mut cache = EasyCache::new(EasyCacheConfig { threshold: 0.0, warmup_steps: 1 }).unwrap();
        assert!(decisions(&mut cache, 0, &RUN).iter().all(Option::is_none));
    }

    #[test]
    fn half_a_state_is_refused() {
        let mut state = fresh().save();
        state.tensors.insert("computed_input".to_owned(), Tensor::from_slice(&[1.0_f32]));
        assert!(matches!(fresh().restore(&state), Err(Error::Resume { .. })));
    }
}
