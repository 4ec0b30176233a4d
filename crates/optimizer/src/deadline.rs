//! Whether a deadline can be met: an estimate of when a job would start and finish.
//!
//! The jobs ahead are those that fair sharing lets start first, so another tenant's long backlog delays a job only by that
//! tenant's share. The estimate assumes that all slots stay as busy as they are and that nothing is submitted that goes first.

/// What a new job of one model finds: the pools that can hold it, and the queue before it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct QueueLoad {
    /// Slots of live workers that can hold the job.
    pub slots: u32,
    /// How many of them are in use.
    pub running: u32,
    /// Jobs that start before it.
    pub ahead: u64,
    /// Mean estimate of those jobs, seconds.
    pub mean_s: f64,
}

/// When a job would start and finish, in seconds from now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forecast {
    /// Wait for a slot.
    pub start_s: f64,
    /// End of the run.
    pub finish_s: f64,
}

impl Forecast {
    /// Whether a deadline in `deadline_s` seconds is met by this forecast.
    #[must_use]
    pub fn meets(&self, deadline_s: u32) -> bool {
        self.finish_s <= f64::from(deadline_s)
    }

    /// The shortest deadline that this forecast meets, in whole seconds.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the range of u32")]
    pub fn feasible_deadline_s(&self) -> u32 {
        self.finish_s.ceil().clamp(1.0, f64::from(u32::MAX)) as u32
    }

    /// Seconds until the queue has shrunk so far that a deadline of `deadline_s` would be met; `None` if the run alone takes
    /// longer.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a wait that is not negative")]
    pub fn retry_after_s(&self, deadline_s: u32) -> Option<u64> {
        let run_s = self.finish_s - self.start_s;
        (run_s <= f64::from(deadline_s)).then(|| (self.finish_s - f64::from(deadline_s)).ceil().max(1.0) as u64)
    }
}

/// Forecasts a run of `estimate_s` seconds; `None` without a slot that can hold it.
#[must_use]
pub fn forecast(load: &QueueLoad, estimate_s: f64) -> Option<Forecast> {
    let start_s = wait_s(load)?;
    Some(Forecast { start_s, finish_s: start_s + estimate_s })
}

/// Estimated seconds until a slot is free for a job; `None` without slots.
#[must_use]
pub fn wait_s(load: &QueueLoad) -> Option<f64> {
    if load.slots == 0 {
        return None;
    }
    // Running jobs are half done on average.
    #[expect(clippy::cast_precision_loss, reason = "a number of jobs is far below 2^52")]
    let runs_before = load.ahead as f64 + 0.5 * f64::from(load.running);
    let free = f64::from(load.slots.saturating_sub(load.running));
    Some((runs_before - free).max(0.0) / f64::from(load.slots) * load.mean_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(slots: u32, running: u32, ahead: u64) -> QueueLoad {
        QueueLoad { slots, running, ahead, mean_s: 100.0 }
    }

    #[test]
    fn an_idle_fleet_starts_at_once_and_no_fleet_starts_nothing() {
        assert_eq!(forecast(&load(4, 0, 0), 60.0), Some(Forecast { start_s: 0.0, finish_s: 60.0 }));
        assert_eq!(forecast(&load(0, 0, 0), 60.0), None);
    }

    #[test]
    fn jobs_ahead_are_spread_over_the_slots() {
        // Four busy slots are half done: 200 s of work; eight jobs ahead: 800 s more.
        assert_eq!(wait_s(&load(4, 4, 8)), Some(250.0));
        let forecast = forecast(&load(4, 4, 8), 60.0).expect("slots");
        assert!(forecast.meets(310) && !forecast.meets(309));
        assert_eq!(forecast.feasible_deadline_s(), 310);
    }

    #[test]
    fn a_retry_helps_only_against_the_queue() {
        let forecast = forecast(&load(1, 1, 1), 60.0).expect("slots");
        assert_eq!((forecast.start_s, forecast.retry_after_s(100)), (150.0, Some(110)));
        assert_eq!(forecast.retry_after_s(59), None, "the run alone takes longer");
    }
}
