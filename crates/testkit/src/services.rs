//! The addresses of the stack that this test run shares.

use std::sync::OnceLock;

use crate::addresses::{Services, VARIABLE};
use crate::shared;

/// The services of this run; started if no other test has started them.
///
/// # Panics
/// When they cannot be started.
pub fn services() -> &'static Services {
    static SERVICES: OnceLock<Services> = OnceLock::new();
    SERVICES.get_or_init(|| match std::env::var(VARIABLE) {
        Ok(json) => Services::parse(&json),
        Err(_) => shared::start_or_join(),
    })
}
