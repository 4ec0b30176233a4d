//! Everything RabbitMQ: topology, messages, publisher, consumer.
//!
//! Rule: a message is a hint. Nothing here may lose work, because the row has it; nothing here may block work, because
//! polling continues without messages. So every call has a time limit, reconnecting never gives up, and each user of a
//! channel that RabbitMQ closed opens a new one. Only this crate uses `lapin`.
//!
//! # Reading order
//! [`messages`]: what is sent; [`topology`]: where it goes; [`Broker`]: the connection; `publisher`: sending; [`doorbell`],
//! `ready`, [`events`]: receiving; [`dead`]: messages that cannot be read.
//!
//! # Adding a message
//! 1. Define its struct and name in `messages.rs`, and its queue, if it needs one, in `topology.rs`.
//! 2. Add a method to `publisher.rs` and a stream beside the others.

mod connection;
pub mod dead;
mod delivered;
pub mod doorbell;
mod error;
pub mod events;
mod link;
mod listen;
pub mod messages;
mod properties;
mod publisher;
mod ready;
mod tells;
pub mod topology;
mod user;

pub use connection::Broker;
pub use delivered::Delivered;
pub use doorbell::Doorbells;
pub use error::BrokerError;
pub use events::{EventStream, Received};
pub use messages::{Envelope, FleetEvent, JobReady, JobSubmitted, MessageError};
pub use ready::ReadyConsumer;
pub use topology::QueueLoad;
