//! How long this scheduler has seen the database up, without a gap.
//!
//! While the database is down no worker can renew its lease, so no lease may expire until the database has been up for a
//! whole lease. The observation runs in a task and on a connection of its own: when it was part of the sweep, one slow
//! statement there looked like an outage, restarted this clock every time, and leases never expired.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use store::Store;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::timing::pause;

/// Time between two looks at the database.
const EVERY: Duration = Duration::from_secs(1);

/// How long the database has been seen up without a gap.
#[derive(Debug, Default)]
pub(crate) struct Sight(Mutex<Seen>);

#[derive(Debug, Default, Clone, Copy)]
struct Seen {
    since: Option<Instant>,
    last: Option<Instant>,
}

impl Sight {
    /// Whether the database has been seen up for `time`, until just now.
    pub(crate) fn covers(&self, now: Instant, time: Duration) -> bool {
        let seen = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A look that has been under way for long may be waiting for a database that just went down.
        let fresh = seen.last.is_some_and(|last| now.saturating_duration_since(last) <= time / 2);
        fresh && seen.since.is_some_and(|since| now.saturating_duration_since(since) >= time)
    }

    /// Records that the database answered. A gap longer than `gap_max` since the last answer restarts the clock.
    fn up(&self, now: Instant, gap_max: Duration) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.last.is_none_or(|last| now.saturating_duration_since(last) > gap_max) {
            seen.since = Some(now);
        }
        seen.last = Some(now);
    }

    /// Records that the database did not respond: the clock restarts with its next response.
    fn down(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Seen::default();
    }
}

/// Looks at the database until the leadership is over. `store` must be used for nothing else that can take long.
pub(crate) async fn run(store: &Store, sight: &Sight, lease: Duration, over: &CancellationToken) {
    loop {
        match store.ping_writable().await {
            Ok(()) => sight.up(Instant::now(), lease / 2),
            Err(error) => {
                sight.down();
                warn!(%error, "the database did not respond; no lease expires until it has been up for a whole lease");
            }
        }
        if !pause(EVERY, over).await {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_expires_until_the_database_was_seen_up_for_a_lease() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let (lease, gap) = (Duration::from_secs(30), Duration::from_secs(15));
        let sight = Sight::default();
        assert!(!sight.covers(at(0), lease));
        for s in 0..=30 {
            sight.up(at(s), gap);
            assert_eq!(sight.covers(at(s), lease), s == 30, "after {s} s");
        }
        // A gap that may hide an outage: the clock restarts.
        sight.up(at(60), gap);
        assert!(!sight.covers(at(61), lease));
        for s in 61..=90 {
            sight.up(at(s), gap);
        }
        assert!(sight.covers(at(90), lease));
        // An answer that failed restarts it at once.
        sight.down();
        assert!(!sight.covers(at(91), lease));
    }

    #[test]
    fn a_look_that_never_returns_stops_expiry() {
        let start = Instant::now();
        let (lease, gap) = (Duration::from_secs(30), Duration::from_secs(15));
        let sight = Sight::default();
        for s in 0..=40 {
            sight.up(start + Duration::from_secs(s), gap);
        }
        assert!(sight.covers(start + Duration::from_secs(55), lease));
        assert!(!sight.covers(start + Duration::from_secs(56), lease));
    }
}
