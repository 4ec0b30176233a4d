//! Waiting for something to become true, instead of sleeping for a fixed time.

use std::time::{Duration, Instant};

/// Pause between two polls.
const PAUSE: Duration = Duration::from_millis(20);

/// Polls until the result is `Some`, and returns it.
///
/// # Panics
/// When `within` has passed; `what` says what was waited for.
pub async fn eventually<T, F>(what: &str, within: Duration, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "gave up after {within:?}: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// How long [`eventually_seen`] waits. Long, because it only matters when something is broken.
const PATIENCE: Duration = Duration::from_secs(90);

/// Polls until the result is `Ok`, and returns it.
///
/// # Panics
/// When a long time has passed; says what was waited for and what was seen last.
pub async fn eventually_seen<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(answer) => return answer,
            Err(seen) => assert!(Instant::now() < deadline, "gave up after {PATIENCE:?}: {what}; last seen: {seen}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
