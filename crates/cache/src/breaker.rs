//! Stops calling a failing Redis for a while, so that its timeouts are not paid job after job.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Opens after several consecutive failures; when its time is up, it lets one call through.
#[derive(Debug)]
pub(crate) struct Breaker {
    failures_max: u32,
    open_for: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    open_until: Option<Instant>,
}

impl Breaker {
    pub(crate) fn new(failures_max: u32, open_for: Duration) -> Self {
        Self { failures_max: failures_max.max(1), open_for, state: Mutex::default() }
    }

    /// Whether to try at `now`. When the time is up, only the first caller may.
    pub(crate) fn allows(&self, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.open_until {
            Some(until) if now < until => false,
            Some(_) => {
                state.open_until = Some(now + self.open_for);
                true
            }
            None => true,
        }
    }

    pub(crate) fn succeeded(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }

    pub(crate) fn failed(&self, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures = state.failures.saturating_add(1);
        if state.failures >= self.failures_max {
            state.open_until = Some(now + self.open_for);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_consecutive_failures_and_tries_once_when_its_time_is_up() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let breaker = Breaker::new(2, Duration::from_secs(10));
        breaker.failed(at(0));
        breaker.succeeded();
        breaker.failed(at(0));
        assert!(breaker.allows(at(0)), "one failure is not enough");
        breaker.failed(at(1));
        assert!(!breaker.allows(at(5)));
        assert!(breaker.allows(at(11)), "one try");
        assert!(!breaker.allows(at(11)), "and only one");
        breaker.failed(at(12));
        assert!(!breaker.allows(at(20)));
        assert!(breaker.allows(at(23)));
        breaker.succeeded();
        assert!(breaker.allows(at(23)) && breaker.allows(at(23)));
    }
}
