//! The caller of a request, and how it proved who it is.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use domain::{KeyId, TenantId};
use store::jobs::Scope;
use store::keys::Role;
use uuid::Uuid;

use crate::problem::{Problem, ProblemKind};

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

/// Who is calling. Put into each request by [`super::guard`].
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

    /// The key that it sent or signed in with; `None` while keys are off.
    #[must_use]
    pub(crate) fn key_id(&self) -> Option<KeyId> {
        match self.proof {
            Proof::NotAsked => None,
            Proof::Key(key_id) | Proof::Session { key_id, .. } => Some(key_id),
        }
    }

    /// What its rate is counted under.
    #[must_use]
    pub(crate) fn rate_key(&self) -> Uuid {
        self.key_id().map_or(self.tenant_id.0, |key_id| key_id.0)
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
