//! Pauses, and conversion of seconds from the settings.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Pauses, but not beyond the end of the leadership. Returns `false` if the leadership has ended.
pub(crate) async fn pause(time: Duration, over: &CancellationToken) -> bool {
    tokio::select! {
        () = over.cancelled() => false,
        () = tokio::time::sleep(time) => true,
    }
}

/// Whole seconds as a pause of at least one second.
pub(crate) fn every(value: u64) -> Duration {
    Duration::try_from_secs_f64(seconds(value.max(1))).unwrap_or(Duration::MAX)
}

/// Whole seconds as a floating-point number, which the store expects.
#[expect(clippy::cast_precision_loss, reason = "a setting in seconds is far below 2^52")]
pub(crate) fn seconds(value: u64) -> f64 {
    value as f64
}
