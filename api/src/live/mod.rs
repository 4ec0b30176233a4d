//! What happens, as it happens: the fleet's events and progress, to every open stream of this replica.
//!
//! State events come from the database, so none is lost and every replica tells the same in the same order: [`tail`]
//! reads them once for all streams of the process, woken by RabbitMQ or, slower, by the clock. [`stream`] gives one
//! client what it missed and then what comes. Progress comes from RabbitMQ directly and may be lost; while RabbitMQ is
//! away it is read from the rows.

mod hearing;
mod stream;
mod tail;

pub use stream::{StreamOptions, open};
pub use tail::{Item, Tail, TailOptions};
