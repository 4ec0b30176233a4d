//! Rows that this release cannot read, in answers that hold many rows.
//!
//! The rule: one row must not hide all others. A list, a stream of events or the learner leaves it out, counts it and logs
//! it; only who asks for that very row gets the error.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Result, StoreError};

/// Counted for the process, since every list of it does.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// Rows that were left out of answers since this process started; a row counts each time it is met.
#[must_use]
pub fn unreadable_rows() -> u64 {
    LEFT_OUT.load(Ordering::Relaxed)
}

/// What can be read of these rows.
///
/// # Errors
/// The first error of another kind.
pub(crate) fn readable<T>(rows: impl IntoIterator<Item = Result<T>>) -> Result<Vec<T>> {
    rows.into_iter().filter_map(|row| left_out(row).transpose()).collect()
}

/// The row, or none when it cannot be read.
///
/// # Errors
/// Those of another kind.
pub(crate) fn left_out<T>(row: Result<T>) -> Result<Option<T>> {
    match row {
        Err(error @ StoreError::Unreadable { .. }) => {
            LEFT_OUT.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%error, "a row cannot be read and is left out");
            Ok(None)
        }
        other => other.map(Some),
    }
}
