//! The broker crate against a real RabbitMQ: what it promises while everything works, and while something does not.

mod envelope;
mod faults;
mod flow;
mod late;
mod rights;
