//! Sends webhooks as Standard Webhooks describes them (standard-webhooks/standard-webhooks, spec/standard-webhooks.md):
//! signed with HMAC-SHA256, with a stable id and a timestamp.
//!
//! Rule: users choose the URLs, and the fleet calls them from inside its network. [`Guard`] therefore decides about every
//! address that is connected to, after the name was resolved and for that very connection, so that neither a name that
//! resolves to an internal address nor one that changes between check and use gets through. Redirects are not followed, and
//! proxies from the environment are not used.
//!
//! # Reading order
//! [`secret`]: secrets and signatures; [`guard`]: which addresses may be called; [`sender`]: one attempt.

pub mod guard;
pub mod secret;
pub mod sender;

pub use guard::Guard;
pub use secret::SigningSecret;
pub use sender::{Attempt, Message, Sender};
