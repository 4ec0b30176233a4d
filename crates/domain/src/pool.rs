//! Worker pools: workers that can replace one another share one ready queue.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Memory classes in GiB: a worker belongs to the largest class that its device really has. Coarse on purpose: each class
/// is one more queue, and a job only needs to know that it fits.
const CLASSES_GIB: &[u32] = &[192, 141, 96, 80, 64, 48, 40, 32, 24, 16, 12, 8, 4, 2, 1];

/// A model and a memory class, for example `default.4g`. Part of queue names, so only `[a-z0-9._-]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PoolId(String);

impl PoolId {
    /// The pool of a worker that holds `model_id` on a device with `memory_bytes` of usable memory.
    #[must_use]
    pub fn of_worker(model_id: &str, memory_bytes: u64) -> Self {
        // A card sold with 80 GB reports a little less than 80 GiB; 94 % of a class counts as that class.
        let class = CLASSES_GIB.iter().copied().find(|&gib| memory_bytes >= class_floor_bytes(gib)).unwrap_or(0);
        Self(format!("{model_id}.{class}g"))
    }

    /// Wraps a pool name from the database.
    #[must_use]
    pub fn from_stored(name: String) -> Self {
        Self(name)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The model's id.
    #[must_use]
    pub fn model_id(&self) -> &str {
        self.0.rsplit_once('.').map_or(self.0.as_str(), |(model, _)| model)
    }

    /// The least memory of a worker of this pool, bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let class = self.0.rsplit_once('.').and_then(|(_, class)| class.strip_suffix('g')?.parse().ok());
        class.map_or(0, class_floor_bytes)
    }

    /// Whether a job that needs `need_bytes` fits this pool.
    #[must_use]
    pub fn holds(&self, need_bytes: u64) -> bool {
        self.memory_bytes() >= need_bytes
    }
}

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn class_floor_bytes(gib: u32) -> u64 {
    u64::from(gib) * (1 << 30) / 100 * 94
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_joins_the_largest_class_it_fills() {
        let eighty_gb_card = 79 * (1 << 30);
        let pool = PoolId::of_worker("hunyuan-video", eighty_gb_card);
        assert_eq!(pool.as_str(), "hunyuan-video.80g");
        assert_eq!(pool.model_id(), "hunyuan-video");
        assert!(pool.holds(45 * (1 << 30)));
        assert!(!pool.holds(90 * (1 << 30)));
    }

    #[test]
    fn a_device_below_every_class_still_has_a_pool() {
        assert_eq!(PoolId::of_worker("default", 100 << 20).as_str(), "default.0g");
    }

    #[test]
    fn a_model_id_with_dots_survives() {
        assert_eq!(PoolId::of_worker("hunyuan-1.5", 24 << 30).model_id(), "hunyuan-1.5");
    }
}
