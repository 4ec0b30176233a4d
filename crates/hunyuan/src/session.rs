//! The state of one job: created before it, used by its stages, dropped after it.
//!
//! The rule: an [`Engine`] holds no state of a job. The control that can stop it, its embeddings, step caches and position, and
//! everything else that a job may change live in its session; dropping the session undoes all of it, however the job ended.

use tch::Tensor;

use crate::engine::Engine;
use crate::runtime::{
    checkpoint::Checkpoint,
    control::Control,
    error::{Error, Result},
    request::DenoiseRequest,
    run::{Asked, Denoised, OnStep, Run},
};

/// One job on an engine: one video, or several of one size that are made together.
#[derive(Debug)]
pub struct Session<'e> {
    engine: &'e Engine,
    control: Control,
    /// The videos that are not denoised yet.
    runs: Vec<Run<'e>>,
}

impl<'e> Session<'e> {
    /// Checks the requests and prepares their runs at step 0.
    pub(crate) fn begin(engine: &'e Engine, requests: &'e [DenoiseRequest], control: &Control) -> Result<Self> {
        let _no_grad = tch::no_grad_guard();
        let size = |request: &DenoiseRequest| (request.width, request.height, request.frames);
        if requests.windows(2).any(|pair| size(&pair[0]) != size(&pair[1])) {
            return Err(Error::input("requests", "videos that are denoised together must have one size"));
        }
        engine.reserve_denoise(&requests.iter().collect::<Vec<_>>())?;
        let runs = requests.iter().map(|request| engine.run(Asked::Borrowed(request))).collect::<Result<_>>()?;
        Ok(Self { engine, control: control.clone(), runs })
    }

    /// Continues the only video of this session from a saved state of the same run.
    ///
    /// # Errors
    /// [`Error::Resume`] for a state of another run; the session then starts at step 0.
    pub fn resume(&mut self, saved: &Checkpoint) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        match self.runs.as_mut_slice() {
            [run] => run.resume(saved),
            runs => Err(Error::input("resume", format!("{} videos; only a single one can be resumed", runs.len()))),
        }
    }

    /// The clean latents that the model expects from the only video at its current step; none before the first.
    ///
    /// # Errors
    /// libtorch.
    pub fn estimate(&self) -> Result<Option<Tensor>> {
        let _no_grad = tch::no_grad_guard();
        match self.runs.as_slice() {
            [run] => run.estimate(),
            _ => Ok(None),
        }
    }

    /// Denoises all videos to the end; the results equal those of single runs (on a GPU but for the last bits), in the order of the
    /// requests.
    ///
    /// # Errors
    /// [`Error::Cancelled`] between blocks, [`Error::OutOfMemory`], libtorch; one video's error ends all. See
    /// [`Together`](crate::Together) for jobs with ends of their own.
    pub fn denoise(&mut self, on_step: OnStep) -> Result<Vec<Denoised>> {
        let _no_grad = tch::no_grad_guard();
        let mut rounds = self.engine.networks().rounds();
        let mut done: Vec<Option<Denoised>> = self.runs.iter().map(|_| None).collect();
        for (item, run) in std::mem::take(&mut self.runs).into_iter().enumerate() {
            rounds.add(item, run, &self.control);
        }
        while done.iter().any(Option::is_none) {
            for (item, outcome) in rounds.round(&[], on_step) {
                done[item] = Some(outcome?);
            }
        }
        Ok(done.into_iter().flatten().collect())
    }
}

impl Engine {
    /// Begins a job: one video, or several of one size that are made together.
    ///
    /// # Errors
    /// [`Error::Input`] for a request that the model does not support, [`Error::OutOfMemory`], libtorch.
    pub fn begin<'s>(&'s self, requests: &'s [DenoiseRequest], control: &Control) -> Result<Session<'s>> {
        Session::begin(self, requests, control)
    }

    /// Denoises one video in its own session, from the start or from a saved state of the same run.
    ///
    /// # Errors
    /// As [`Engine::begin`], [`Session::resume`] and [`Session::denoise`].
    pub fn denoise(
        &self,
        request: &DenoiseRequest,
        resume: Option<&Checkpoint>,
        control: &Control,
        on_step: OnStep,
    ) -> Result<Denoised> {
        let mut session = self.begin(std::slice::from_ref(request), control)?;
        if let Some(saved) = resume {
            session.resume(saved)?;
        }
        session.denoise(on_step)?.pop().ok_or_else(|| Error::input("requests", "there is none"))
    }

    /// Denoises several videos of one size in one session.
    ///
    /// # Errors
    /// As [`Engine::begin`] and [`Session::denoise`].
    pub fn denoise_batch(
        &self,
        requests: &[DenoiseRequest],
        control: &Control,
        on_step: OnStep,
    ) -> Result<Vec<Denoised>> {
        self.begin(requests, control)?.denoise(on_step)
    }
}
