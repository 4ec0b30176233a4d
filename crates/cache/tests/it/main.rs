//! The cache against real Redis: what it keeps, what it counts, and what it costs when Redis does not play along.

mod faults;
mod hits;
mod similar;
mod support;
