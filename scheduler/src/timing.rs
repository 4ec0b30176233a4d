//! Pauses, and seconds as the settings give them.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Pauses, but not beyond the end of the leadership; `false` when it is over.
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

/// Whole seconds as the store takes them.
#[expect(clippy::cast_precision_loss, reason = "seconds of settings")]
pub(crate) fn seconds(value: u64) -> f64 {
    value as f64
}
