//! What happens after each step of a run: reports, checkpoints, previews, and the pause of a draft.

use std::ops::ControlFlow;
use std::time::Instant;

use domain::ProgressivePlan;
use hunyuan::{Checkpoint, Denoised, Error, StepEnd};
use tracing::warn;

use super::pictures::Pictures;
use super::{Paused, RenderError, RenderEvent, RenderOrder};

/// Follows the steps: reports them, keeps the last state, reports a checkpoint or a preview when one is due, and pauses a
/// draft.
pub(super) struct Steps<'a> {
    last: Option<Checkpoint>,
    every_s: f64,
    pause_after: Option<u32>,
    paused: Option<Paused>,
    failed: Option<RenderError>,
    share_s: f64,
    pictures: Pictures<'a>,
    stored_at: Instant,
    begun: Instant,
    begun_at: u32,
    early: Option<ProgressivePlan>,
    skipped: u32,
}

impl<'a> Steps<'a> {
    /// For a run that begins at `saved`, or at its noise.
    pub(super) fn new(saved: Option<&Checkpoint>, order: &RenderOrder, pictures: Pictures<'a>) -> Self {
        Self {
            last: None,
            every_s: order.checkpoint_every_s,
            pause_after: order.pause_after,
            paused: None,
            failed: None,
            share_s: 0.0,
            pictures,
            stored_at: Instant::now(),
            begun: Instant::now(),
            begun_at: saved.map_or(0, |saved| u32::try_from(saved.step).unwrap_or(u32::MAX)),
            early: order.progressive,
            skipped: saved.map_or(0, |saved| u32::try_from(saved.skipped).unwrap_or(u32::MAX)),
        }
    }

    /// What a step of the run leads to: the caller ends it at a `Break`, and [`Steps::outcome`] says why.
    pub(super) fn after(&mut self, end: &StepEnd<'_>, tell: &mut dyn FnMut(RenderEvent)) -> ControlFlow<()> {
        self.step(end, tell).unwrap_or_else(|error| {
            self.failed = Some(error);
            ControlFlow::Break(())
        })
    }

    /// The run's result, where the denoiser ended with this one.
    pub(super) fn outcome(&mut self, denoised: Result<Denoised, Error>) -> Result<Denoised, RenderError> {
        match (denoised, self.failed.take(), self.paused.take()) {
            (_, Some(error), _) => Err(error),
            (_, None, Some(paused)) => Err(RenderError::Paused(Box::new(paused))),
            (Err(Error::Cancelled), None, None) => Err(RenderError::Stopped { checkpoint: self.last_bytes() }),
            (other, None, None) => Ok(other?),
        }
    }

    /// This run's share of the seconds of its steps.
    pub(super) fn share_s(&self) -> f64 {
        self.share_s
    }

    fn step(&mut self, end: &StepEnd<'_>, tell: &mut dyn FnMut(RenderEvent)) -> Result<ControlFlow<()>, RenderError> {
        let (step, total) = (u32::try_from(end.step).unwrap_or(u32::MAX), u32::try_from(end.total).unwrap_or(u32::MAX));
        self.skipped += u32::from(end.skipped);
        self.share_s += end.share_s;
        let (remaining_s, members) = (self.remaining_s(step, total), u32::try_from(end.members).unwrap_or(u32::MAX));
        tell(RenderEvent::Step { step, skipped: self.skipped, remaining_s, members });
        let checkpoint = end.checkpoint();
        if self.pause_after.is_some_and(|until| step >= until) {
            // A draft without its state is nothing, so a failure here fails the run.
            let checkpoint = checkpoint.to_bytes()?;
            self.paused = Some(Paused { step, checkpoint, preview: self.pictures.of(end)? });
            return Ok(ControlFlow::Break(()));
        }
        if step < total
            && let Some(preview) = self.pictures.due(end, self.begun.elapsed())
        {
            tell(preview);
        }
        // The last step's state is worth storing too: decoding and delivery can fail on their own.
        let work_at_risk_s = self.stored_at.elapsed().as_secs_f64();
        let due = self.every_s > 0.0 && (work_at_risk_s >= self.every_s || (step == total && self.worth_keeping()));
        if due {
            match checkpoint.to_bytes() {
                Ok(bytes) => tell(RenderEvent::Checkpoint { step, bytes }),
                Err(error) => warn!(%error, "checkpoint not taken"),
            }
            self.stored_at = Instant::now();
        }
        self.last = Some(checkpoint);
        Ok(ControlFlow::Continue(()))
    }

    /// Seconds left at the pace of this run, in which steps at half the size count less.
    fn remaining_s(&self, step: u32, total: u32) -> Option<f64> {
        let weight = |steps: u32| ProgressivePlan::weight(self.early.as_ref(), steps);
        let done = weight(step) - weight(self.begun_at);
        (done > 0.0).then(|| self.begun.elapsed().as_secs_f64() / done * (weight(total) - weight(step)))
    }

    /// Repeating a very short run takes less time than storing it.
    fn worth_keeping(&self) -> bool {
        self.begun.elapsed().as_secs_f64() >= 1.0
    }

    /// The state of the last step boundary, as a checkpoint.
    fn last_bytes(&self) -> Option<(u32, Vec<u8>)> {
        let checkpoint = self.last.as_ref()?;
        match checkpoint.to_bytes() {
            Ok(bytes) => Some((u32::try_from(checkpoint.step).unwrap_or(u32::MAX), bytes)),
            Err(error) => {
                warn!(%error, "last checkpoint not taken");
                None
            }
        }
    }
}
