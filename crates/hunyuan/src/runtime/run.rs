//! One video between noise and latents.
//!
//! The rule: a run either reaches the next step boundary or stays where it is; everything that decides the rest of it is in its
//! checkpoint.

use std::ops::{ControlFlow, Deref};
use std::rc::Rc;

use tch::{Device, Kind, Tensor};

use crate::runtime::{
    checkpoint::{Checkpoint, Identity},
    error::{Error, InOp, Result},
    finite,
    flow_match::Schedule,
    progressive::Raise,
    request::DenoiseRequest,
    step_cache::{Position, StepCache, StepCacheConfig, StepCacheState},
};

/// The result of a run.
#[derive(Debug)]
pub struct Denoised {
    /// Latents of the video.
    pub latents: Latents,
    /// What the run took.
    pub counts: RunCounts,
}

/// Latents of one video, ready to decode.
#[derive(Debug)]
pub struct Latents {
    /// `[1, channels, frames, height, width]` fp32, on the model's device.
    pub tensor: Tensor,
    /// Pixels of the video.
    pub width: i64,
    /// Pixels of the video.
    pub height: i64,
    /// Frames of the video.
    pub frames: i64,
}

/// Steps of a run and how its predictions settled.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunCounts {
    /// Steps for which the network ran.
    pub computed: usize,
    /// Steps taken from the step cache.
    pub skipped: usize,
    /// Of these, computed and skipped at the lower resolution.
    pub lower: [usize; 2],
    /// Other runs in the forward passes of its computed steps, added up over the steps; 0 for a run that had them alone. On a GPU
    /// such a run may differ from a single one in its last bits, since matrix products of other sizes may use other kernels.
    pub companions: usize,
    /// `mean|v - v_before| / mean|v_before|` of each step but the first of a resolution: the predicted velocity's
    /// relative change, an estimate of the local error of the Euler steps.
    pub velocity_change: Vec<f64>,
}

/// A step boundary, shown to the caller.
#[derive(Debug)]
pub struct StepEnd<'a> {
    pub(crate) run: &'a Run<'a>,
    /// Which request of the batch; 0 for a single one.
    pub item: usize,
    /// Steps done.
    pub step: usize,
    /// Steps in all.
    pub total: usize,
    /// Seconds that the step took; for a batch, of the whole round.
    pub seconds: f64,
    /// This run's share of them: its part of the forward passes that it shared, and what was done for it alone.
    pub share_s: f64,
    /// Runs in this step's forward pass, this one included; 0 for a step from the step cache.
    pub members: usize,
    /// Whether the step came from the step cache.
    pub skipped: bool,
    /// Relative change of the velocity, from the second step on.
    pub velocity_change: Option<f64>,
}

impl StepEnd<'_> {
    /// Latents after this step, `[1, channels, frames, height, width]` fp32.
    pub fn latents(&self) -> &Tensor {
        &self.run.latents
    }

    /// The velocity of this step, same shape, fp32.
    #[must_use]
    pub fn velocity(&self) -> Option<&Tensor> {
        self.run.velocity.as_ref()
    }

    /// The clean latents that the model expects from here, of [`StepEnd::latents`]' shape; see [`super::preview`].
    ///
    /// # Errors
    /// libtorch.
    pub fn estimate(&self) -> Result<Option<Tensor>> {
        self.run.estimate()
    }

    /// Noise level after this step, 1 to 0.
    #[must_use]
    pub fn sigma(&self) -> f64 {
        self.run.sigma()
    }

    /// The state after this step. Cheap; the copying is in [`Checkpoint::to_bytes`].
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        self.run.checkpoint()
    }
}

/// Called after each step of each run; `Break` ends that run with [`Error::Cancelled`].
pub type OnStep<'a> = &'a mut dyn FnMut(&StepEnd) -> ControlFlow<()>;

/// A request that its caller keeps, or that the run keeps for itself.
#[derive(Debug)]
pub(crate) enum Asked<'a> {
    Borrowed(&'a DenoiseRequest),
    Shared(Rc<DenoiseRequest>),
}

impl Deref for Asked<'_> {
    type Target = DenoiseRequest;

    fn deref(&self) -> &DenoiseRequest {
        match self {
            Self::Borrowed(request) => request,
            Self::Shared(request) => request,
        }
    }
}

/// One video between two steps.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) request: Asked<'a>,
    identity: Identity,
    pub(crate) schedule: Schedule,
    cache: Option<Box<dyn StepCache>>,
    pub(crate) latents: Tensor,
    velocity: Option<Tensor>,
    pub(crate) step: usize,
    pub(crate) counts: RunCounts,
    /// Of the last step.
    pub(crate) velocity_change: Option<f64>,
    /// Height and width of the finished video, in latents.
    pub(crate) full: [i64; 2],
    /// The change to the full size that is still to come.
    raise: Option<(Raise, Tensor)>,
}

impl<'a> Run<'a> {
    /// A run before its first step. `noise` is fp32 and of the full size.
    pub(crate) fn new(
        request: Asked<'a>,
        identity: Identity,
        schedule: Schedule,
        noise: &Tensor,
        device: Device,
    ) -> Result<Self> {
        let noise = noise.f_to_kind(Kind::Float)?.f_to_device(device).in_op("noise")?;
        let (_, _, _, height, width) = noise.size5()?;
        let full = [height, width];
        let raise = match lower_size(&request, full) {
            Some(lower) => Some(Raise::new(lower, full, device)?),
            None => None,
        };
        let latents = match &raise {
            Some(raise) => raise.low_band(&noise).in_op("progressive")?,
            None => noise.shallow_clone(),
        };
        Ok(Self {
            cache: request.draft.map_or(request.step_cache, |draft| draft.step_cache).start()?,
            latents,
            full,
            raise: raise.map(|raise| (raise, noise)),
            request,
            identity,
            schedule,
            velocity: None,
            step: 0,
            counts: RunCounts::default(),
            velocity_change: None,
        })
    }

    /// Moves to the saved step boundary, or leaves the run as it is and returns the reason.
    pub(crate) fn resume(&mut self, saved: &Checkpoint) -> Result<()> {
        let of_draft = self.continues(saved);
        if let (false, Some(difference)) = (of_draft, self.identity.difference(&saved.identity)) {
            return Err(Error::resume(difference));
        }
        if saved.step > self.schedule.steps() || saved.latents.size() != self.size_after(saved.step) {
            return Err(Error::resume(format!("step {} with latents {:?}", saved.step, saved.latents.size())));
        }
        let device = self.latents.device();
        let here = |tensor: &Tensor| tensor.f_to_device(device).in_op("resume");
        // Everything that can fail happens first, so that a refused state leaves the run at its start.
        let mut cache = self.cache_config(saved.step).start()?;
        let saved_cache = saved.step_cache.as_ref().filter(|_| !of_draft);
        match (&mut cache, saved_cache) {
            (Some(cache), Some(state)) => {
                let mut state_here = StepCacheState { numbers: state.numbers.clone(), ..Default::default() };
                for (name, tensor) in &state.tensors {
                    state_here.tensors.insert(name.clone(), here(tensor)?);
                }
                cache.restore(&state_here)?;
            }
            (None, None) => {}
            _ => return Err(Error::resume("step cache state and setting do not match")),
        }
        let (latents, velocity) = (here(&saved.latents)?, saved.velocity.as_ref().map(here).transpose()?);
        (self.cache, self.latents, self.velocity, self.step) = (cache, latents, velocity, saved.step);
        self.velocity_change = None;
        if self.step > self.lower_steps() {
            self.raise = None;
        }
        self.counts = RunCounts {
            computed: saved.computed,
            skipped: saved.skipped,
            lower: saved.lower,
            companions: saved.companions,
            velocity_change: saved.velocity_change.clone(),
        };
        Ok(())
    }

    /// Whether a saved state is the draft of this run, at the step where the run goes on in its own way.
    fn continues(&self, saved: &Checkpoint) -> bool {
        let after = self.request.draft.map(|draft| draft.after);
        after == Some(saved.step) && self.identity.of_draft().as_ref() == Some(&saved.identity)
    }

    /// The step cache in force after `step` steps: the draft's up to its last step, then the run's own.
    fn cache_config(&self, step: usize) -> StepCacheConfig {
        match self.request.draft {
            Some(draft) if step < draft.after => draft.step_cache,
            _ => self.request.step_cache,
        }
    }

    /// Steps at the lower resolution; 0 for a run without one.
    fn lower_steps(&self) -> usize {
        self.request.progressive.map_or(0, |progressive| progressive.steps)
    }

    /// Size of the latents after `step` steps. Those after the last step at the lower resolution still have its size: the change
    /// belongs to the next step, so that a preview or a draft of that moment shows what was computed.
    fn size_after(&self, step: usize) -> Vec<i64> {
        let mut size = self.latents.size();
        let lower = lower_size(&self.request, self.full).filter(|_| step <= self.lower_steps());
        let [height, width] = lower.unwrap_or(self.full);
        size.splice(3.., [height, width]);
        size
    }

    /// Brings the latents to the full size if the steps at the lower one are over; whether they were. Nothing of the run changes
    /// if it fails. The solver's memory ends here: step cache and velocity belong to the lower resolution.
    pub(crate) fn raise_if_due(&mut self) -> Result<bool> {
        let Some((raise, noise)) = self.raise.as_ref().filter(|_| self.step == self.lower_steps()) else {
            return Ok(false);
        };
        let latents = raise.apply(&self.latents, noise, self.sigma()).in_op("progressive")?;
        self.cache = self.cache_config(self.step).start()?;
        (self.latents, self.velocity, self.raise) = (latents, None, None);
        Ok(true)
    }

    /// Noise level after the last step.
    pub(crate) fn sigma(&self) -> f64 {
        f64::from(self.schedule.sigmas()[self.step])
    }

    /// The clean latents that the model expects; none before the first step, and for inverted levels, where they mean
    /// something else.
    pub(crate) fn estimate(&self) -> Result<Option<Tensor>> {
        let Some(velocity) = self.velocity.as_ref().filter(|_| self.request.flow_reverse) else { return Ok(None) };
        Ok(Some(self.latents.f_sub(&velocity.f_mul_scalar(self.sigma())?)?))
    }

    fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            identity: self.identity.clone(),
            step: self.step,
            latents: self.latents.shallow_clone(),
            velocity: self.velocity.as_ref().map(Tensor::shallow_clone),
            embeddings: self.request.embeddings.share(),
            negative: self.request.active_negative().map(|(embeddings, _)| embeddings.share()),
            step_cache: self.cache.as_ref().map(|cache| cache.save()),
            computed: self.counts.computed,
            skipped: self.counts.skipped,
            lower: self.counts.lower,
            companions: self.counts.companions,
            velocity_change: self.counts.velocity_change.clone(),
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.step == self.schedule.steps()
    }

    /// Asks the step cache for this step's velocity.
    pub(crate) fn reuse(&mut self) -> Result<Option<Tensor>> {
        // Each resolution is a run of its own to the cache, which computes its first steps and its last.
        let position = match self.lower_steps() {
            lower if self.step < lower => Position { step: self.step, total: lower },
            lower => Position { step: self.step - lower, total: self.schedule.steps() - lower },
        };
        match &mut self.cache {
            Some(cache) => cache.reuse(position, &self.latents).in_op("step cache"),
            None => Ok(None),
        }
    }

    /// Takes the step, with a velocity from a forward pass of this many runs, or from the step cache (0). Nothing of the run changes
    /// if it fails, also where its result is not finite.
    pub(crate) fn advance(&mut self, velocity: Tensor, members: usize) -> Result<()> {
        let skipped = members == 0;
        if let (Some(cache), false) = (&mut self.cache, skipped) {
            cache.observe(&self.latents, &velocity).in_op("step cache")?;
        }
        let change = match &self.velocity {
            Some(before) => Some(relative_change(&velocity, before)?),
            None => None,
        };
        let latents = self.schedule.advance(self.step, &self.latents, &velocity).in_op("step")?;
        // Reading the flag waits for the device, so that the seconds of a step are those of its work.
        finite::check(&latents, "denoising", Some(self.step + 1))?;
        self.latents = latents;
        self.velocity = Some(velocity);
        self.counts.velocity_change.extend(change);
        self.velocity_change = change;
        if self.step < self.lower_steps() {
            self.counts.lower[usize::from(skipped)] += 1;
        }
        if skipped {
            self.counts.skipped += 1;
        } else {
            self.counts.computed += 1;
            self.counts.companions += members - 1;
        }
        self.step += 1;
        if self.request.draft.is_some_and(|draft| draft.after == self.step) {
            // From here on the run decides by its own step cache, as one that resumed here.
            self.cache = self.request.step_cache.start()?;
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Denoised {
        let (width, height, frames) = (self.request.width, self.request.height, self.request.frames);
        Denoised { latents: Latents { tensor: self.latents, width, height, frames }, counts: self.counts }
    }
}

/// Height and width of the lower resolution in latents, where the full one has `full`.
fn lower_size(request: &DenoiseRequest, [height, width]: [i64; 2]) -> Option<[i64; 2]> {
    let lower = request.progressive?;
    Some([height * lower.height / request.height, width * lower.width / request.width])
}

/// The value used for a change from zero.
const LARGEST_CHANGE: f64 = 1e6;

fn relative_change(velocity: &Tensor, before: &Tensor) -> Result<f64> {
    let mean = |mut tensor: Tensor| -> Result<f64> { Ok(tensor.f_abs_()?.f_mean(Kind::Float)?.f_double_value(&[])?) };
    let change = mean(velocity.f_sub(before)?)? / mean(before.f_abs()?)?;
    // Records and checkpoints are JSON, which has no infinity; a velocity of zero can be left by any factor.
    Ok(if change.is_finite() { change } else { LARGEST_CHANGE })
}
