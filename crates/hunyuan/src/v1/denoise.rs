//! The denoising loop: noise to latents, step by step.
//!
//! The rule: several runs share a forward pass where they have the same number of text tokens, since there is no mask; a
//! step cache decides for each run alone. A cancel or an error between two steps loses nothing but the step.
//!
//! Upstream: `HunyuanVideoPipeline.__call__` in
//! <https://github.com/huggingface/diffusers/blob/9380e58821092ad05e618fa8a259030136ba43c0/src/diffusers/pipelines/hunyuan_video/pipeline_hunyuan_video.py>.

use std::time::Instant;

use tch::{Device, Kind, Tensor};

use super::text::Text;
use super::transformer::{Condition, Transformer};
use crate::runtime::{
    control::Control,
    embeddings::Embeddings,
    error::{Error, InOp, Result},
    run::{Denoised, OnStep, Run, StepEnd},
};

/// Numbers of text tokens of a prompt and of its negative prompt.
type TextTokens = (i64, Option<i64>);

/// Runs that share forward passes.
struct Group {
    /// Indices into the runs.
    runs: Vec<usize>,
    condition: Condition,
    negative: Option<Condition>,
}

/// The network and the formats it works in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Denoiser<'a> {
    pub(crate) transformer: &'a Transformer,
    pub(crate) device: Device,
    pub(crate) kind: Kind,
}

impl Denoiser<'_> {
    /// Takes all runs, which have latents of one shape, to their end.
    pub(crate) fn run(&self, mut runs: Vec<Run>, control: &Control, on_step: OnStep) -> Result<Vec<Denoised>> {
        let groups = self.groups(&runs)?;
        while runs.iter().any(|run| !run.is_done()) {
            let started = Instant::now();
            let mut skipped = vec![false; runs.len()];
            let mut velocities: Vec<Option<Tensor>> = Vec::with_capacity(runs.len());
            for (index, run) in runs.iter_mut().enumerate() {
                let reused = if run.is_done() { None } else { run.reuse()? };
                skipped[index] = reused.is_some();
                velocities.push(reused);
            }
            control.check()?;
            for group in &groups {
                self.compute(group, &runs, &mut velocities, control)?;
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
                let velocity_change = if run.step > 1 { run.counts.velocity_change.last().copied() } else { None };
                let (step, total, skipped) = (run.step, run.schedule.steps(), skipped[item]);
                if on_step(&StepEnd { run, item, step, total, seconds, skipped, velocity_change }).is_break() {
                    return Err(Error::Cancelled);
                }
            }
        }
        Ok(runs.into_iter().map(Run::finish).collect())
    }

    /// Sorts runs by their numbers of text tokens and prepares their conditions.
    fn groups(&self, runs: &[Run]) -> Result<Vec<Group>> {
        let mut keys: Vec<(TextTokens, Vec<usize>)> = Vec::new();
        for (index, run) in runs.iter().enumerate() {
            let tokens = |field, embeddings| Text::of(field, embeddings).map(Text::tokens);
            let negative = run.request.active_negative();
            let negative = negative.map(|(negative, _)| tokens("negative", negative)).transpose()?;
            let key = (tokens("embeddings", &run.request.embeddings)?, negative);
            match keys.iter_mut().find(|(known, _)| *known == key) {
                Some((_, members)) => members.push(index),
                None => keys.push((key, vec![index])),
            }
        }
        keys.into_iter()
            .map(|((_, negative), members)| {
                let members_of: Vec<&Run> = members.iter().map(|&index| &runs[index]).collect();
                let prompts: Vec<&Embeddings> = members_of.iter().map(|run| &run.request.embeddings).collect();
                let away: Vec<&Embeddings> = members_of
                    .iter()
                    .filter_map(|run| run.request.active_negative())
                    .map(|(negative, _)| negative)
                    .collect();
                let negative = negative.is_some().then(|| self.condition(&members_of, &away)).transpose()?;
                Ok(Group { condition: self.condition(&members_of, &prompts)?, negative, runs: members })
            })
            .collect()
    }

    /// The condition of several runs with these embeddings, which have one number of tokens.
    fn condition(&self, runs: &[&Run], embeddings: &[&Embeddings]) -> Result<Condition> {
        let join = |parts: Vec<&Tensor>| -> Result<Tensor> {
            Ok(Tensor::f_cat(&parts, 0)?.f_to_device(self.device)?.f_to_kind(self.kind)?)
        };
        let texts =
            embeddings.iter().map(|embeddings| Text::of("embeddings", embeddings)).collect::<Result<Vec<_>>>()?;
        let states = join(texts.iter().map(|text| text.prompt).collect())?;
        let pooled = join(texts.iter().map(|text| text.pooled).collect())?;
        let guidance: Vec<f64> = runs.iter().map(|run| run.request.guidance).collect();
        let (_, channels, frames, height, width) = runs[0].latents.size5()?;
        self.transformer.condition(&states, &pooled, &guidance, [channels, frames, height, width])
    }

    /// Computes the velocities that are missing among a group's unfinished runs.
    fn compute(&self, group: &Group, runs: &[Run], velocities: &mut [Option<Tensor>], control: &Control) -> Result<()> {
        let wanted: Vec<usize> = (0..group.runs.len())
            .filter(|&place| velocities[group.runs[place]].is_none() && !runs[group.runs[place]].is_done())
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let members: Vec<&Run> = wanted.iter().map(|&place| &runs[group.runs[place]]).collect();
        let latents: Vec<&Tensor> = members.iter().map(|run| &run.latents).collect();
        let latents = Tensor::f_cat(&latents, 0)?.f_to_kind(self.kind)?;
        let times: Vec<f32> = members.iter().map(|run| self.time(run)).collect::<Result<_>>()?;
        let all = wanted.len() == group.runs.len();
        let places: Vec<i64> = wanted.iter().map(|&place| place as i64).collect();
        let forward = |condition: &Condition| -> Result<Tensor> {
            let part = if all { None } else { Some(condition.select(&places)?) };
            let predicted = self.transformer.forward(&latents, &times, part.as_ref().unwrap_or(condition), control)?;
            Ok(predicted.f_to_kind(Kind::Float)?)
        };
        let mut velocity = forward(&group.condition).in_op("denoise")?;
        if let Some(negative) = &group.negative {
            let away = forward(negative).in_op("denoise")?;
            let scales: Vec<f32> = members
                .iter()
                .map(|run| run.request.active_negative().map_or(1.0, |(_, scale)| scale as f32))
                .collect();
            let scales = Tensor::f_from_slice(&scales)?.f_view([-1, 1, 1, 1, 1])?.f_to_device(self.device)?;
            velocity = velocity.f_sub_(&away)?.f_mul_(&scales)?.f_add_(&away)?;
        }
        for (row, &place) in wanted.iter().enumerate() {
            velocities[group.runs[place]] = Some(velocity.f_narrow(0, row as i64, 1)?);
        }
        Ok(())
    }

    /// The time that the network gets, rounded to its dtype as the reference does: a 16-bit model sees 996, not 997.09.
    fn time(&self, run: &Run) -> Result<f32> {
        let exact = Tensor::f_from_slice(&[run.schedule.time(run.step)])?;
        Ok(exact.f_to_kind(self.kind)?.f_to_kind(Kind::Float)?.f_double_value(&[0])? as f32)
    }
}
