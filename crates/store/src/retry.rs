//! Repeats a transaction that Postgres aborted in favour of another one.
//!
//! Only conflicts are repeated, because Postgres guarantees that nothing was written. A broken connection is never repeated
//! here, since the commit may have happened; those calls are idempotent by key or token, and the caller repeats them.

use std::time::Duration;

use crate::error::Result;

/// Tries in total. Each conflict has one winner, so a handful is enough even with many competitors.
const TRIES_MAX: u32 = 6;
/// Pause after the first conflict, milliseconds; doubles each time. Long enough for the winner to commit.
const PAUSE_MS: u64 = 3;

/// Runs `body` until it meets no conflict.
///
/// # Errors
/// The error of `body`, or its conflict after the last try.
pub(crate) async fn on_conflict<T, F, Fut>(body: F) -> Result<T>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let mut tried = 0;
    loop {
        tried += 1;
        match body().await {
            Err(error) if error.is_conflict() && tried < TRIES_MAX => {
                tracing::debug!(tried, "transaction conflict; retrying");
                // Random jitter keeps two losers from colliding again.
                let jitter_ms = u64::from(uuid::Uuid::new_v4().as_bytes()[0]) % (PAUSE_MS << tried);
                tokio::time::sleep(Duration::from_millis((PAUSE_MS << (tried - 1)) + jitter_ms)).await;
            }
            outcome => return outcome,
        }
    }
}
