//! Waiting for something to become true, in place of sleeping and hoping.

use std::time::{Duration, Instant};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks until the answer is `Some`, and gives it.
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
        assert!(Instant::now() < deadline, "waited {within:?} in vain: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// How long [`eventually_seen`] waits. Long, because it only matters when something is broken.
const PATIENCE: Duration = Duration::from_secs(90);

/// Looks until the answer is `Ok`, and gives it.
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
            Err(seen) => assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}; last seen: {seen}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
