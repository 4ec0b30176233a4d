//! Webhooks: receivers, secrets, and the outbox of deliveries.
//!
//! A trigger on `job_events` fills the outbox (`migrations/0037_webhooks.sql`), so a delivery exists exactly if its event was
//! committed. Any number of processes send: each delivery is claimed under a lease, and only the first unsent event of a job
//! can be claimed per receiver, which keeps a job's events in order.

mod deliver;
mod log;
mod receivers;

pub use deliver::{ClaimedDelivery, DeliveryOutcome, RetrySchedule};
pub use log::{DeliveryFilter, DeliveryRecord, DeliveryState};
pub use receivers::{NewEndpoint, WebhookEndpoint, WebhookSecret};
