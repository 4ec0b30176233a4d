//! Everything RabbitMQ: topology, messages, publisher, consumer.
//!
//! Rule: a message is a hint. Nothing here may lose work, because the row has it; nothing here may block work, because
//! polling goes on without it. So every call has a time limit, reconnecting never gives up, and a channel that RabbitMQ
//! closed is opened anew by whoever used it. Only this crate knows `lapin`.
//!
//! # Reading order
//! [`messages`] what is said; [`topology`] where it goes; [`Broker`] the connection; [`publisher`] saying it;
//! [`doorbell`], [`ready`], [`events`] hearing it; [`dead`] what nobody could read.
//!
//! # Adding a message
//! 1. Its struct and name in `messages.rs`; its queue, if it needs one, in `topology.rs`.
//! 2. A method in `publisher.rs` and a stream beside the others.

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

pub use connection::Broker;
pub use delivered::Delivered;
pub use doorbell::Doorbells;
pub use error::BrokerError;
pub use events::EventStream;
pub use messages::{Envelope, FleetEvent, JobReady, JobSubmitted, MessageError};
pub use ready::ReadyConsumer;
