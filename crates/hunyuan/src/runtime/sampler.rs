//! The denoising loop of every family: noise to latents, step by step.
//!
//! The rule: several runs share a forward pass where the parts of their text have the same lengths, since there is no mask; a
//! step cache decides for each run alone. A cancel or an error between two steps loses nothing but the step. What a network is given
//! is up to its family, as a [`Predictor`].

use std::time::Instant;

use tch::{Device, Kind, Tensor};

use crate::runtime::{
    control::Control,
    embeddings::Embeddings,
    error::{Error, InOp, Result},
    run::{Denoised, OnStep, Run, StepEnd},
};

/// Lengths of the parts of a prompt's text, in tokens.
pub(crate) type Lengths = [i64; 2];

/// The times of a step, one a sample, as the network counts them (1000 to 0).
#[derive(Debug)]
pub struct Times {
    /// At its start.
    pub now: Vec<f32>,
    /// At its end.
    pub next: Vec<f32>,
}

/// A family's transformer and the formats it works in.
pub(crate) trait Predictor {
    /// What it is given about several runs that no step changes.
    type Condition;

    /// Where it computes.
    fn device(&self) -> Device;

    /// Its number format.
    fn kind(&self) -> Kind;

    /// Lengths of a prompt's text; runs with equal ones can share passes. `field` names the embeddings in an error.
    fn lengths(&self, field: &'static str, embeddings: &Embeddings) -> Result<Lengths>;

    /// The condition of several runs with these embeddings, whose lengths are equal.
    fn condition(&self, runs: &[&Run], embeddings: &[&Embeddings]) -> Result<Self::Condition>;

    /// The condition of some of its runs.
    fn select(&self, condition: &Self::Condition, samples: &[i64]) -> Result<Self::Condition>;

    /// Velocity of `latents` at `times`, in [`Predictor::kind`].
    fn predict(
        &self,
        latents: &Tensor,
        times: &Times,
        condition: &Self::Condition,
        control: &Control,
    ) -> Result<Tensor>;
}

/// Runs that share forward passes.
struct Group<C> {
    /// Indices into the runs.
    runs: Vec<usize>,
    condition: C,
    negative: Option<C>,
}

/// Takes all runs, whose videos have one size, to their end.
pub(crate) fn denoise<P: Predictor>(
    network: &P,
    mut runs: Vec<Run>,
    control: &Control,
    on_step: OnStep,
) -> Result<Vec<Denoised>> {
    let mut groups = groups_of(network, &runs)?;
    while runs.iter().any(|run| !run.is_done()) {
        let started = Instant::now();
        if raise(&mut runs)? {
            groups = groups_of(network, &runs)?;
        }
        let mut skipped = vec![false; runs.len()];
        let mut velocities: Vec<Option<Tensor>> = Vec::with_capacity(runs.len());
        for (index, run) in runs.iter_mut().enumerate() {
            let reused = if run.is_done() { None } else { run.reuse()? };
            skipped[index] = reused.is_some();
            velocities.push(reused);
        }
        control.check()?;
        for group in &groups {
            compute(network, group, &runs, &mut velocities, control)?;
        }
        let moved: Vec<usize> = (0..runs.len()).filter(|&index| velocities[index].is_some()).collect();
        for (index, velocity) in velocities.into_iter().enumerate() {
            if let Some(velocity) = velocity {
                runs[index].advance(velocity, skipped[index])?;
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        for item in moved {
            let run = &runs[item];
            let (step, total, skipped, velocity_change) =
                (run.step, run.schedule.steps(), skipped[item], run.velocity_change);
            if on_step(&StepEnd { run, item, step, total, seconds, skipped, velocity_change }).is_break() {
                return Err(Error::Cancelled);
            }
        }
    }
    Ok(runs.into_iter().map(Run::finish).collect())
}

/// Brings runs whose steps at a lower resolution are over to the full one; whether there were any.
fn raise(runs: &mut [Run]) -> Result<bool> {
    let mut any = false;
    for run in runs {
        any |= run.raise_if_due()?;
    }
    Ok(any)
}

/// Sorts runs by the lengths of their text and the size of their latents, and prepares their conditions.
fn groups_of<P: Predictor>(network: &P, runs: &[Run]) -> Result<Vec<Group<P::Condition>>> {
    // Lengths of the text and of the negative text, whether positions are stretched, the latents' size, and the runs that have them.
    type Members = ((Lengths, Option<Lengths>, bool, Vec<i64>), Vec<usize>);
    let mut keys: Vec<Members> = Vec::new();
    for (index, run) in runs.iter().enumerate() {
        let negative = run.request.active_negative();
        let negative = negative.map(|(negative, _)| network.lengths("negative", negative)).transpose()?;
        let lengths = network.lengths("embeddings", &run.request.embeddings)?;
        let key = (lengths, negative, run.request.riflex, run.latents.size());
        match keys.iter_mut().find(|(known, _)| *known == key) {
            Some((_, members)) => members.push(index),
            None => keys.push((key, vec![index])),
        }
    }
    keys.into_iter()
        .map(|((_, negative, ..), members)| {
            let members_of: Vec<&Run> = members.iter().map(|&index| &runs[index]).collect();
            let prompts: Vec<&Embeddings> = members_of.iter().map(|run| &run.request.embeddings).collect();
            let away: Vec<&Embeddings> = members_of
                .iter()
                .filter_map(|run| run.request.active_negative())
                .map(|(negative, _)| negative)
                .collect();
            let negative = negative.is_some().then(|| network.condition(&members_of, &away)).transpose()?;
            Ok(Group { condition: network.condition(&members_of, &prompts)?, negative, runs: members })
        })
        .collect()
}

/// Computes the velocities that are missing among a group's unfinished runs.
fn compute<P: Predictor>(
    network: &P,
    group: &Group<P::Condition>,
    runs: &[Run],
    velocities: &mut [Option<Tensor>],
    control: &Control,
) -> Result<()> {
    let wanted: Vec<usize> = (0..group.runs.len())
        .filter(|&place| velocities[group.runs[place]].is_none() && !runs[group.runs[place]].is_done())
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let members: Vec<&Run> = wanted.iter().map(|&place| &runs[group.runs[place]]).collect();
    let latents: Vec<&Tensor> = members.iter().map(|run| &run.latents).collect();
    let latents = Tensor::f_cat(&latents, 0)?.f_to_kind(network.kind())?;
    let read = |time: &dyn Fn(&Run) -> f32| -> Result<Vec<f32>> {
        members.iter().map(|run| rounded(network, time(run))).collect()
    };
    let times = Times {
        now: read(&|run| run.schedule.start_time(run.step))?,
        next: read(&|run| run.schedule.time(run.step + 1))?,
    };
    let all = wanted.len() == group.runs.len();
    let places: Vec<i64> = wanted.iter().map(|&place| place as i64).collect();
    let forward = |condition: &P::Condition| -> Result<Tensor> {
        let part = if all { None } else { Some(network.select(condition, &places)?) };
        let predicted = network.predict(&latents, &times, part.as_ref().unwrap_or(condition), control)?;
        Ok(predicted.f_to_kind(Kind::Float)?)
    };
    let mut velocity = forward(&group.condition).in_op("denoise")?;
    if let Some(negative) = &group.negative {
        let away = forward(negative).in_op("denoise")?;
        let scales: Vec<f32> =
            members.iter().map(|run| run.request.active_negative().map_or(1.0, |(_, scale)| scale as f32)).collect();
        let scales = Tensor::f_from_slice(&scales)?.f_view([-1, 1, 1, 1, 1])?.f_to_device(network.device())?;
        velocity = velocity.f_sub_(&away)?.f_mul_(&scales)?.f_add_(&away)?;
    }
    for (row, &place) in wanted.iter().enumerate() {
        velocities[group.runs[place]] = Some(velocity.f_narrow(0, row as i64, 1)?);
    }
    Ok(())
}

/// A time as the network reads it, rounded to its dtype like the reference: a 16-bit model sees 996, not 997.09.
fn rounded<P: Predictor>(network: &P, time: f32) -> Result<f32> {
    let exact = Tensor::f_from_slice(&[time])?;
    Ok(exact.f_to_kind(network.kind())?.f_to_kind(Kind::Float)?.f_double_value(&[0])? as f32)
}
