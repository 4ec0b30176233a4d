//! When a run shows a preview, and what it costs.
//!
//! The noise level decides, not the share of the steps: above a level of about 0.95 the expected video says little, and with a
//! large shift most steps are above it. From there on a preview is worth making after every tenth of the way. Previews never
//! take more than a hundredth of the time of the steps, on the model's thread; turning them into files happens elsewhere.

use std::time::{Duration, Instant};

use hunyuan::{LatentRgb, StepEnd};
use tracing::warn;

use super::{PreviewFrames, RenderError, RenderEvent};

/// Noise level at which the first preview is due.
const FIRST_SIGMA: f64 = 0.95;
/// Noise levels between two previews.
const SIGMA_STEP: f64 = 0.1;
/// Largest share of the time of the steps.
const SHARE_MAX: f64 = 0.01;

/// The previews of one run.
pub(super) struct Pictures<'a> {
    factors: Option<&'a LatentRgb>,
    every: Duration,
    next_sigma: f64,
    made_at: Option<Instant>,
    spent: Duration,
    broken: bool,
}

impl<'a> Pictures<'a> {
    /// None are made without factors, or with `every_s` of 0.
    pub(super) fn new(factors: Option<&'a LatentRgb>, every_s: f64) -> Self {
        let every = Duration::try_from_secs_f64(every_s).unwrap_or_default();
        Self { factors, every, next_sigma: FIRST_SIGMA, made_at: None, spent: Duration::ZERO, broken: false }
    }

    /// The preview after a step, if it is time for one. `denoising` is the time of the steps so far. A preview that cannot be
    /// made does not end the run.
    pub(super) fn due(&mut self, end: &StepEnd<'_>, denoising: Duration) -> Option<RenderEvent> {
        let begun = Instant::now();
        if self.every.is_zero() || self.broken || !self.is_time(end.sigma(), begun, denoising) {
            return None;
        }
        let made = self.of(end);
        let seconds = begun.elapsed();
        self.spent += seconds;
        self.made_at = Some(begun);
        while self.next_sigma >= end.sigma() {
            self.next_sigma -= SIGMA_STEP;
        }
        match made {
            Ok(frames) => {
                let step = u32::try_from(end.step).unwrap_or(u32::MAX);
                frames.map(|frames| RenderEvent::Preview { step, frames, seconds: seconds.as_secs_f64() })
            }
            Err(error) => {
                warn!(?error, "no more previews of this run");
                self.broken = true;
                None
            }
        }
    }

    fn is_time(&self, sigma: f64, now: Instant, denoising: Duration) -> bool {
        let rested = self.made_at.is_none_or(|at| now.duration_since(at) >= self.every);
        sigma <= self.next_sigma && rested && self.spent.as_secs_f64() <= SHARE_MAX * denoising.as_secs_f64()
    }

    /// The preview after a step, whether or not it is time.
    ///
    /// # Errors
    /// libtorch.
    pub(super) fn of(&self, end: &StepEnd<'_>) -> Result<Option<PreviewFrames>, RenderError> {
        let Some(factors) = self.factors else { return Ok(None) };
        let latents = end.estimate()?;
        Ok(latents.map(|latents| factors.frames(&latents)).transpose()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn previews_wait_for_their_noise_level_their_time_and_their_share() {
        let mut pictures = Pictures::new(None, 1.0);
        let (now, long) = (Instant::now(), Duration::from_secs(100));
        assert!(!pictures.is_time(0.97, now, long), "too early to show anything");
        assert!(pictures.is_time(0.94, now, long));
        pictures.made_at = Some(now);
        assert!(!pictures.is_time(0.94, now + Duration::from_millis(999), long), "at most once a second");
        assert!(pictures.is_time(0.94, now + Duration::from_secs(1), long));
        pictures.spent = Duration::from_secs(2);
        assert!(!pictures.is_time(0.94, now + Duration::from_secs(1), long), "2 of 100 seconds are too much");
    }
}
