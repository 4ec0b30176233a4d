//! The cache with a real Redis: what it stores, what it counts, and what a failing Redis costs.

mod faults;
mod hits;
mod similar;
mod support;
