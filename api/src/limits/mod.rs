//! What keeps one client, or all of them together, from drowning the fleet.
//!
//! Rule: a replay of an accepted submission passes every limit, since refusing it would leave the client not knowing
//! whether its job exists.

pub mod backlog;
pub mod rate;

pub use backlog::Backlog;
pub use rate::{RateLimiter, RateState};
