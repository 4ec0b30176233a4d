//! Limits that keep one client, or all clients together, from overloading the fleet.
//!
//! Rule: a repeated submission that was accepted before passes every limit. If it were rejected, the client could not find out
//! whether its job exists.

pub mod backlog;
pub mod budgets;
pub mod quota;
pub mod rate;

pub use backlog::Backlog;
pub use budgets::Budgets;
pub use quota::Quotas;
pub use rate::{RateLimiter, RateState};
