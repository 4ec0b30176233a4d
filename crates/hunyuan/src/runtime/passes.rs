//! Forward passes that several runs share.
//!
//! The rule: what a run contributes to a pass (its condition, latents and times) is the same for any company. On a CPU the layers
//! compute their matrix products sample by sample (see [`crate::v1::transformer::layers`]), so there a run's bits do not depend on
//! its companions; on a GPU kernels are chosen by the number of rows, and the last bits may.

use tch::{Kind, Tensor};

use crate::runtime::{
    control::Control,
    error::{InOp, Result},
    predictor::{Lengths, Predictor, Times},
    run::Run,
};

/// What two runs must have in common to share a pass.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Key {
    text: Lengths,
    negative: Option<Lengths>,
    stretch: bool,
    latents: Vec<i64>,
}

/// What a network is given about one run at one resolution.
pub(crate) struct Prepared<C> {
    pub(crate) key: Key,
    serial: u64,
    condition: C,
    negative: Option<C>,
}

/// Conditions of several runs as one.
struct Joined<C> {
    serials: Vec<u64>,
    condition: C,
    negative: Option<C>,
}

/// Makes the passes of a loop, and keeps the conditions that it has joined as long as the same runs share them.
pub(crate) struct Passes<C> {
    joined: Vec<Joined<C>>,
    serial: u64,
}

impl<C> Default for Passes<C> {
    fn default() -> Self {
        Self { joined: Vec::new(), serial: 0 }
    }
}

impl<C> Passes<C> {
    /// Prepares a run at its present resolution.
    pub(crate) fn prepare<P: Predictor<Condition = C>>(&mut self, network: &P, run: &Run) -> Result<Prepared<C>> {
        let request = &run.request;
        let negative = request.active_negative().map(|(negative, _)| negative);
        self.serial += 1;
        Ok(Prepared {
            key: Key {
                text: network.lengths("embeddings", &request.embeddings)?,
                negative: negative.map(|negative| network.lengths("negative", negative)).transpose()?,
                stretch: request.riflex,
                latents: run.latents.size(),
            },
            serial: self.serial,
            negative: negative.map(|negative| network.condition(run, negative)).transpose()?,
            condition: network.condition(run, &request.embeddings)?,
        })
    }

    /// Frees what was joined.
    pub(crate) fn forget(&mut self) {
        self.joined.clear();
    }

    /// Velocities of runs with equal keys, one each, fp32.
    pub(crate) fn velocities<P: Predictor<Condition = C>>(
        &mut self,
        network: &P,
        runs: &[(&Run, &Prepared<C>)],
        control: &Control,
    ) -> Result<Vec<Tensor>> {
        let latents: Vec<&Tensor> = runs.iter().map(|(run, _)| &run.latents).collect();
        let latents = Tensor::f_cat(&latents, 0)?.f_to_kind(network.kind())?;
        let read = |time: &dyn Fn(&Run) -> f32| -> Result<Vec<f32>> {
            runs.iter().map(|(run, _)| rounded(network, time(run))).collect()
        };
        let times = Times {
            now: read(&|run| run.schedule.start_time(run.step))?,
            next: read(&|run| run.schedule.time(run.step + 1))?,
        };
        let forward = |condition: &C| -> Result<Tensor> {
            let predicted = network.predict(&latents, &times, condition, control)?;
            Ok(predicted.f_to_kind(Kind::Float)?)
        };
        let (condition, negative) = self.conditions(network, runs)?;
        let mut velocity = forward(condition).in_op("denoise")?;
        if let Some(negative) = negative {
            let away = forward(negative).in_op("denoise")?;
            let scales: Vec<f32> = runs
                .iter()
                .map(|(run, _)| run.request.active_negative().map_or(1.0, |(_, scale)| scale as f32))
                .collect();
            let scales = Tensor::f_from_slice(&scales)?.f_view([-1, 1, 1, 1, 1])?.f_to_device(network.device())?;
            velocity = velocity.f_sub_(&away)?.f_mul_(&scales)?.f_add_(&away)?;
        }
        (0..runs.len()).map(|row| Ok(velocity.f_narrow(0, row as i64, 1)?)).collect()
    }

    /// The condition of these runs, and that of their negative prompts.
    fn conditions<'c, P: Predictor<Condition = C>>(
        &'c mut self,
        network: &P,
        runs: &[(&Run, &'c Prepared<C>)],
    ) -> Result<(&'c C, Option<&'c C>)> {
        if let [(_, only)] = runs {
            return Ok((&only.condition, only.negative.as_ref()));
        }
        let serials: Vec<u64> = runs.iter().map(|(_, prepared)| prepared.serial).collect();
        let at = match self.joined.iter().position(|joined| joined.serials == serials) {
            Some(at) => at,
            None => {
                // A run is in one group at a time.
                self.joined.retain(|joined| !joined.serials.iter().any(|serial| serials.contains(serial)));
                let texts: Vec<&C> = runs.iter().map(|(_, prepared)| &prepared.condition).collect();
                let away: Vec<&C> = runs.iter().filter_map(|(_, prepared)| prepared.negative.as_ref()).collect();
                let condition = network.join(&texts)?;
                let negative = if away.is_empty() { None } else { Some(network.join(&away)?) };
                self.joined.push(Joined { serials, condition, negative });
                self.joined.len() - 1
            }
        };
        let joined = &self.joined[at];
        Ok((&joined.condition, joined.negative.as_ref()))
    }
}

/// A time as the network reads it, rounded to its dtype like the reference: a 16-bit model sees 996, not 997.09.
fn rounded<P: Predictor>(network: &P, time: f32) -> Result<f32> {
    let exact = Tensor::f_from_slice(&[time])?;
    Ok(exact.f_to_kind(network.kind())?.f_to_kind(Kind::Float)?.f_double_value(&[0])? as f32)
}
