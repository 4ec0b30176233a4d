//! The current connection, and calls with a time limit.

use std::sync::Arc;
use std::time::Duration;

use lapin::Connection;
use tokio::sync::watch;

use crate::error::BrokerError;

/// The current connection. A change invalidates everything that was opened on the previous one.
pub(crate) type Link = watch::Receiver<Option<Arc<Connection>>>;

/// Waits for a call, at most `ms` milliseconds.
pub(crate) async fn in_time<F: Future>(ms: u64, call: F) -> Result<F::Output, BrokerError> {
    tokio::time::timeout(Duration::from_millis(ms), call).await.map_err(|_| BrokerError::Timeout { ms })
}
