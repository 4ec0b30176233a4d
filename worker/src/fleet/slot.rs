//! Who pays for the slot.
//!
//! The rule: each moment of the slot is divided equally among the jobs that occupy it at that moment. A job that has it alone is charged
//! all of its time; the charges of jobs that are rendered together add up to the time that passed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The slot of a worker. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slot {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    charges: HashMap<u64, Charge>,
    next: u64,
    since: Option<Instant>,
}

/// What a job owes for the slot.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Charge {
    /// Seconds.
    pub(super) seconds: f64,
    /// Whether another job was there too.
    pub(super) shared: bool,
}

impl Inner {
    /// Divides the time up to `now`.
    fn divide(&mut self, now: Instant) {
        let passed_s = self.since.map_or(0.0, |since| now.saturating_duration_since(since).as_secs_f64());
        self.since = Some(now);
        let jobs = u32::try_from(self.charges.len()).unwrap_or(u32::MAX);
        for charge in self.charges.values_mut() {
            charge.seconds += passed_s / f64::from(jobs);
            charge.shared |= jobs > 1;
        }
    }

    fn enter(&mut self, now: Instant) -> u64 {
        self.divide(now);
        self.next += 1;
        self.charges.insert(self.next, Charge::default());
        self.next
    }

    fn leave(&mut self, number: u64, now: Instant) -> Charge {
        self.divide(now);
        self.charges.remove(&number).unwrap_or_default()
    }
}

impl Slot {
    /// A job begins to occupy the slot, until the guard is dropped or asked to leave.
    pub(super) fn enter(&self) -> Occupied {
        let number = self.locked().enter(Instant::now());
        Occupied { slot: self.clone(), number }
    }

    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job in the slot.
#[derive(Debug)]
pub(super) struct Occupied {
    slot: Slot,
    number: u64,
}

impl Occupied {
    /// What it owes so far.
    pub(super) fn charge(&self) -> Charge {
        let mut inner = self.slot.locked();
        inner.divide(Instant::now());
        inner.charges.get(&self.number).copied().unwrap_or_default()
    }

    /// Leaves the slot; returns what the job owes.
    pub(super) fn leave(self) -> Charge {
        self.slot.locked().leave(self.number, Instant::now())
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        // Without effect after `leave`.
        self.slot.locked().leave(self.number, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn each_moment_is_divided_among_those_who_are_there() {
        let (mut inner, begin) = (Inner::default(), Instant::now());
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let first = inner.enter(at(0));
        let second = inner.enter(at(10));
        let third = inner.enter(at(14));
        let charge = |seconds: f64, shared| Charge { seconds, shared };
        assert_eq!(inner.leave(first, at(20)), charge(10.0 + 2.0 + 2.0, true));
        assert_eq!(inner.leave(second, at(24)), charge(2.0 + 2.0 + 2.0, true));
        assert_eq!(inner.leave(third, at(30)), charge(2.0 + 2.0 + 6.0, true));
        // Nobody pays while nobody is there.
        let alone = inner.enter(at(100));
        assert_eq!(inner.leave(alone, at(103)), charge(3.0, false));
        assert_eq!(inner.leave(alone, at(104)), Charge::default());
    }

    #[test]
    fn a_job_leaves_when_it_is_forgotten() {
        let slot = Slot::default();
        drop(slot.enter());
        let alone = slot.enter();
        assert!(!alone.charge().shared);
        assert!(slot.locked().charges.len() == 1 && !alone.leave().shared);
    }
}
