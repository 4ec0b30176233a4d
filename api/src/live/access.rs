//! Ends event streams whose key was revoked or whose sign-in has ended.
//!
//! A stream is opened once and stays open, so the check at its start is not enough. One query checks the keys and sessions of
//! all open streams together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::KeyId;
use store::Store;
use tokio_util::sync::CancellationToken;

use crate::auth::Proof;

/// What a stream was opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Access {
    Key(KeyId),
    Session([u8; 32]),
}

/// The streams of one key or session.
struct Users {
    open: usize,
    ended: CancellationToken,
}

/// The keys and sessions that open streams use. Cheap to clone.
#[derive(Clone, Default)]
pub struct OpenAccess(Arc<Mutex<HashMap<Access, Users>>>);

impl std::fmt::Debug for OpenAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenAccess").field("keys_and_sessions", &self.lock().len()).finish()
    }
}

/// Keeps a key or session watched while its stream is open.
#[derive(Debug)]
pub struct AccessGuard {
    all: OpenAccess,
    access: Option<Access>,
    ended: CancellationToken,
}

impl AccessGuard {
    /// Cancelled when the stream must end.
    #[must_use]
    pub(crate) fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }
}

impl Drop for AccessGuard {
    fn drop(&mut self) {
        let Some(access) = self.access else { return };
        let mut all = self.all.lock();
        if let Some(users) = all.get_mut(&access) {
            users.open -= 1;
            if users.open == 0 {
                all.remove(&access);
            }
        }
    }
}

impl OpenAccess {
    /// Starts the checks.
    #[must_use]
    pub(crate) fn start(store: Store, every: Duration, stop: CancellationToken) -> Self {
        let all = Self::default();
        tokio::spawn(stop.run_until_cancelled_owned(check(all.clone(), store, every)));
        all
    }

    /// Watches the access of a stream that is about to open.
    #[must_use]
    pub(crate) fn watch(&self, proof: &Proof) -> AccessGuard {
        let access = match proof {
            Proof::NotAsked => None,
            Proof::Key(key_id) => Some(Access::Key(*key_id)),
            Proof::Session { id_hash, .. } => Some(Access::Session(*id_hash)),
        };
        let ended = access.map_or_else(CancellationToken::new, |access| {
            let mut all = self.lock();
            let users = all.entry(access).or_insert_with(|| Users { open: 0, ended: CancellationToken::new() });
            users.open += 1;
            users.ended.clone()
        });
        AccessGuard { all: self.clone(), access, ended }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Access, Users>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, access: Access) {
        if let Some(users) = self.lock().get(&access) {
            users.ended.cancel();
        }
    }
}

async fn check(all: OpenAccess, store: Store, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let (mut keys, mut sessions) = (Vec::new(), Vec::new());
        for access in all.lock().keys() {
            match access {
                Access::Key(key_id) => keys.push(*key_id),
                Access::Session(hash) => sessions.push(*hash),
            }
        }
        if keys.is_empty() && sessions.is_empty() {
            continue;
        }
        match store.ended_access(&keys, &sessions).await {
            Ok(ended) => {
                let (keys, sessions) = (ended.keys.into_iter(), ended.sessions.into_iter());
                keys.map(Access::Key).chain(sessions.map(Access::Session)).for_each(|access| all.end(access));
            }
            // Without the database there are no events to send either.
            Err(error) => tracing::debug!(%error, "the access of open streams cannot be checked"),
        }
    }
}
