//! Worker pools: workers that can replace one another share one ready queue.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Memory classes in GiB: a worker belongs to the largest class that its device really has. Coarse on purpose: each class
/// is one more queue, and a job only needs to know that it fits.
const CLASSES_GIB: &[u32] = &[192, 141, 96, 80, 64, 48, 40, 32, 24, 16, 12, 8, 4, 2, 1];

/// A model, a memory class and, from two on, the number of devices that compute a video together: `default.4g`, `default.80gx2`. Part
/// of queue names, so only `[a-z0-9._-]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PoolId(String);

impl PoolId {
    /// The pool of a worker that holds `model_id` on a device with `memory_bytes` of usable memory.
    #[must_use]
    pub fn of_worker(model_id: &str, memory_bytes: u64) -> Self {
        Self::of_devices(model_id, memory_bytes, 1)
    }

    /// The same for a worker whose videos are computed by `devices` devices together, each with that memory.
    #[must_use]
    pub fn of_devices(model_id: &str, memory_bytes: u64, devices: u32) -> Self {
        // A card sold with 80 GB reports a little less than 80 GiB; 94 % of a class counts as that class.
        let class = CLASSES_GIB.iter().copied().find(|&gib| memory_bytes >= class_floor_bytes(gib)).unwrap_or(0);
        let several = if devices > 1 { format!("x{devices}") } else { String::new() };
        Self(format!("{model_id}.{class}g{several}"))
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
        self.class().map_or(0, |(gib, _)| class_floor_bytes(gib))
    }

    /// Devices that compute a video of this pool together.
    #[must_use]
    pub fn devices(&self) -> u32 {
        self.class().map_or(1, |(_, devices)| devices)
    }

    /// Memory class in GiB, and devices.
    fn class(&self) -> Option<(u32, u32)> {
        let (gib, several) = self.0.rsplit_once('.')?.1.split_once('g')?;
        let devices = if several.is_empty() { 1 } else { several.strip_prefix('x')?.parse().ok()? };
        Some((gib.parse().ok()?, devices))
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
    fn several_devices_have_their_own_pool() {
        let pool = PoolId::of_devices("hunyuan-1.5", 79 << 30, 2);
        assert_eq!(pool.as_str(), "hunyuan-1.5.80gx2");
        assert_eq!((pool.model_id(), pool.devices()), ("hunyuan-1.5", 2));
        assert_eq!(pool.memory_bytes(), PoolId::of_worker("hunyuan-1.5", 79 << 30).memory_bytes());
        assert_eq!(PoolId::of_devices("default", 4 << 30, 1), PoolId::of_worker("default", 4 << 30));
        let odd = PoolId::from_stored("default.80gy".to_owned());
        assert_eq!((odd.memory_bytes(), odd.devices()), (0, 1));
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
