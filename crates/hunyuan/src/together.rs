//! Several jobs on one engine whose forward passes are shared, each with its own end.
//!
//! The rule: who joins, leaves, fails or is stopped decides nothing for the others. On a CPU each gets the bits of its single run;
//! on a GPU the last bits may depend on who shared its passes, and [`RunCounts::companions`](crate::RunCounts::companions) says
//! that somebody did. Frames are decoded one video after the other: a decoder gains nothing from several, and its convolutions
//! over several videos differ from those over one in their last bits.

use std::rc::Rc;

use crate::engine::Engine;
use crate::runtime::{
    control::Control,
    error::{Error, Result},
    frames::Frames,
    request::DenoiseRequest,
    run::{Asked, Denoised, Latents, OnStep},
    sampler::Rounds,
    tiling::Progress,
};

/// Jobs that are denoised together. See the module.
pub struct Together<'e> {
    engine: &'e Engine,
    rounds: Box<dyn Rounds<'e> + 'e>,
    /// By the number of each.
    members: Vec<(usize, Rc<DenoiseRequest>)>,
    next: usize,
}

impl std::fmt::Debug for Together<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let members: Vec<usize> = self.members.iter().map(|(item, _)| *item).collect();
        f.debug_struct("Together").field("members", &members).finish_non_exhaustive()
    }
}

/// A job that takes part no longer.
#[derive(Debug)]
pub struct Ended {
    /// Its number, by [`Together::add`].
    pub item: usize,
    /// Its latents, or why there are none: [`Error::Cancelled`] for one that was stopped, by its control or by `on_step`.
    pub outcome: Result<Denoised>,
}

impl<'e> Together<'e> {
    /// Lets a job take part from the next round on; returns its number. Its size must be that of the others.
    ///
    /// # Errors
    /// [`Error::Input`] for a request that the model does not support or whose size is another, [`Error::OutOfMemory`] where
    /// there is no room for one more, libtorch. The others go on.
    pub fn add(&mut self, request: Rc<DenoiseRequest>, control: &Control) -> Result<usize> {
        let _no_grad = tch::no_grad_guard();
        let size = |request: &DenoiseRequest| (request.width, request.height, request.frames);
        if self.members.first().is_some_and(|(_, first)| size(first) != size(&request)) {
            return Err(Error::input("requests", "videos that are denoised together must have one size"));
        }
        let all = self.members.iter().map(|(_, one)| &**one).chain([&*request]);
        self.engine.reserve_denoise(&all.collect::<Vec<_>>())?;
        let run = self.engine.run(Asked::Shared(Rc::clone(&request)))?;
        let item = self.next;
        self.next += 1;
        self.rounds.add(item, run, control);
        self.members.push((item, request));
        Ok(item)
    }

    /// Takes a step of each job, and returns those that have come to their end, on whichever way. Checks of the shared passes count
    /// as progress of all jobs and of `waiting`; a pass is given up only when all that share it are stopped.
    ///
    /// Where memory does not suffice for several after all, the jobs are finished one after the other, each from where it is.
    pub fn round(&mut self, waiting: &[Control], on_step: OnStep) -> Vec<Ended> {
        let _no_grad = tch::no_grad_guard();
        let left = self.rounds.round(waiting, on_step);
        self.members.retain(|(item, _)| !left.iter().any(|(gone, _)| gone == item));
        left.into_iter().map(|(item, outcome)| Ended { item, outcome }).collect()
    }

    /// Decodes a job's video while the others and `waiting` wait.
    ///
    /// # Errors
    /// As [`Engine::decode`].
    pub fn decode(
        &self,
        latents: &Latents,
        control: &Control,
        waiting: &[Control],
        progress: Progress,
    ) -> Result<Frames> {
        self.engine.decode(latents, &self.beside(control, waiting), progress)
    }

    /// A handle for work of one job for which the others and `waiting` wait.
    #[must_use]
    pub fn beside(&self, control: &Control, waiting: &[Control]) -> Control {
        let others: Vec<Control> = self.rounds.controls().into_iter().chain(waiting.iter().cloned()).collect();
        Control::over(std::slice::from_ref(control), &others)
    }

    /// Jobs that take part.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether no job takes part.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether another job would share passes: not after memory did not suffice for several.
    #[must_use]
    pub fn takes_more(&self) -> bool {
        !self.rounds.one_by_one()
    }
}

impl Engine {
    /// Nobody yet; jobs join with [`Together::add`].
    #[must_use]
    pub fn together(&self) -> Together<'_> {
        Together { engine: self, rounds: self.networks().rounds(), members: Vec::new(), next: 0 }
    }
}
