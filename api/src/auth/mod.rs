//! Who is calling: a key in a header, a signed-in page's cookie, or anybody while keys are off.
//!
//! Rules: a caller always has a tenant. What belongs to another tenant does not exist for it. A cookie alone never changes
//! anything: the CSRF token that only the page knows must come along. While keys are off every caller is an admin of the
//! default tenant, which is why only a loopback address may be served so without saying it twice.

pub(crate) mod cors;
pub mod cross_site;
mod guard;
pub mod host;
mod keys;
pub(crate) mod proxies;
pub mod secret;
pub mod session;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use domain::{KeyId, TenantId};
use store::jobs::Scope;
use uuid::Uuid;

use crate::problem::{Problem, ProblemKind};

pub(crate) use guard::{guard, known_host};
pub use host::KnownHosts;
pub use keys::KeyRing;
pub use store::keys::Role;

/// How the caller proved who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// Keys are off.
    NotAsked,
    /// A key in the `Authorization` header.
    Key(KeyId),
    /// A signed-in page.
    Session {
        /// The key it signed in with.
        key_id: KeyId,
        /// Hash of the session's value.
        id_hash: [u8; 32],
        /// What must come back in `X-CSRF-Token`.
        csrf: String,
    },
}

/// Who is calling. Put into each request by [`guard`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Whose jobs it submits.
    pub tenant_id: TenantId,
    /// What it may see.
    pub role: Role,
    /// How it proved that.
    pub proof: Proof,
}

impl Caller {
    /// Everybody, while keys are off.
    #[must_use]
    pub(crate) fn anybody() -> Self {
        Self { tenant_id: TenantId::DEFAULT, role: Role::Admin, proof: Proof::NotAsked }
    }

    /// Whose things it may see.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match (&self.proof, self.role) {
            // Without keys there is one tenant, and its own index makes its lists cheap.
            (Proof::NotAsked, _) | (_, Role::User) => Scope::Tenant(self.tenant_id),
            (_, Role::Admin) => Scope::Fleet,
        }
    }

    /// What its rate is counted under.
    #[must_use]
    pub(crate) fn rate_key(&self) -> Uuid {
        match &self.proof {
            Proof::NotAsked => self.tenant_id.0,
            Proof::Key(key_id) | Proof::Session { key_id, .. } => key_id.0,
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // A route outside the guard that asks for a caller is a bug; it must fail closed.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            Problem::new(
                ProblemKind::Unauthenticated,
                "send your key as 'Authorization: Bearer <key>', or sign in on the page",
            )
        })
    }
}
