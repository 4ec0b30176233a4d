//! The embedding cache: life of a value, memory layer, single flight, breaker, similar prompts.

use serde::Deserialize;

/// `[cache]` of `configuration/base.toml`, which explains every key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheSettings {
    /// Whether embeddings are cached.
    pub enabled: bool,
    /// Life of a value, seconds.
    pub ttl_s: u64,
    /// A hit starts the life anew.
    pub refresh_on_hit: bool,
    /// Memory in front of Redis, bytes; 0 for none.
    pub memory_max_bytes: u64,
    /// Longest life there, seconds.
    pub memory_ttl_s: u64,
    /// Longest wait for another worker's embedding, milliseconds.
    pub single_flight_wait_ms: u64,
    /// Life of a dead worker's announcement, milliseconds.
    pub single_flight_lock_ms: u64,
    /// Failures in a row that open the breaker.
    pub breaker_failures: u32,
    /// How long it stays open, milliseconds.
    pub breaker_open_ms: u64,
    /// Use embeddings of similar prompts unless the request says no.
    pub similar_enabled: bool,
    /// How similar, 0 to 1.
    pub similar_threshold: f64,
    /// Prompts compared for one look-up.
    pub similar_candidates_max: usize,
}
