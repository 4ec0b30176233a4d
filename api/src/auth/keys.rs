//! Keys by their hash, remembered for a few seconds.
//!
//! Without this every submission would ask the database twice. A revoked key works on for at most `key_cache_s` seconds.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::{KeyId, TenantId};
use store::keys::Role;
use store::{Store, StoreError};

/// Keys remembered at most; when there are more, everything is forgotten and asked for again.
const REMEMBERED_MAX: usize = 10_000;

/// What is known of a key.
#[derive(Debug, Clone, Copy)]
pub struct KnownKey {
    /// The key.
    pub key_id: KeyId,
    /// Its owner.
    pub tenant_id: TenantId,
    /// What it may do.
    pub role: Role,
}

/// Looks up keys.
#[derive(Debug)]
pub struct KeyRing {
    store: Store,
    remember: Duration,
    known: Mutex<HashMap<[u8; 32], (KnownKey, Instant)>>,
}

impl KeyRing {
    /// A ring over the store's keys.
    #[must_use]
    pub fn new(store: Store, remember: Duration) -> Self {
        Self { store, remember, known: Mutex::new(HashMap::new()) }
    }

    /// The key with this hash, unless it is unknown or revoked.
    ///
    /// # Errors
    /// The store's.
    pub async fn find(&self, hash: &[u8; 32]) -> Result<Option<KnownKey>, StoreError> {
        let now = Instant::now();
        let remembered = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(hash).copied();
        if let Some((key, at)) = remembered
            && now.duration_since(at) < self.remember
        {
            return Ok(Some(key));
        }
        let found = self.store.find_key(hash).await?;
        let found = found.map(|key| KnownKey { key_id: key.id, tenant_id: key.tenant_id, role: key.role });
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        match found {
            Some(key) => known.insert(*hash, (key, now)),
            None => known.remove(hash),
        };
        Ok(found)
    }
}
