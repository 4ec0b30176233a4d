//! Stopping a running stage, and seeing that it makes progress.
//!
//! The rule: every network calls [`Control::check_at`] between its smallest useful pieces (an encoder layer, a transformer
//! block, a VAE block of a tile), so that a cancel takes effect within one of them and a watchdog can tell a slow run from a wedged
//! one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tch::Device;

use crate::runtime::{
    device,
    error::{Error, Result},
};

/// A cheap handle shared by the thread that runs the model and those that watch it.
#[derive(Debug, Clone, Default)]
pub struct Control {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    cancelled: AtomicBool,
    beats: AtomicU64,
    /// Beats after which the run cancels itself.
    budget: u64,
    /// The runs that share this work: it is cancelled once all of them are.
    sharing: Vec<Control>,
    /// Runs that wait for this work; it is progress for them too.
    waiting: Vec<Control>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            cancelled: AtomicBool::new(false),
            beats: AtomicU64::new(0),
            budget: u64::MAX,
            sharing: Vec::new(),
            waiting: Vec::new(),
        }
    }
}

impl Control {
    /// A handle for one run.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A handle that cancels its run by itself at check number `beats`: a bound on work that does not depend on a clock.
    #[must_use]
    pub fn with_budget(beats: u64) -> Self {
        Self { inner: Arc::new(Inner { budget: beats, ..Inner::default() }) }
    }

    /// A handle for work that several runs share while others wait for it. It is cancelled once all that share it are, since until
    /// then somebody needs its result; its beats are beats of all of them. A single run that nobody waits for gets its own handle.
    #[must_use]
    pub fn over(sharing: &[Self], waiting: &[Self]) -> Self {
        let mut known: Vec<Self> = Vec::new();
        let mut unknown = |control: &&Self| {
            let new = !known.iter().any(|one| Arc::ptr_eq(&one.inner, &control.inner));
            if new {
                known.push((*control).clone());
            }
            new
        };
        let sharing: Vec<Self> = sharing.iter().filter(&mut unknown).cloned().collect();
        let waiting: Vec<Self> = waiting.iter().filter(&mut unknown).cloned().collect();
        match (sharing.as_slice(), waiting.is_empty()) {
            ([only], true) => only.clone(),
            _ => Self { inner: Arc::new(Inner { sharing, waiting, ..Inner::default() }) },
        }
    }

    /// Asks the run to stop; it returns [`Error::Cancelled`] at its next check.
    pub fn cancel(&self) {
        self.inner.cancelled.store(true, Ordering::Release);
    }

    /// Whether a stop was requested.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        let sharing = &self.inner.sharing;
        self.inner.cancelled.load(Ordering::Acquire) || (!sharing.is_empty() && sharing.iter().all(Self::is_cancelled))
    }

    /// Number of checks passed so far. A watchdog compares two readings: no change means no progress.
    #[must_use]
    pub fn beats(&self) -> u64 {
        self.inner.beats.load(Ordering::Acquire)
    }

    /// Counts one beat without checking for cancellation.
    pub fn beat(&self) {
        let before = self.inner.beats.fetch_add(1, Ordering::AcqRel);
        if before.saturating_add(1) >= self.inner.budget {
            self.cancel();
        }
        for other in self.inner.sharing.iter().chain(&self.inner.waiting) {
            other.beat();
        }
    }

    /// Counts one beat and stops here when a stop was requested.
    ///
    /// # Errors
    /// [`Error::Cancelled`].
    pub fn check(&self) -> Result<()> {
        self.beat();
        if self.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Waits until the device has finished all submitted work, then checks.
    ///
    /// A GPU runs asynchronously: without the wait the program would be many blocks ahead, so that a stop would take
    /// effect that much later and a watchdog would watch the launches instead of the work. The wait costs some 30 microseconds.
    ///
    /// # Errors
    /// [`Error::Cancelled`]; [`Error::DeviceFault`] for what any of the work failed with.
    pub(crate) fn check_at(&self, device: Device) -> Result<()> {
        device::synchronize(device)?;
        self.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_cancels_its_original() {
        let control = Control::new();
        assert!(control.check().is_ok());
        let watcher = control.clone();
        watcher.cancel();
        assert!(watcher.is_cancelled());
        assert!(matches!(control.check(), Err(Error::Cancelled)));
        assert_eq!(control.beats(), 2);
    }

    #[test]
    fn a_check_at_a_device_reports_what_its_work_failed_with() {
        let control = Control::new();
        control.check_at(Device::Cpu).unwrap();
        assert_eq!(control.beats(), 1);
        assert!(control.check_at(Device::Cuda(9999)).is_err(), "a GPU that does not exist has done nothing");
        assert_eq!(control.beats(), 1, "no progress is seen where the device has failed");
    }

    #[test]
    fn shared_work_goes_on_until_nobody_needs_it_and_counts_for_all() {
        let [first, second, waits] = [Control::new(), Control::new(), Control::new()];
        let shared = Control::over(&[first.clone(), second.clone()], std::slice::from_ref(&waits));
        shared.check().unwrap();
        first.cancel();
        shared.check().unwrap();
        waits.cancel();
        shared.check().unwrap();
        assert_eq!([first.beats(), second.beats(), waits.beats()], [3; 3]);
        second.cancel();
        assert!(matches!(shared.check(), Err(Error::Cancelled)));
    }

    #[test]
    fn a_run_that_shares_with_nobody_keeps_its_own_handle() {
        let own = Control::with_budget(2);
        let alone = Control::over(&[own.clone(), own.clone()], std::slice::from_ref(&own));
        assert!(alone.check().is_ok());
        assert!(alone.check().is_err(), "its budget counts");
        assert_eq!(own.beats(), 2);
    }

    #[test]
    fn a_budget_stops_at_its_last_beat() {
        let control = Control::with_budget(3);
        assert!(control.check().is_ok());
        assert!(control.check().is_ok());
        assert!(matches!(control.check(), Err(Error::Cancelled)));
    }
}
