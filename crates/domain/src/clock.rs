//! Time as a dependency: only [`SystemClock`] reads the machine's clock, so tests decide what time it is.
//!
//! Leases do not use this clock at all: they expire by the database's clock, and a worker stops by a monotonic one.

use chrono::{DateTime, Utc};

/// Returns the time of day.
pub trait Clock: Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> DateTime<Utc>;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}
