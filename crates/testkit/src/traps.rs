//! What a proxy does to the data that it forwards: delays, and traps for single messages.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// The protocol that the proxy understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Postgres without TLS: traps look at the text of statements.
    Postgres,
    /// Anything else: traps look for bytes in what a client sends.
    Bytes,
}

/// What happens to a message that triggers a trap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Catch {
    /// It is forwarded and takes effect; its reply is lost with the connection.
    LoseReply,
    /// It is lost with the connection, and takes no effect.
    LoseRequest,
    /// It waits until `Proxy::release`, or is lost with its connection before.
    Hold,
    /// It is forwarded and takes effect; its reply, and everything after it on that connection, waits until
    /// `Proxy::release`.
    HoldReply,
}

/// A trap that has caught something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sprung {
    pub(crate) catch: Catch,
    /// Number of earlier releases: the next one releases it.
    pub(crate) released: u64,
}

/// How bytes are forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passing {
    Freely,
    Not,
    Refused,
}

#[derive(Debug, Clone)]
pub(crate) struct Trap {
    pub(crate) needle: String,
    pub(crate) catch: Catch,
}

/// What all connections of a proxy share.
pub(crate) struct Shared {
    /// Where new connections lead.
    pub(crate) target: Mutex<SocketAddr>,
    pub(crate) protocol: Protocol,
    pub(crate) passing: watch::Sender<Passing>,
    /// Raised to cut every connection.
    pub(crate) cuts: watch::Sender<u64>,
    /// Raised to release held messages.
    pub(crate) releases: watch::Sender<u64>,
    pub(crate) sprung: watch::Sender<u64>,
    pub(crate) delay: Mutex<Duration>,
    pub(crate) traps: Mutex<Vec<Trap>>,
}

impl Shared {
    /// Takes the trap that a message triggers; each triggers once.
    pub(crate) fn spring(&self, matches: impl Fn(&str) -> bool) -> Option<Sprung> {
        let mut traps = lock(&self.traps);
        let at = traps.iter().position(|trap| matches(&trap.needle))?;
        let catch = traps.remove(at).catch;
        drop(traps);
        let released = *self.releases.borrow();
        self.sprung.send_modify(|count| *count += 1);
        Some(Sprung { catch, released })
    }

    /// Waits until `Proxy::release` was called after `released` times.
    pub(crate) async fn until_released(&self, released: u64) {
        // The sender lives as long as this.
        drop(self.releases.subscribe().wait_for(|count| *count > released).await);
    }

    /// Waits as the proxy is configured.
    pub(crate) async fn pass(&self) {
        let delay = *lock(&self.delay);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        // The sender lives as long as this.
        drop(self.passing.subscribe().wait_for(|passing| *passing != Passing::Not).await);
    }
}

/// The value, also after a panic of another thread.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
