//! Who is calling: a key in a header, a signed-in page's cookie, or anybody while keys are off.
//!
//! Rules: a caller always has a tenant. What belongs to another tenant does not exist for it. A cookie alone never changes
//! anything: the CSRF token that only the page knows must come along. While keys are off every caller is an admin of the
//! default tenant, which is why only a loopback address may be served so without saying it twice.

mod caller;
pub(crate) mod cors;
pub mod cross_site;
mod guard;
pub mod host;
mod keys;
pub(crate) mod proxies;
pub mod secret;
pub mod session;

pub use caller::{Caller, Proof};
pub(crate) use guard::{guard, known_host};
pub use host::KnownHosts;
pub use keys::KeyRing;
pub use store::keys::Role;
