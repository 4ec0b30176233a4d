//! Writes that are worth repeating: the end of a run.
//!
//! Every call of the store that is used here may be repeated: it recognises its own token, so a lost reply costs nothing. It is
//! repeated while the database is unavailable, for as long as the lease may still be valid.

use std::time::{Duration, Instant};

use anyhow::Context;
use store::StoreError;
use tracing::warn;

use super::Fleet;

/// First and longest pause between two tries.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Lease lengths after which another worker certainly owns the job.
const LEASES: u32 = 4;

/// Repeats `call` until the database replies.
///
/// # Errors
/// The database's error, or no reply for several lease lengths.
pub(super) async fn write<T, F>(fleet: &Fleet, what: &'static str, call: impl Fn() -> F) -> anyhow::Result<T>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let deadline = Instant::now() + fleet.lease * LEASES;
    let mut pause = PAUSES.0;
    loop {
        let error = match call().await {
            Ok(value) => return Ok(value),
            Err(error @ StoreError::LeaseLost { .. }) => {
                fleet.metrics.stale_writes.inc();
                return Err(error).context(what);
            }
            Err(error) => error,
        };
        let passing = error.is_unavailable() || matches!(error, StoreError::Conflict(_));
        if !passing || Instant::now() >= deadline {
            return Err(error).context(what);
        }
        warn!(%error, what, "trying again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}
