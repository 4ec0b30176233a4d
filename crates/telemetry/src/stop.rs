//! The two-step stop: the first SIGTERM or SIGINT asks politely, the second one means now.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The two steps as tokens that anything can wait for. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    soft: CancellationToken,
    hard: CancellationToken,
}

impl Stop {
    /// A stop that nobody has asked for; tests and supervisors ask by [`Stop::ask`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A stop that listens to SIGTERM and SIGINT.
    ///
    /// # Panics
    /// When the operating system refuses a signal handler, which leaves a process that could not be stopped.
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

    /// Asks once more: the first time softly, then hard.
    pub fn ask(&self) {
        if self.soft.is_cancelled() {
            tracing::warn!("second stop signal: leaving now");
            self.hard.cancel();
        } else {
            tracing::info!("stop signal: finishing what cannot wait");
            self.soft.cancel();
        }
    }

    /// Cancelled by the first signal: take nothing new, finish or hand back what runs.
    #[must_use]
    pub fn soft(&self) -> &CancellationToken {
        &self.soft
    }

    /// Cancelled by the second signal: leave.
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
