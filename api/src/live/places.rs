//! How many event streams may be open at the same time: of all clients, and of one tenant.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::TenantId;

use crate::problem::{Answer, Problem};

/// While keys are on, one tenant has at most this part of all places, rounded up: a client that opens streams and forgets them leaves
/// the others to the rest. Without keys there is one tenant, which has all of them.
const TENANT_PART: usize = 4;
/// `Retry-After` of a refused stream, seconds.
const RETRY_AFTER_S: u64 = 5;

/// The places of event streams. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct StreamPlaces {
    all_max: usize,
    tenant_max: usize,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    tenants: HashMap<TenantId, usize>,
}

/// The place of one stream. It is free again when this is dropped.
#[derive(Debug)]
pub struct StreamPlace {
    places: StreamPlaces,
    tenant_id: TenantId,
}

impl StreamPlaces {
    /// Places for `all_max` streams.
    #[must_use]
    pub(crate) fn new(all_max: usize, keys_required: bool) -> Self {
        let tenant_max = if keys_required { all_max.div_ceil(TENANT_PART) } else { all_max };
        Self { all_max, tenant_max, open: Arc::default() }
    }

    /// Takes a place for a stream of this tenant.
    ///
    /// # Errors
    /// 503 if no place is free, or none for this tenant.
    pub(crate) fn take(&self, tenant_id: TenantId) -> Answer<StreamPlace> {
        let mut open = self.lock();
        if open.all >= self.all_max {
            return Err(Problem::try_later("this server has reached its limit of open event streams", RETRY_AFTER_S));
        }
        let own = open.tenants.get(&tenant_id).copied().unwrap_or_default();
        if own >= self.tenant_max {
            let reason = format!("this key's tenant has too many open event streams ({own}); close some of them");
            return Err(Problem::try_later(&reason, RETRY_AFTER_S));
        }
        open.all += 1;
        open.tenants.insert(tenant_id, own + 1);
        Ok(StreamPlace { places: self.clone(), tenant_id })
    }

    /// Number of open streams.
    #[must_use]
    pub(crate) fn open(&self) -> usize {
        self.lock().all
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut open = self.places.lock();
        open.all -= 1;
        if let Some(own) = open.tenants.get_mut(&self.tenant_id) {
            *own -= 1;
            if *own == 0 {
                open.tenants.remove(&self.tenant_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(number: u128) -> TenantId {
        TenantId(uuid::Uuid::from_u128(number))
    }

    #[test]
    fn a_tenant_has_at_most_a_quarter_until_its_streams_end() {
        let places = StreamPlaces::new(8, true);
        let mut held: Vec<_> = (0..2).map(|_| places.take(tenant(1)).unwrap()).collect();
        let refused = places.take(tenant(1)).unwrap_err().body();
        assert!(refused.status == 503 && refused.detail.contains("this key's tenant"), "{refused:?}");
        held.push(places.take(tenant(2)).unwrap());
        assert_eq!(places.open(), 3);
        drop(held.remove(0));
        held.push(places.take(tenant(1)).unwrap());
        drop(held);
        assert!(places.open() == 0 && places.lock().tenants.is_empty(), "{places:?}");
    }

    #[test]
    fn all_tenants_together_have_no_more_than_all_places() {
        let places = StreamPlaces::new(2, true);
        let _held = [1, 2].map(|number| places.take(tenant(number)).unwrap());
        let refused = places.take(tenant(3)).unwrap_err().body();
        assert!(refused.detail.contains("this server"), "{refused:?}");
        let places = StreamPlaces::new(2, false);
        let _held = [1, 1].map(|number| places.take(tenant(number)).unwrap());
        assert!(places.take(tenant(1)).is_err());
    }
}
