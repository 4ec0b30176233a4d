//! The flow-match schedule: which noise levels a run visits, and the Euler step between two of them.
//!
//! The rule: all in fp32 and in the reference's order of operations, because these numbers are inputs of the network. Latents
//! stay fp32 in every dtype.
//!
//! Upstream: `FlowMatchEulerDiscreteScheduler` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/schedulers/scheduling_flow_match_euler_discrete.py>.

use tch::{Kind, Tensor};

use crate::runtime::{
    error::{Error, Result},
    progressive::raised_level,
};

/// Most steps that a request may ask for: as many as the model was trained with.
const MAX_STEPS: usize = 1000;

/// The noise levels of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    sigmas: Vec<f32>,
    train_timesteps: f32,
    /// The step before which the latents grow, and the level at which it then begins.
    raised: Option<(usize, f32)>,
}

impl Schedule {
    /// `steps + 1` levels from 1 to 0, bent by `shift` towards the noisy end.
    ///
    /// If `reverse` is false, the levels run from 0 to 1: the reference's inverted sigmas.
    ///
    /// # Errors
    /// No steps, too many, or a shift that is not positive.
    pub fn new(steps: usize, shift: f64, reverse: bool, train_timesteps: i64) -> Result<Self> {
        if steps == 0 || steps > MAX_STEPS {
            return Err(Error::input("steps", format!("{steps}; give 1 to {MAX_STEPS}")));
        }
        if !(shift.is_finite() && shift > 0.0) {
            return Err(Error::input("flow_shift", format!("{shift}; give a number above 0")));
        }
        let (factor, excess) = (shift as f32, (shift - 1.0) as f32);
        let mut sigmas: Vec<f32> = (0..steps)
            .map(|step| {
                let even = linspace_down(step, steps) as f32;
                factor * even / (1.0 + excess * even)
            })
            .collect();
        if !reverse {
            for sigma in &mut sigmas {
                *sigma = 1.0 - *sigma;
            }
        }
        sigmas.push(if reverse { 0.0 } else { 1.0 });
        Ok(Self { sigmas, train_timesteps: train_timesteps as f32, raised: None })
    }

    /// The levels of a run that took the first `after` steps of `draft` and goes on along this schedule: the draft's levels,
    /// then those of this one that lie beyond. Both must have the same shift, so a level lies beyond exactly when its share
    /// of the steps is larger. With equal schedules nothing changes.
    #[must_use]
    pub(crate) fn after_draft(&self, draft: &Self, after: usize) -> Self {
        let passed = after * self.steps() / draft.steps();
        let sigmas = draft.sigmas[..=after].iter().chain(&self.sigmas[passed + 1..]).copied().collect();
        Self { sigmas, train_timesteps: self.train_timesteps, raised: None }
    }

    /// The levels of a run whose first `steps` are those of `lower` and whose latents then grow by `ratio`; see
    /// [`crate::runtime::progressive`].
    ///
    /// # Errors
    /// No step is left for the full size, or the level after the change lies below that of the step which follows.
    pub(crate) fn raised_after(mut self, lower: &Self, steps: usize, ratio: f64) -> Result<Self> {
        if steps >= self.steps() || steps >= lower.steps() {
            let reason =
                format!("{steps} steps at the lower resolution leave none of {} at the full one", self.steps());
            return Err(Error::input("progressive", reason));
        }
        let level = raised_level(f64::from(lower.sigmas[steps]), ratio) as f32;
        if level <= self.sigmas[steps + 1] {
            let reason = "the shift of its lower resolution is too small: the next level of the full one is not below";
            return Err(Error::input("progressive", reason));
        }
        self.sigmas[..=steps].copy_from_slice(&lower.sigmas[..=steps]);
        self.raised = Some((steps, level));
        Ok(self)
    }

    /// All levels, one more than steps. Where the latents grow, the level before that.
    #[must_use]
    pub fn sigmas(&self) -> &[f32] {
        &self.sigmas
    }

    /// Number of steps.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.sigmas.len() - 1
    }

    /// The level of `step` as the network reads it: 0 to 1000.
    #[must_use]
    pub fn time(&self, step: usize) -> f32 {
        self.sigmas[step] * self.train_timesteps
    }

    /// The level at which `step` begins: that of the step before, unless the latents grow in between.
    fn start(&self, step: usize) -> f32 {
        self.raised.filter(|(at, _)| *at == step).map_or(self.sigmas[step], |(_, level)| level)
    }

    /// The level at which `step` begins, as the network reads it: 0 to 1000.
    #[must_use]
    pub fn start_time(&self, step: usize) -> f32 {
        self.start(step) * self.train_timesteps
    }

    /// Moves fp32 `latents` along `velocity` from the level at which `step` begins to the next.
    ///
    /// # Errors
    /// libtorch.
    pub(crate) fn advance(&self, step: usize, latents: &Tensor, velocity: &Tensor) -> Result<Tensor> {
        let distance = self.sigmas[step + 1] - self.start(step);
        let mut moved = velocity.f_to_kind(Kind::Float)?.f_mul_scalar(f64::from(distance))?;
        Ok(moved.f_add_(latents)?)
    }
}

/// Value `step` of `steps + 1` even ones from 1 to 0, rounded as a table of `start + step * distance` is.
fn linspace_down(step: usize, steps: usize) -> f64 {
    1.0 + step as f64 * (-1.0 / steps as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifty_steps_at_the_released_shift() {
        let schedule = Schedule::new(50, 7.0, true, 1000).unwrap();
        let sigmas = schedule.sigmas();
        assert_eq!(sigmas.len(), 51);
        for (index, wanted) in
            [(0, 1.0), (1, 0.99709), (2, 0.99408), (46, 0.3784), (47, 0.3088), (48, 0.2258), (49, 0.125), (50, 0.0)]
        {
            assert!((sigmas[index] - wanted).abs() < 5e-5, "sigma {index} is {}, not {wanted}", sigmas[index]);
        }
        assert_eq!(schedule.time(0), 1000.0);
    }

    #[test]
    fn a_run_goes_on_from_its_drafts_level_along_a_finer_schedule() {
        let schedule = |steps| Schedule::new(steps, 3.0, true, 1000).unwrap();
        let (draft, fine) = (schedule(15), schedule(50));
        let joined = fine.after_draft(&draft, 4);
        assert_eq!(joined.sigmas()[..=4], draft.sigmas()[..=4]);
        // 4 of 15 lies between 13 and 14 of 50.
        assert_eq!(joined.sigmas()[5..], fine.sigmas()[14..]);
        assert_eq!(joined.steps(), 4 + 37);
        assert!(joined.sigmas().windows(2).all(|pair| pair[0] > pair[1]), "{:?}", joined.sigmas());
        // 6 of 25 is exactly 12 of 50, which is not taken twice.
        let joined = fine.after_draft(&schedule(25), 6);
        assert!(joined.sigmas().windows(2).all(|pair| pair[0] > pair[1]), "{:?}", joined.sigmas());
        assert_eq!(draft.after_draft(&draft, 4), draft, "the same schedule stays as it is");
        assert_eq!(fine.after_draft(&draft, 15).steps(), 15, "nothing is left after a whole draft");
    }

    #[test]
    fn a_first_part_with_the_shift_over_the_ratio_ends_at_the_runs_own_level() {
        let fine = || Schedule::new(25, 3.0, true, 1000).unwrap();
        let raised = fine().raised_after(&Schedule::new(25, 1.5, true, 1000).unwrap(), 8, 2.0).unwrap();
        assert_eq!(raised.sigmas()[9..], fine().sigmas()[9..], "the second part is the run's own");
        assert!((raised.start_time(8) - fine().time(8)).abs() < 1e-3, "{} {}", raised.start_time(8), fine().time(8));
        assert!(raised.time(8) < raised.start_time(8) && raised.start_time(7) == raised.time(7));
        // With the run's own shift the change goes back to an earlier level.
        let rewound = fine().raised_after(&fine(), 8, 2.0).unwrap();
        assert!(rewound.start_time(8) > fine().time(8) && rewound.time(8) == fine().time(8));
        assert!(fine().raised_after(&fine(), 25, 2.0).is_err(), "nothing is left");
        assert!(
            fine().raised_after(&Schedule::new(25, 0.5, true, 1000).unwrap(), 8, 2.0).is_err(),
            "the level would fall"
        );
    }

    #[test]
    fn inverted_levels_rise_to_one() {
        let down = Schedule::new(8, 3.0, true, 1000).unwrap();
        let up = Schedule::new(8, 3.0, false, 1000).unwrap();
        assert_eq!(up.sigmas()[0], 0.0);
        assert_eq!(up.sigmas()[8], 1.0);
        for step in 0..8 {
            assert_eq!(up.sigmas()[step], 1.0 - down.sigmas()[step]);
            assert!(up.sigmas()[step] < up.sigmas()[step + 1]);
        }
    }

    #[test]
    fn impossible_schedules_are_refused_by_name() {
        for (steps, shift, field) in
            [(0, 7.0, "steps"), (1001, 7.0, "steps"), (10, 0.0, "flow_shift"), (10, f64::NAN, "flow_shift")]
        {
            let error = Schedule::new(steps, shift, true, 1000).unwrap_err();
            assert!(matches!(error, Error::Input { field: name, .. } if name == field), "{error}");
        }
    }

    #[test]
    fn a_step_moves_by_the_difference_of_levels() {
        let schedule = Schedule::new(2, 1.0, true, 1000).unwrap();
        let moved =
            schedule.advance(0, &Tensor::from_slice(&[1.0_f32, 2.0]), &Tensor::from_slice(&[2.0_f32, -4.0])).unwrap();
        assert_eq!(Vec::<f32>::try_from(&moved).unwrap(), [0.0, 4.0]);
    }
}
