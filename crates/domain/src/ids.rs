//! Identifiers as separate types, so that a worker's id can never be passed where a job's id is expected.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Declares a UUID newtype with the conversions that every id needs.
macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $new:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A fresh identifier.
            #[must_use]
            pub fn fresh() -> Self {
                Self(Uuid::$new())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }
    };
}

uuid_id!(
    /// One submitted video. Version 7: sorts by submission time, which keeps inserts at the end of the index.
    JobId,
    now_v7
);
uuid_id!(
    /// Jobs that were submitted together as candidates of one request.
    GroupId,
    now_v7
);
uuid_id!(
    /// The owner of jobs. There is always one: [`TenantId::DEFAULT`] when keys are off.
    TenantId,
    now_v7
);
uuid_id!(
    /// One API key of a tenant.
    KeyId,
    now_v7
);
uuid_id!(
    /// One run of a worker process; a restarted worker gets a new id.
    WorkerId,
    now_v7
);
uuid_id!(
    /// The right to write to a running job. The worker chooses it before it claims, so that a claim whose response was lost
    /// can be recognised afterwards. Never reused.
    LeaseToken,
    new_v4
);

impl TenantId {
    /// The tenant of every request while keys are off.
    pub const DEFAULT: Self = Self(Uuid::nil());
}
