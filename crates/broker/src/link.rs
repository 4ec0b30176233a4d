//! The connection that is open now, and calls with a time limit.

use std::sync::Arc;
use std::time::Duration;

use lapin::Connection;
use tokio::sync::watch;

use crate::error::BrokerError;

/// The connection that is open now. Every change ends what was opened on the one before.
pub(crate) type Link = watch::Receiver<Option<Arc<Connection>>>;

/// Waits for a call, but no longer than this many milliseconds.
pub(crate) async fn in_time<F: Future>(ms: u64, call: F) -> Result<F::Output, BrokerError> {
    tokio::time::timeout(Duration::from_millis(ms), call).await.map_err(|_| BrokerError::Timeout { ms })
}
