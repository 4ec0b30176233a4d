//! The current connection, and calls with a time limit.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lapin::Connection;
use tokio::sync::watch;

use crate::error::BrokerError;

/// The current connection. A change invalidates everything that was opened on the previous one.
pub(crate) type Link = watch::Receiver<Option<Arc<Connection>>>;

/// Waits for a call, at most `ms` milliseconds.
pub(crate) async fn in_time<F: Future>(ms: u64, call: F) -> Result<F::Output, BrokerError> {
    tokio::time::timeout(Duration::from_millis(ms), call).await.map_err(|_| BrokerError::Timeout { ms })
}

/// How often in a row RabbitMQ has left calls without a response.
///
/// Calls that waited at the same time count once: two hundred announcements that one slow moment delays are no reason to give a
/// connection up, which would delay all that follow.
#[derive(Debug, Default)]
pub(crate) struct Silence {
    /// The count, and when the last one was added.
    counted: Mutex<(u32, Option<Instant>)>,
}

impl Silence {
    /// A call that began at `began` has waited in vain until `now`.
    pub(crate) fn timed_out(&self, began: Instant, now: Instant) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.1.is_none_or(|last| began >= last) {
            *counted = (counted.0.saturating_add(1), Some(now));
        }
    }

    /// There was a response, or there is a new connection.
    pub(crate) fn broken(&self) {
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner) = (0, None);
    }

    /// How often in a row.
    pub(crate) fn count(&self) -> u32 {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_wait_at_the_same_time_are_one_silence() {
        let (silence, start) = (Silence::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for _ in 0..250 {
            silence.timed_out(at(0), at(3));
        }
        silence.timed_out(at(2), at(5));
        assert_eq!(silence.count(), 1);
        silence.timed_out(at(3), at(6));
        silence.timed_out(at(7), at(10));
        assert_eq!(silence.count(), 3);
        silence.broken();
        assert_eq!(silence.count(), 0);
        silence.timed_out(at(1), at(4));
        assert_eq!(silence.count(), 1, "a new count does not remember the old one");
    }
}
