//! Live events: passes the fleet's events and progress to every open stream of this replica.
//!
//! State events come from the database, so none is lost and every replica sends the same ones in the same order. [`tail`] reads
//! them once for all streams of the process, woken by RabbitMQ or, with more delay, by polling, and [`channels`] passes each event to
//! the streams that show it. [`stream`] sends one client what it missed and then what is new, and [`places`] bounds how many streams
//! are open. Progress comes from RabbitMQ directly and may be lost; while RabbitMQ is unavailable, it is read from the job rows.

mod access;
mod channels;
mod hearing;
mod places;
mod senders;
mod stream;
mod tail;

pub use access::OpenAccess;
pub use channels::Item;
pub(crate) use places::StreamPlaces;
pub use stream::{StreamOptions, open};
pub use tail::{Tail, TailOptions};
