//! The two-step stop: the first SIGTERM or SIGINT requests an orderly stop, the second one an immediate stop.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The two steps as cancellation tokens. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    soft: CancellationToken,
    hard: CancellationToken,
}

impl Stop {
    /// A stop that is not connected to signals; tests and supervisors request it with [`Stop::ask`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A stop that SIGTERM and SIGINT request.
    ///
    /// # Panics
    /// If a signal handler cannot be installed, because the process could then not be stopped in an orderly way.
    #[must_use]
    pub fn on_signals() -> Self {
        let stop = Self::new();
        let mut terminate = signal(SignalKind::terminate()).expect("a SIGTERM handler can be installed; this is a bug");
        let mut interrupt = signal(SignalKind::interrupt()).expect("a SIGINT handler can be installed; this is a bug");
        let asked = stop.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                asked.ask();
            }
        });
        stop
    }

    /// Requests the next step: first the soft stop, then the hard one.
    pub fn ask(&self) {
        if self.soft.is_cancelled() {
            tracing::warn!("second stop signal: exiting immediately");
            self.hard.cancel();
        } else {
            tracing::info!("stop signal: finishing or handing back current work");
            self.soft.cancel();
        }
    }

    /// Cancelled by the first signal: accept nothing new, and finish or hand back current work.
    #[must_use]
    pub fn soft(&self) -> &CancellationToken {
        &self.soft
    }

    /// Cancelled by the second signal: exit immediately.
    #[must_use]
    pub fn hard(&self) -> &CancellationToken {
        &self.hard
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal, raise};

    #[tokio::test]
    async fn the_first_signal_is_soft_and_the_second_hard() {
        let stop = Stop::on_signals();
        raise(Signal::SIGTERM).expect("raise");
        stop.soft().cancelled().await;
        assert!(!stop.hard().is_cancelled());
        raise(Signal::SIGTERM).expect("raise");
        stop.hard().cancelled().await;
    }
}
