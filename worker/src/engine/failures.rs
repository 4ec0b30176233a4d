//! How the renderer words a failure.

use domain::{Failure, FailureAction};

use super::RenderError;

/// A defect of this worker; another one may do better.
pub(super) fn broken(reason: &str) -> RenderError {
    failed("worker_broken", reason.to_owned(), FailureAction::Retry)
}

/// A failure with its code and what follows from it.
pub(super) fn failed(code: &str, reason: String, action: FailureAction) -> RenderError {
    RenderError::Failed { failure: Failure { code: code.to_owned(), reason }, action }
}
